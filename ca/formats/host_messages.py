"""What an enrolled host and the gateway sign for each other: canonical JSON under SSHSIG.

A host signs with its host key, the gateway answers with a bundle signed by the key the host learnt
at its enrolment. Socket and host ids are random and unique, so nothing signed here means anything
to another gateway; the nonce ties a bundle to the question it answers.
"""

import binascii
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ca.formats.errors import FormatError
from ca.formats.krl import MAX_KRL_BYTES

ENROL_NAMESPACE = "host-enrol@mysocket.io"
SYNC_NAMESPACE = "host-sync@mysocket.io"
BUNDLE_NAMESPACE = "host-bundle@mysocket.io"

MAX_LIST = 256
"""Most CAs one host is told to trust."""
MAX_BUNDLE_CHARACTERS = MAX_KRL_BYTES // 3 * 4 + 1_000_000
CLOCK_TOLERANCE_SECONDS = 600
"""How far a host's clock may be from the gateway's for its signature to count."""
NONCE_PATTERN = r"[0-9a-f]{32}"

_NONCE = re.compile(NONCE_PATTERN)
_LARGEST = (1 << 63) - 1
_BUNDLE_FIELDS: Mapping[str, type] = {
    "host_id": str,
    "dns_name": str,
    "nonce": str,
    "number": int,
    "issued_at": int,
    "krl": str,
    "user_cas": list,
    "host_cas": list,
    "host_certificate": str,
    "enrol_again": bool,
}


class BundleError(FormatError):
    """A bundle that cannot be read whole."""

    reason = "bundle-invalid"


def canonical(document: Mapping[str, Any]) -> str:
    """The one text of a document: keys sorted, no blanks, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolStatement:
    """What a host's key says when its owner enrols it: which socket, under which names."""

    socket_id: str
    host_key: str
    """``type base64``."""
    principals: tuple[str, ...]
    at: int
    """Unix seconds."""

    @property
    def signed(self) -> bytes:
        """The message below the signature."""
        return canonical(
            {
                "socket_id": self.socket_id,
                "host_key": self.host_key,
                "principals": list(self.principals),
                "at": self.at,
            }
        ).encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStatement:
    """What a host says when it asks for news: what it has, and that it is still itself."""

    host_id: str
    nonce: str
    """32 hex digits, new for each question; the bundle repeats them."""
    at: int
    """Unix seconds."""
    number: int
    """Of the newest bundle it has installed; 0 for none."""
    trusted_cas: tuple[str, ...]
    """Fingerprints of the user CAs its sshd trusts."""
    certificate: str
    """Its present host certificate, one line; empty if it has none."""

    @property
    def signed(self) -> bytes:
        """The message below the signature."""
        return canonical(
            {
                "host_id": self.host_id,
                "nonce": self.nonce,
                "at": self.at,
                "number": self.number,
                "trusted_cas": list(self.trusted_cas),
                "certificate": self.certificate,
            }
        ).encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Everything sshd needs to know, at one moment."""

    host_id: str
    dns_name: str
    nonce: str
    number: int
    """Never goes back."""
    issued_at: int
    """Unix seconds, by the gateway's clock."""
    krl: bytes
    user_cas: tuple[str, ...]
    """Lines for ``TrustedUserCAKeys``."""
    host_cas: tuple[str, ...]
    """Keys for ``@cert-authority`` lines."""
    host_certificate: str = ""
    """A renewed host certificate, one line; empty if the present one is good for a while."""
    enrol_again: bool = False
    """Whether the present certificate cannot be renewed: expired, revoked, or not shown."""

    def encode(self) -> str:
        """The text that is signed and sent."""
        fields = {name: getattr(self, name) for name in _BUNDLE_FIELDS}
        return canonical(fields | {"krl": b64encode(self.krl).decode("ascii")})


def parse_bundle(text: str) -> Bundle:
    """Read a bundle; only what ``encode`` writes passes.

    Raises:
        BundleError: anything else.
    """
    if len(text) > MAX_BUNDLE_CHARACTERS:
        raise BundleError("the bundle is longer than any")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError("the bundle is not JSON") from error
    if not isinstance(document, dict) or document.keys() != _BUNDLE_FIELDS.keys():
        raise BundleError("the bundle does not have the fields of one")
    for name, kind in _BUNDLE_FIELDS.items():
        if type(document[name]) is not kind:
            raise BundleError(f"the bundle's {name} is of the wrong type")
    try:
        krl = binascii.a2b_base64(document["krl"], strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise BundleError("the bundle's krl is not base64") from error
    lists = {name: _lines(document[name], name) for name in ("user_cas", "host_cas")}
    bundle = Bundle(**{**document, **lists, "krl": krl})
    for number in (bundle.number, bundle.issued_at):
        if not 0 <= number <= _LARGEST:
            raise BundleError("a number of the bundle is out of range")
    if not _NONCE.fullmatch(bundle.nonce) or bundle.encode() != text:
        raise BundleError("the bundle is not in its one form")
    return bundle


def _lines(found: list[Any], name: str) -> tuple[str, ...]:
    if len(found) > MAX_LIST or not all(isinstance(line, str) for line in found):
        raise BundleError(f"the bundle's {name} are not lines")
    if any("\n" in line or not line.isprintable() for line in found):
        raise BundleError(f"the bundle's {name} are not lines")
    return tuple(found)
