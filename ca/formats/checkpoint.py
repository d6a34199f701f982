"""Signed checkpoints of the transparency log.

A checkpoint is a text of three lines (C2SP tlog-checkpoint): origin, number of leaves, root hash.
It travels in a signed note (C2SP signed-note) with one Ed25519 signature:

    gateway.example/ca/log
    42
    <root hash, base64>
                                            (an empty line)
    — gateway.example/ca/log <base64 of key hash and signature>

The log's public key is written ``<origin>+<key hash, hex>+<base64>``, as in signed-note.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ca.formats.errors import FormatError, SignatureInvalid
from ca.formats.merkle import HASH_BYTES, MAX_SIZE

MAX_NOTE_CHARACTERS = 4096
MAX_ORIGIN_CHARACTERS = 300
MAX_KEY_CHARACTERS = 512

_ED25519 = b"\x01"
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_HASH_LENGTH = 4
_ORIGIN = re.compile(r"[!-*,-~]{1,300}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_DASH = "\u2014"


class CheckpointError(FormatError):
    """Not a checkpoint, not a log's key, or a checkpoint of another log."""

    reason = "checkpoint-invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log commits to: so many leaves, with this root."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not _ORIGIN.fullmatch(self.origin):
            raise CheckpointError("a log's name is one printable word without +")
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise CheckpointError("a checkpoint has a size and a SHA-256 root")

    @property
    def body(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def sign(self, key: Ed25519PrivateKey, *, key_hash: bytes | None = None) -> str:
        """The signed note; ``key_hash`` saves working it out again."""
        known = key_hash or LogKey(origin=self.origin, public=key.public_key()).key_hash
        signed = base64.b64encode(known + key.sign(self.body.encode())).decode()
        return f"{self.body}\n{_DASH} {self.origin} {signed}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKey:
    """A log's name and public key: what makes its checkpoints believable."""

    origin: str
    public: Ed25519PublicKey

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<origin>+<key hash>+<base64>``.

        Raises:
            CheckpointError: anything else, or a hash that is not this key's.
        """
        parts = text.split("+", 2) if len(text) <= MAX_KEY_CHARACTERS else []
        if len(parts) != 3 or not _ORIGIN.fullmatch(parts[0]):
            raise CheckpointError("a log's key is written <name>+<hash>+<base64>")
        raw = decode_base64(parts[2])
        if len(raw) != 1 + _KEY_BYTES or raw[:1] != _ED25519:
            raise CheckpointError("a log's key is an Ed25519 key")
        key = cls(origin=parts[0], public=Ed25519PublicKey.from_public_bytes(raw[1:]))
        if key.key_hash.hex() != parts[1]:
            raise CheckpointError("the key hash belongs to another key")
        return key

    @property
    def key_hash(self) -> bytes:
        """First bytes of SHA-256 over name and key (signed-note)."""
        text = self.origin.encode() + b"\n" + _ED25519 + self._raw
        return hashlib.sha256(text).digest()[:_HASH_LENGTH]

    def __str__(self) -> str:
        encoded = base64.b64encode(_ED25519 + self._raw).decode()
        return f"{self.origin}+{self.key_hash.hex()}+{encoded}"

    @property
    def _raw(self) -> bytes:
        return self.public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def open(self, note: str) -> Checkpoint:
        """The checkpoint in a note that this log signed; further signatures are ignored.

        Raises:
            CheckpointError: malformed, or of another log.
            SignatureInvalid: not signed by this key.
        """
        body, signatures = _split(note)
        checkpoint = _read(body)
        if checkpoint.origin != self.origin:
            raise CheckpointError("this is the checkpoint of another log")
        for name, blob in signatures:
            if name == self.origin and blob[:_HASH_LENGTH] == self.key_hash:
                self._check(blob[_HASH_LENGTH:], body)
                return checkpoint
        raise SignatureInvalid("the checkpoint is not signed by the log's key")

    def _check(self, signature: bytes, body: str) -> None:
        try:
            self.public.verify(signature, body.encode())
        except InvalidSignature as error:
            raise SignatureInvalid("the checkpoint's signature does not fit") from error


def decode_base64(text: str) -> bytes:
    """Canonical base64 (RFC 4648 §4), padded, nothing else.

    Raises:
        CheckpointError: anything else.
    """
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise CheckpointError("this is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise CheckpointError("this is not canonical base64")
    return raw


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    if len(note) > MAX_NOTE_CHARACTERS:
        raise CheckpointError("a checkpoint is not that long")
    body, gap, rest = note.rpartition("\n\n")
    if not gap or not rest.endswith("\n"):
        raise CheckpointError("a checkpoint is a text and its signatures")
    return f"{body}\n", [_signature(line) for line in rest[:-1].split("\n")]


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not _ORIGIN.fullmatch(parts[1]):
        raise CheckpointError("a line of signatures is malformed")
    blob = decode_base64(parts[2])
    if len(blob) < _HASH_LENGTH + _SIGNATURE_BYTES:
        raise CheckpointError("a signature is too short")
    return parts[1], blob


def _read(body: str) -> Checkpoint:
    lines = body.split("\n")
    if len(lines) != 4 or lines[3] or not _SIZE.fullmatch(lines[1]):
        raise CheckpointError("a checkpoint has three lines: name, size, root")
    return Checkpoint(origin=lines[0], size=int(lines[1]), root=decode_base64(lines[2]))
