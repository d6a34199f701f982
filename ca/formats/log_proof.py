"""What the log says about one certificate: its leaf, and the proof that the leaf is there.

A leaf's content is

    byte     version (0)
    byte     kind: 1 SSH, 2 X.509
    uint64   issued at, milliseconds since 1970 UTC
    uint32   length, then the certificate: the SSH blob (PROTOCOL.certkeys), or X.509 DER

so that whoever has a certificate and its time can find its leaf, and nobody learns anything about a
certificate from its leaf's hash alone. In JSON a proof is

    {"index": 41, "issued_at": 1795392000000, "hashes": ["<base64>", …], "checkpoint": "<note>"}
"""

import base64
import struct
from dataclasses import dataclass
from typing import Any, Literal, Self

from ca.formats.checkpoint import MAX_NOTE_CHARACTERS, Checkpoint, LogKey, decode_base64
from ca.formats.errors import FormatError
from ca.formats.merkle import HASH_BYTES, MAX_PROOF_HASHES, MAX_SIZE, leaf_hash, verify_inclusion

MAX_CERTIFICATE_BYTES = 64 * 1024

_KINDS = {"ssh": 1, "x509": 2}
_VERSION = 0
_HEAD = struct.Struct(">BBQI")
_HASH_CHARACTERS = 44


class ProofError(FormatError):
    """Not a proof, or one that does not show what it should."""

    reason = "log-proof-invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A certificate as the log counts it."""

    kind: Literal["ssh", "x509"]
    issued_at_ms: int
    """Milliseconds since 1970 UTC."""
    certificate: bytes
    """SSH blob, or X.509 DER."""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS or not 0 <= self.issued_at_ms < 2**63:
            raise ProofError("a log entry has a kind and a time")
        if not 0 < len(self.certificate) <= MAX_CERTIFICATE_BYTES:
            raise ProofError("no certificate is that long or short")

    def leaf(self) -> bytes:
        """The leaf's content, which ``merkle.leaf_hash`` hashes."""
        size = len(self.certificate)
        return _HEAD.pack(_VERSION, _KINDS[self.kind], self.issued_at_ms, size) + self.certificate

    def leaf_hash(self) -> bytes:
        """The leaf's hash."""
        return leaf_hash(self.leaf())


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """Where a certificate stands in the log, and how to check that from a signed checkpoint."""

    index: int
    issued_at_ms: int
    hashes: tuple[bytes, ...]
    """Audit path, lowest first."""
    checkpoint: str
    """The signed note."""

    def to_json(self) -> dict[str, Any]:
        """As it comes with a certificate."""
        return {
            "index": self.index,
            "issued_at": self.issued_at_ms,
            "hashes": [base64.b64encode(step).decode() for step in self.hashes],
            "checkpoint": self.checkpoint,
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """The inverse of ``to_json``; members it does not know are ignored.

        Raises:
            FormatError: a member is missing, of another type, or too large.
        """
        if not isinstance(document, dict):
            raise ProofError("a proof is an object")
        hashes, note = document.get("hashes"), document.get("checkpoint")
        if not isinstance(hashes, list) or len(hashes) > MAX_PROOF_HASHES:
            raise ProofError("a proof has a list of hashes")
        if not isinstance(note, str) or len(note) > MAX_NOTE_CHARACTERS:
            raise ProofError("a proof has a checkpoint")
        return cls(
            index=_count(document.get("index"), MAX_SIZE),
            issued_at_ms=_count(document.get("issued_at"), 2**63 - 1),
            hashes=tuple(_hash(step) for step in hashes),
            checkpoint=note,
        )

    def verify(self, entry: LogEntry, key: LogKey) -> Checkpoint:
        """Check that ``entry`` is in the log of this key; the checkpoint that says so.

        Raises:
            ProofError: the proof is for another certificate or time, or leads elsewhere.
            FormatError: the checkpoint is malformed, or not the log's.
        """
        if entry.issued_at_ms != self.issued_at_ms:
            raise ProofError("the proof is for another time of issue")
        checkpoint = key.open(self.checkpoint)
        if not verify_inclusion(
            entry.leaf_hash(),
            index=self.index,
            size=checkpoint.size,
            path=self.hashes,
            root=checkpoint.root,
        ):
            raise ProofError("the certificate is not in the log where the proof says")
        return checkpoint


def _count(value: Any, largest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise ProofError("a proof has an index and a time")
    return value


def _hash(value: Any) -> bytes:
    if not isinstance(value, str) or len(value) != _HASH_CHARACTERS:
        raise ProofError("a proof has hashes in base64")
    raw = decode_base64(value)
    if len(raw) != HASH_BYTES:
        raise ProofError("a hash has 32 bytes")
    return raw
