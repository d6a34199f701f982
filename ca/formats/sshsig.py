"""SSH signatures over messages (PROTOCOL.sshsig of OpenSSH), as ``ssh-keygen -Y`` makes them.

A signature is bound to a namespace, so that one made for one purpose proves nothing for another.
"""

import binascii
import hashlib
import re
from dataclasses import dataclass

from ca.formats.errors import FormatError
from ca.formats.ssh_keys import (
    USER_PRESENT,
    KeyBlob,
    PrivateKey,
    blob_of,
    parse_key_blob,
    sign_blob,
    verify_signature,
)
from ca.formats.wire import Reader, string, uint32

MAGIC = b"SSHSIG"
VERSION = 1
MAX_SSHSIG_BYTES = 16_384
"""An armored signature by an RSA key of 16384 bits takes about 6,000."""

_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"
_LINE = 70
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}


class SshsigError(FormatError):
    """A signature that is malformed, for another purpose, or without the touch it needs."""

    reason = "sshsig-invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sshsig:
    """A signature taken apart; nothing about it is verified yet."""

    key: KeyBlob
    namespace: str
    hash_algorithm: str
    """``sha256`` or ``sha512``."""
    signature: bytes
    """As in SSH authentication: algorithm name and signature (RFC 4253 §6.6)."""

    @property
    def blob(self) -> bytes:
        """The bytes it was read from."""
        return (
            MAGIC
            + uint32(VERSION)
            + string(self.key.blob)
            + string(self.namespace.encode("ascii"))
            + string(b"")
            + string(self.hash_algorithm.encode("ascii"))
            + string(self.signature)
        )

    @property
    def armored(self) -> str:
        """The text form, as ``ssh-keygen -Y sign`` writes it."""
        text = binascii.b2a_base64(self.blob, newline=False).decode("ascii")
        lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
        return "\n".join([_BEGIN, *lines, _END, ""])


def make_sshsig(private_key: PrivateKey, message: bytes, namespace: str) -> str:
    """Sign ``message``; the armored signature.

    ``private_key`` may be any object ``sign_blob`` takes: Ed25519, ECDSA or RSA.
    """
    hash_algorithm = "sha512"
    signed = _to_be_signed(message, namespace, hash_algorithm)
    return Sshsig(
        key=parse_key_blob(blob_of(private_key.public_key())),
        namespace=_checked_namespace(namespace.encode("utf-8")),
        hash_algorithm=hash_algorithm,
        signature=sign_blob(private_key, signed),
    ).armored


def parse_armored(text: bytes | str) -> Sshsig:
    """Take the text form apart.

    Raises:
        FormatError: anything but exactly one armored signature.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_SSHSIG_BYTES:
        raise SshsigError(f"a signature has at most {MAX_SSHSIG_BYTES} bytes")
    begin, end = _BEGIN.encode(), _END.encode()
    stripped = raw.strip()
    if not (stripped.startswith(begin) and stripped.endswith(end)):
        raise SshsigError("not an armored SSH signature")
    body = b"".join(stripped[len(begin) : -len(end)].split())
    if not _BASE64.fullmatch(body):
        raise SshsigError("the armored signature is not base64")
    try:
        blob = binascii.a2b_base64(body, strict_mode=True)
    except binascii.Error as error:
        raise SshsigError("the armored signature is not base64") from error
    return parse_sshsig(blob)


def parse_sshsig(blob: bytes) -> Sshsig:
    """Take the binary form apart; strict, so that ``.blob`` gives the same bytes back.

    Raises:
        FormatError: not a signature, of another version, or by a certificate or an unknown key.
    """
    if len(blob) > MAX_SSHSIG_BYTES:
        raise SshsigError(f"a signature has at most {MAX_SSHSIG_BYTES} bytes")
    if not blob.startswith(MAGIC):
        raise SshsigError("not an SSH signature")
    reader = Reader(blob[len(MAGIC) :])
    if reader.uint32() != VERSION:
        raise SshsigError("an SSH signature of a version that is not known here")
    key = parse_key_blob(reader.string())
    namespace = _checked_namespace(reader.string())
    if reader.string():
        raise SshsigError("the reserved field of the signature is not empty")
    hash_algorithm = reader.string()
    signature = reader.string()
    reader.end()
    if hash_algorithm not in (b"sha256", b"sha512"):
        raise SshsigError("the message was hashed neither with SHA-256 nor with SHA-512")
    return Sshsig(
        key=key,
        namespace=namespace,
        hash_algorithm=hash_algorithm.decode("ascii"),
        signature=signature,
    )


def verify_sshsig(signature: bytes | str, message: bytes, namespace: str) -> KeyBlob:
    """The key that signed ``message`` for ``namespace``; whose key it is the caller decides.

    ``signature`` is armored, or ``bytes`` that begin with the binary form's magic. A security key
    counts only with the touch of a person.

    Raises:
        FormatError: malformed, for another namespace, without the touch, or not the key's.
    """
    if isinstance(signature, bytes) and signature.startswith(MAGIC):
        found = parse_sshsig(signature)
    else:
        found = parse_armored(signature)
    if found.namespace != namespace:
        raise SshsigError("the signature was made for another purpose")
    signed = _to_be_signed(message, namespace, found.hash_algorithm)
    facts = verify_signature(found.key, found.signature, signed)
    if found.key.is_security_key and not (facts.flags or 0) & USER_PRESENT:
        raise SshsigError("the security key signed without being touched")
    return found.key


def _to_be_signed(message: bytes, namespace: str, hash_algorithm: str) -> bytes:
    digest = _HASHES[hash_algorithm](message).digest()
    return (
        MAGIC
        + string(namespace.encode("utf-8"))
        + string(b"")
        + string(hash_algorithm.encode("ascii"))
        + string(digest)
    )


def _checked_namespace(raw: bytes) -> str:
    if not 1 <= len(raw) <= 255 or not all(0x21 <= byte <= 0x7E for byte in raw):
        raise SshsigError("a namespace is 1 to 255 printable ASCII characters without blanks")
    return raw.decode("ascii")
