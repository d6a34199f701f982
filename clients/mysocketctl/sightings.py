"""Certificates that servers and edges saw, read from their logs.

sshd writes (auth2-pubkey.c of OpenSSH), at its default log level:

    Accepted publickey for bob from 192.0.2.1 port 50022 ssh2: ED25519-CERT SHA256:… ID … (serial 7)
    CA ED25519 SHA256:…

The key id is the certificate's own word and may hold anything, so serial and CA are what ends the
line. An edge writes one JSON object a line, see ``docs/transparency.md``.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal, NamedTuple

from clients.mysocketctl.api import Json

MAX_LINE_BYTES = 1 << 20
MAX_KEY_ID = 4096
"""Characters; sshd's own lines end before."""
MAX_SSHD_LINE_BYTES = 4096
"""sshd cuts its messages at 1024 (MSGBUFSIZ of log.c); what a syslog puts in front is short."""

_HASH = rb"SHA256:[A-Za-z0-9+/]{43}"
_ACCEPTED = re.compile(
    rb"(?:Accepted|Partial) publickey for .* from \S+ port [0-9]+ ssh2: "
    rb"(?P<type>\S+-CERT) (?P<key>" + _HASH + rb") ID (?P<id>.*) "
    rb"\(serial (?P<serial>[0-9]{1,20})\) CA \S+ (?P<ca>" + _HASH + rb")\s*\Z"
)
_LOOKS_ACCEPTED = re.compile(rb"sshd.*(?:Accepted|Partial) publickey for .* ssh2: \S+-CERT ")


class Sighting(NamedTuple):
    """A certificate that was let in, as far as a log says."""

    kind: Literal["ssh", "x509"]
    serial: str
    ca: str | None = None
    key_fingerprint: str | None = None
    key_id: str | None = None
    certificate_sha256: str | None = None

    def question(self) -> dict[str, Json]:
        """What to ask the gateway."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Unreadable(NamedTuple):
    """A line that speaks of a certificate in a way that is not understood."""

    line: bytes


def read_sshd_log(lines: Iterable[bytes]) -> Iterator[Sighting | Unreadable]:
    """Logins with a certificate; all other lines are passed over."""
    for line in lines:
        # Looking for a pattern in a long line made for it could take for ever.
        if len(line) > MAX_SSHD_LINE_BYTES:
            if b" publickey for " in line:
                yield Unreadable(line)
            continue
        found = _ACCEPTED.search(line)
        if found is not None:
            yield Sighting(
                kind="ssh",
                serial=found["serial"].decode(),
                ca=found["ca"].decode(),
                key_fingerprint=found["key"].decode(),
                key_id=found["id"].decode("utf-8", "replace")[:MAX_KEY_ID],
            )
        elif _LOOKS_ACCEPTED.search(line):
            yield Unreadable(line)


def read_edge_log(lines: Iterable[bytes]) -> Iterator[Sighting | Unreadable]:
    """Connections with a client certificate that were let in."""
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            if line.strip():
                yield Unreadable(line)
        elif _let_in(entry):
            yield Sighting(
                kind="x509",
                serial=str(entry["peer_serial"]),
                certificate_sha256=_word(entry, "peer_sha256"),
            )


def _let_in(entry: dict[str, Json]) -> bool:
    shown = _word(entry, "peer_serial") is not None
    return shown and (_word(entry, "upstream") is not None or _word(entry, "details") is None)


def _word(entry: dict[str, Json], name: str) -> str | None:
    value = entry.get(name)
    return value if isinstance(value, str) and value not in {"", "-"} else None


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The file's lines; of one without an end only so much as a log line can be."""
    while line := file.readline(MAX_LINE_BYTES):
        yield line
