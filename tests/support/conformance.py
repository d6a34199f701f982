"""The conformance matrix: one certificate, one server, and what becomes of it.

A case says what a certificate contains, whether our CA issues such a one or which rule of the
linter forbids it, and what OpenSSH does with it. ``docs/ssh-conformance.md`` shows the table.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from ca.formats.ssh_certificate import certificate_type, encode_to_be_signed
from ca.formats.ssh_keys import (
    SK_ECDSA,
    SK_ED25519,
    USER_PRESENT,
    KeyBlob,
    blob_of,
    parse_key_blob,
    sign_blob,
)
from ca.formats.wire import string
from tests.support.security_keys import SecurityKey

EMAIL = "alice@example.com"
KEY_ID = f"{EMAIL}/0b7a2f04-52f1-4f8e-9a53-2f7a8d1f0c11/7"
PRINCIPALS = (EMAIL, "mysocket_ssh_signed")
SERIAL = 0x1F2E3D4C5B6A7988
HOST_NAME = "db.edge.localhost"
Pairs = tuple[tuple[bytes, bytes], ...]
ALL_PERMITS: Pairs = tuple(
    (f"permit-{what}".encode(), b"")
    for what in ("X11-forwarding", "agent-forwarding", "port-forwarding", "pty", "user-rc")
)
PTY: Pairs = ((b"permit-pty", b""),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """A private key of the tests, and how it signs."""

    public: KeyBlob
    sign: Callable[[bytes], bytes]
    private: Any = None
    """For a signer of ours; None for keys no signer of ours has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What stands in a certificate; the usual one of the product unless said otherwise."""

    subject: str = "ssh-ed25519"
    authority: str = "Ed25519"
    """A name of ``authority``."""
    kind: str | int = "user"
    serial: int = SERIAL
    key_id: str = KEY_ID
    principals: tuple[str, ...] = PRINCIPALS
    window: tuple[int, int] = (-300, 300)
    """Seconds from now; absolute if ``absolute``."""
    absolute: bool = False
    critical: Pairs = ()
    extensions: Pairs = PTY
    reserved: bytes = b""
    spoil: Callable[[bytes], bytes] | None = None
    """Changes the finished bytes."""

    def valid(self, now: datetime) -> tuple[int, int]:
        """Start and end in seconds since 1970."""
        start = 0 if self.absolute else int(now.timestamp())
        return self.window[0] + start, self.window[1] + start


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the matrix."""

    group: str
    name: str
    accepted: bool
    says: str
    """Part of what sshd (or, about hosts, ssh) writes about it."""
    certificate: Certificate = field(default_factory=Certificate)
    rule: str = ""
    """The rule of the linter that forbids it; empty if our CA issues it."""
    wish: str = "command"
    works: bool = True
    """Whether an accepted session gets its wish."""
    server: str = "usual"
    proof: str = "own key"
    """Whose key signs the login."""
    flags: int = USER_PRESENT
    """What a security key says about the login."""
    krl: str = ""
    """Name of a list in ``RevokedKeys``."""
    dialled: str = HOST_NAME
    """About hosts: the name somebody connects to."""


def case(group: str, name: str, outcome: str, says: str, **values: Any) -> Case:
    """A case; what is no field of ``Case`` is one of its certificate."""
    own = {key: values.pop(key) for key in tuple(values) if key in Case.__dataclass_fields__}
    if values:
        own["certificate"] = Certificate(**values)
    return Case(group=group, name=name, accepted=outcome == "accepts", says=says, **own)


@cache
def subject(name: str) -> Signing:
    """The key that is certified."""
    if name.startswith("sk-"):
        key = SecurityKey(name)
        return Signing(public=key.key_blob, sign=key.sign, private=key)
    return _plain(_KEYS[name]())


