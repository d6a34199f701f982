"""OpenSSH key revocation lists (PROTOCOL.krl): what ``RevokedKeys`` of sshd reads.

A KRL is read into a value and written from one; the same value always gives the same bytes.
Sections we do not understand whole (signatures, which sshd no longer checks since 9.4, and
extensions) are refused, not skipped: a list that says more than was read must not pass for less.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha1, sha256

from ca.formats.krl_serials import (
    MAX_RANGES,
    SERIAL_BITMAP,
    SERIAL_LIST,
    SERIAL_RANGE,
    KrlError,
    Ranges,
    contains,
    decode_serials,
    encode_serials,
    merged,
    section,
)
from ca.formats.wire import Reader, string, uint32, uint64

__all__ = ["MAX_KRL_BYTES", "Krl", "KrlError", "RevokedByCa", "parse_krl", "renumbered"]

MAGIC = b"SSHKRL\n\0"
FORMAT_VERSION = 1
MAX_KRL_BYTES = 8 << 20
MAX_NAMES = 100_000
"""Most key ids, keys or fingerprints one KRL may name here, each kind by itself."""
MAX_SECTIONS = 100_000

_CERTIFICATES = 1
_EXPLICIT_KEYS = 2
_SHA1 = 3
_SHA256 = 5
_KEY_IDS = 0x23
_SERIAL_KINDS = frozenset({SERIAL_LIST, SERIAL_RANGE, SERIAL_BITMAP})


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedByCa:
    """Certificates of one CA; sorted and merged when made."""

    ca: bytes
    """The CA's public key blob; empty means any CA."""
    serials: Ranges = ()
    key_ids: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "serials", merged(self.serials))
        object.__setattr__(self, "key_ids", _sorted_names(self.key_ids))
        if any(b"\0" in name for name in self.key_ids):
            raise KrlError("a key id has no NUL")

    @classmethod
    def of_serials(cls, ca: bytes, serials: Iterable[int]) -> "RevokedByCa":
        """Single certificates of a CA."""
        return cls(ca=ca, serials=tuple((serial, serial) for serial in serials))

    def revokes(self, ca: bytes, serial: int, key_id: bytes) -> bool:
        """Whether this names the certificate."""
        if self.ca not in (b"", ca):
            return False
        # sshd does not look a serial of 0 up: many CAs never set one.
        return key_id in self.key_ids or (serial != 0 and contains(self.serials, serial))


@dataclass(frozen=True, slots=True, kw_only=True)
class Krl:
    """One key revocation list."""

    number: int = 0
    """``krl_version``: counts up from one list to the next."""
    generated_at: int = 0
    """Unix seconds."""
    comment: bytes = b""
    certificates: tuple[RevokedByCa, ...] = ()
    """At most one entry for each CA; sorted."""
    keys: tuple[bytes, ...] = ()
    """Public key blobs: the keys, their certificates, and what they signed as a CA."""
    sha256: tuple[bytes, ...] = ()
    """SHA-256 of public key blobs, meaning the same."""
    sha1: tuple[bytes, ...] = ()
    """As others write it; we do not."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "certificates", _joined(self.certificates))
        for name, length in (("keys", None), ("sha256", 32), ("sha1", 20)):
            object.__setattr__(self, name, _sorted_names(getattr(self, name), length))

    def encode(self) -> bytes:
        """The list in the form ``ssh-keygen -Q`` and sshd read.

        Raises:
            KrlError: longer than a KRL may be here.
        """
        parts = [
            MAGIC + uint32(FORMAT_VERSION) + uint64(self.number) + uint64(self.generated_at),
            uint64(0) + string(b"") + string(self.comment),
            *(section(_CERTIFICATES, _encode_ca(entry)) for entry in self.certificates),
        ]
        for kind, names in (
            (_EXPLICIT_KEYS, self.keys),
            (_SHA1, self.sha1),
            (_SHA256, self.sha256),
        ):
            if names:
                parts.append(section(kind, b"".join(map(string, names))))
        encoded = b"".join(parts)
        if len(encoded) > MAX_KRL_BYTES:
            raise KrlError("too much is revoked for one KRL")
        return encoded

    def revokes_key(self, blob: bytes) -> bool:
        """Whether a plain key is named."""
        return (
            blob in self.keys
            or sha256(blob).digest() in self.sha256
            or sha1(blob, usedforsecurity=False).digest() in self.sha1
        )

    def revokes_certificate(self, *, ca: bytes, serial: int, key_id: bytes, subject: bytes) -> bool:
        """Whether a certificate is named: itself, its key, or its CA's key, as sshd looks it up."""
        return (
            self.revokes_key(subject)
            or self.revokes_key(ca)
            or any(entry.revokes(ca, serial, key_id) for entry in self.certificates)
        )

    @property
    def is_empty(self) -> bool:
        return not (self.certificates or self.keys or self.sha256 or self.sha1)


def renumbered(encoded: bytes, *, number: int, generated_at: int) -> bytes:
    """The same list with another number and time."""
    head = MAGIC + uint32(FORMAT_VERSION) + uint64(number) + uint64(generated_at)
    return head + encoded[len(head) :]


def parse_krl(data: bytes) -> Krl:
    """Read a KRL, ours or ``ssh-keygen -k``'s.

    Raises:
        FormatError: not one, too large, or with sections that are not understood.
    """
    if len(data) > MAX_KRL_BYTES:
        raise KrlError(f"a KRL has at most {MAX_KRL_BYTES} bytes here")
    if not data.startswith(MAGIC):
        raise KrlError("not a key revocation list")
    reader = Reader(data[len(MAGIC) :])
    if reader.uint32() != FORMAT_VERSION:
        raise KrlError("a KRL of a version that is not known here")
    number, generated_at, flags = reader.uint64(), reader.uint64(), reader.uint64()
    reserved, comment = reader.string(), reader.string()
    if flags or reserved:
        raise KrlError("a KRL with flags that are not known here")
    certificates: list[RevokedByCa] = []
    stretches = 0
    names: dict[int, list[bytes]] = {_EXPLICIT_KEYS: [], _SHA1: [], _SHA256: []}
    for kind, content in _sections(reader):
        if kind == _CERTIFICATES:
            certificates.append(_decode_ca(content))
            stretches += len(certificates[-1].serials)
            if stretches > MAX_RANGES:
                raise KrlError("too many serials for one KRL")
        elif kind in names:
            names[kind].extend(_strings(content))
        else:
            raise KrlError(f"a KRL section of type {kind} is not known here")
    return Krl(
        number=number,
        generated_at=generated_at,
        comment=comment,
        certificates=tuple(certificates),
        keys=tuple(names[_EXPLICIT_KEYS]),
        sha256=tuple(names[_SHA256]),
        sha1=tuple(names[_SHA1]),
    )


def _encode_ca(entry: RevokedByCa) -> bytes:
    parts = [string(entry.ca), string(b"")]
    parts += [section(kind, content) for kind, content in encode_serials(entry.serials)]
    if entry.key_ids:
        parts.append(section(_KEY_IDS, b"".join(map(string, entry.key_ids))))
    return b"".join(parts)


def _decode_ca(content: bytes) -> RevokedByCa:
    reader = Reader(content)
    ca = reader.string()
    if reader.string():
        raise KrlError("a KRL section with a reserved field that is not known here")
    serials: list[tuple[int, int]] = []
    key_ids: list[bytes] = []
    for kind, part in _sections(reader):
        if kind in _SERIAL_KINDS:
            for stretch in decode_serials(kind, part):
                serials.append(stretch)
                if len(serials) > MAX_RANGES:
                    raise KrlError("too many serials for one KRL")
        elif kind == _KEY_IDS:
            key_ids.extend(_strings(part))
        else:
            raise KrlError(f"a KRL section of certificates of type {kind} is not known here")
    return RevokedByCa(ca=ca, serials=tuple(serials), key_ids=tuple(key_ids))


def _sections(reader: Reader) -> Iterator[tuple[int, bytes]]:
    for _ in range(MAX_SECTIONS):
        if not reader.remaining:
            return
        yield reader.byte(), reader.string()
    raise KrlError("too many sections for one KRL")


def _strings(content: bytes) -> list[bytes]:
    reader = Reader(content)
    found: list[bytes] = []
    while reader.remaining:
        found.append(reader.string())
        if len(found) > MAX_NAMES:
            raise KrlError("too many names for one KRL")
    if not found:
        raise KrlError("a KRL section that names nothing")
    return found


def _sorted_names(names: Iterable[bytes], length: int | None = None) -> tuple[bytes, ...]:
    found = tuple(sorted(set(names)))
    if len(found) > MAX_NAMES:
        raise KrlError("too many names for one KRL")
    if any(len(name) != length if length else not name for name in found):
        raise KrlError("a KRL names keys and key ids that are not empty")
    return found


def _joined(entries: Iterable[RevokedByCa]) -> tuple[RevokedByCa, ...]:
    """One entry for each CA, sorted; those that name nothing are left out."""
    by_ca: dict[bytes, list[RevokedByCa]] = {}
    for entry in entries:
        by_ca.setdefault(entry.ca, []).append(entry)
    joined = (
        RevokedByCa(
            ca=ca,
            serials=tuple(stretch for entry in found for stretch in entry.serials),
            key_ids=tuple(name for entry in found for name in entry.key_ids),
        )
        for ca, found in sorted(by_ca.items())
    )
    return tuple(entry for entry in joined if entry.serials or entry.key_ids)