@cache
def authority(name: str) -> Signing:
    """A CA. ``Other …`` are trusted by nobody."""
    kind, _, how = name.removeprefix("Other ").removeprefix("Next ").partition(" with ")
    if kind.startswith("sk-"):
        key = SecurityKey(kind)
        return Signing(public=key.key_blob, sign=key.sign)
    plain = _plain(_KEYS[kind]() if not how else authority(kind).private)
    if not how:
        return plain
    return Signing(public=plain.public, sign=lambda data: _sign_rsa(plain.private, how, data))


_KEYS: dict[str, Callable[[], Any]] = {
    "ssh-ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa-sha2-nistp256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-sha2-nistp384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-sha2-nistp521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ssh-rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ssh-rsa, 1024 bits": lambda: rsa.generate_private_key(65537, 1024),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA-3072": lambda: rsa.generate_private_key(65537, 3072),
    "RSA-4096": lambda: rsa.generate_private_key(65537, 4096),
}
OUR_CAS = ("Ed25519", "Next Ed25519", "P-256", "P-384", "RSA-3072", "RSA-4096")
"""Kinds of CA a signer of ours may have; all of them trusted by the server at once."""
TRUSTED_CAS = (*OUR_CAS, "P-521", "RSA-2048", SK_ED25519, SK_ECDSA)


def _plain(key: Any) -> Signing:
    public = parse_key_blob(blob_of(key.public_key()))
    return Signing(public=public, sign=lambda data: sign_blob(key, data), private=key)


def _sign_rsa(key: rsa.RSAPrivateKey, how: str, data: bytes) -> bytes:
    name, digest = {
        "SHA-1": (b"ssh-rsa", hashes.SHA1()),
        "SHA-256": (b"rsa-sha2-256", hashes.SHA256()),
    }[how]
    return string(name) + string(key.sign(data, padding.PKCS1v15(), digest))


def forge(certificate: Certificate, now: datetime) -> bytes:
    """The certificate as its fields say, whether any CA would sign it or not."""
    signing = authority(certificate.authority)
    start, end = certificate.valid(now)
    body = encode_to_be_signed(
        key_blob=subject(certificate.subject).public,
        nonce=b"n" * 32,
        serial=certificate.serial,
        kind=certificate.kind,
        key_id=certificate.key_id.encode(),
        principals=[principal.encode() for principal in certificate.principals],
        valid_after=start,
        valid_before=end,
        critical_options=certificate.critical,
        extensions=certificate.extensions,
        reserved=certificate.reserved,
        signature_key=signing.public.blob,
    )
    blob = body + string(signing.sign(body))
    return certificate.spoil(blob) if certificate.spoil else blob


def login_algorithm(key: KeyBlob) -> str:
    """What a client calls the certificate of this key when it logs in (RFC 8332 §3.3)."""
    named = "rsa-sha2-512" if key.key_type == "ssh-rsa" else key.key_type
    return certificate_type(named)


def table(cases: Sequence[Case], verifier: str) -> str:
    """The cases as Markdown, grouped."""
    lines: list[str] = []
    for group, members in groupby(cases, key=lambda one: one.group):
        lines += [
            f"### {group}",
            "",
            f"| certificate | our CA | {verifier} | and says |",
            "|---|---|---|---|",
            *(_row(one) for one in members),
            "",
        ]
    return "\n".join(lines)


def _row(one: Case) -> str:
    issues = f"never: `{one.rule}`" if one.rule else "issues it"
    if one.rule == "no-signer":
        issues = "never: has no such signer"
    elif one.rule == "spec-invalid":
        issues = "never: cannot be specified"
    verdict = "accepts" if one.accepted else "**refuses**"
    if one.accepted and one.wish != "command":
        verdict += f", {one.wish} {'works' if one.works else 'is **refused**'}"
    says = one.says.replace("\n", "⏎")
    says = says if len(says) < 100 else f"{says[:40]}…{says[-20:]}"
    return f"| {one.name} | {issues} | {verdict} | `{says}` |"


def names(cases: Iterable[Case]) -> list[str]:
    """Identifiers for pytest."""
    return [f"{one.group}: {one.name}" for one in cases]


def now() -> datetime:
    """The verifier is a real process with a real clock."""
    return datetime.now(UTC)
