"""SSH public keys and signatures, read and written in their one canonical form.

Key blobs: RFC 4253 §6.6 (RSA), RFC 5656 §3.1 (ECDSA), RFC 8709 §4 (Ed25519), PROTOCOL.u2f of
OpenSSH (security keys). Signatures: RFC 8332 (RSA with SHA-2), RFC 5656 §3.1.2, RFC 8709 §6,
PROTOCOL.u2f. SHA-1 is refused wherever it appears.

A security key stays what it is: its type and application string are part of ``KeyBlob``, although
the object in ``KeyBlob.key`` is the plain curve key inside it.
"""

import binascii
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca.formats.errors import (
    KeyFormatError,
    KeyIsCertificateError,
    KeyTypeUnknownError,
    SignatureInvalid,
    WireError,
)
from ca.formats.wire import Reader, byte, mpint, string, uint32

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    SK_ED25519,
    SK_ECDSA,
)
"""Every type that is read here."""
FIELD_COUNT: Mapping[str, int] = MappingProxyType(
    dict(zip(KEY_TYPES, (1, 2, 2, 2, 2, 2, 3), strict=True))
)
"""How many strings follow the type in a blob; certificates carry the same fields."""
CERTIFICATE_SUFFIX = "-cert-v01@openssh.com"
USER_PRESENT = 0x01
"""Flag of a security key's signature: somebody touched it (PROTOCOL.u2f)."""
USER_VERIFIED = 0x04
"""Flag of a security key's signature: it asked for its PIN, or a finger."""

MIN_RSA_BITS = 1024
"""SSH_RSA_MINIMUM_MODULUS_SIZE of OpenSSH. What is certified has to be longer, see ``ca``."""
MAX_KEY_BLOB_BYTES = 8 * 1024
"""Two integers of 16384 bits take half of it."""
MAX_KEY_LINE_BYTES = 16 * 1024
MAX_SIGNATURE_BYTES = 4 * 1024

_REMEMBERED_KEYS = 1024
"""One key is read several times for each certificate, its CA's for every one."""

_CURVES: Mapping[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = MappingProxyType(
    {
        "nistp256": (ec.SECP256R1(), hashes.SHA256()),
        "nistp384": (ec.SECP384R1(), hashes.SHA384()),
        "nistp521": (ec.SECP521R1(), hashes.SHA512()),
    }
)
"""Curve and hash go together (RFC 5656 §6.2.1)."""
_CURVE_NAMES = {curve.name: (name, digest) for name, (curve, digest) in _CURVES.items()}
_RSA_HASHES: Mapping[str, hashes.HashAlgorithm] = MappingProxyType(
    {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}
)
_LINE = re.compile(rb"([a-z0-9][a-z0-9@.-]{0,63})[ \t]+([^ \t\x00\r\n]+)(?:[ \t][^\x00\r\n]*)?")
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBlob:
    """One SSH public key; made by ``parse_key_blob`` and ``parse_key_line`` alone."""

    key_type: str
    blob: bytes
    """The key in SSH wire format."""
    key: PublicKey
    """What verifies; for a security key only together with ``verify_signature``."""
    application: str | None = None
    """The relying party of a security key, usually ``ssh:``; None for plain keys."""

    @property
    def is_security_key(self) -> bool:
        """Whether the private half lives in a FIDO authenticator."""
        return self.application is not None

    @property
    def line(self) -> str:
        """``type base64``, without comment."""
        return f"{self.key_type} {b64encode(self.blob).decode('ascii')}"

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` as ``ssh-keygen -l`` shows it."""
        return fingerprint_of(self.blob)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureFacts:
    """What a signature that holds says about itself."""

    algorithm: str
    flags: int | None = None
    """Of a security key: ``USER_PRESENT``, ``USER_VERIFIED``; None for plain keys."""
    counter: int | None = None


def fingerprint_of(blob: bytes) -> str:
    """``SHA256:`` and unpadded base64 of a key blob (RFC 4253 §6.6), as OpenSSH shows it."""
    return "SHA256:" + b64encode(sha256(blob).digest()).decode("ascii").rstrip("=")


@lru_cache(_REMEMBERED_KEYS)
def parse_key_blob(blob: bytes) -> KeyBlob:
    """Read a key in wire format. Total.

    Raises:
        KeyFormatError: not one canonical key.
        KeyTypeUnknownError: of a type that is not read here.
        KeyIsCertificateError: a certificate.
    """
    if len(blob) > MAX_KEY_BLOB_BYTES:
        raise KeyFormatError(f"a key has at most {MAX_KEY_BLOB_BYTES} bytes")
    try:
        with Reader(blob) as reader:
            key_type = known_type(reader.string())
            key, application = _read_key(key_type, reader)
    except WireError as error:
        raise KeyFormatError(f"not a whole key: {error}") from error
    except _UNREADABLE as error:
        if isinstance(error, KeyFormatError):
            raise
        raise KeyFormatError("the key does not follow its type's format") from error
    return KeyBlob(key_type=key_type, blob=blob, key=key, application=application)


def parse_key_line(line: bytes | str) -> KeyBlob:
    """Read ``type base64 [comment]``, one line with or without its end; the comment is dropped.

    Raises:
        KeyFormatError: as ``parse_key_blob``; also for options in front of the key.
    """
    named, encoded = split_line(line, limit=MAX_KEY_LINE_BYTES)
    key_type = known_type(named)
    parsed = parse_key_blob(decode_blob(encoded))
    if parsed.key_type != key_type:
        raise KeyFormatError("the key's two type fields differ")
    return parsed


def split_line(line: bytes | str, *, limit: int) -> tuple[bytes, bytes]:
    """The type and the base64 of a key or certificate line of at most ``limit`` bytes.

    Raises:
        KeyFormatError: too long, or not one line of type, another word, and perhaps a comment.
    """
    raw = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
    if len(raw) > limit:
        raise KeyFormatError(f"a line has at most {limit} bytes")
    match = _LINE.fullmatch(raw.removesuffix(b"\n").removesuffix(b"\r").strip(b" \t"))
    if match is None:
        raise KeyFormatError("a line is: type, base64, comment")
    return match[1], match[2]


def decode_blob(encoded: bytes) -> bytes:
    """Canonical base64, padded, decoded.

    Raises:
        KeyFormatError: not that.
    """
    try:
        blob = binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error as error:
        raise KeyFormatError("the middle part of a line is base64") from error
    if b64encode(blob) != encoded:
        raise KeyFormatError("the line is not in its one canonical form")
    return blob


def known_type(name: bytes) -> str:
    """``name`` as a key type that is read here.

    Raises:
        KeyIsCertificateError: the type of a certificate.
        KeyTypeUnknownError: any other.
    """
    text = name[:64].decode("ascii", "replace")
    if name.endswith(CERTIFICATE_SUFFIX.encode("ascii")):
        raise KeyIsCertificateError("this is a certificate, not a key")
    if text not in FIELD_COUNT or len(name) > 64:
        raise KeyTypeUnknownError(f"keys of this type are not read: {text!r}")
    return text


def blob_of(key: PublicKey) -> bytes:
    """The wire format of a plain public key.

    Raises:
        KeyTypeUnknownError: a key no plain SSH type exists for.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        return string(b"ssh-ed25519") + string(key.public_bytes_raw())
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return string(b"ssh-rsa") + mpint(numbers.e) + mpint(numbers.n)
    name = _curve_name(key)[0].encode("ascii")
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return string(b"ecdsa-sha2-" + name) + string(name) + string(point)


def sign_blob(key: PrivateKey, data: bytes) -> bytes:
    """A signature in wire format: ``ssh-ed25519``, ``ecdsa-sha2-…`` or ``rsa-sha2-512``.

    ``key`` may be any object of these abstract classes, also one whose ``sign`` asks a token.

    Raises:
        KeyTypeUnknownError: a key that cannot sign here.
    """
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return string(b"ssh-ed25519") + string(key.sign(data))
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(data, padding.PKCS1v15(), hashes.SHA512())
        return string(b"rsa-sha2-512") + string(signature)
    name, digest = _curve_name(key)
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    return string(b"ecdsa-sha2-" + name.encode("ascii")) + string(mpint(r) + mpint(s))


def signature_algorithm(signature_blob: bytes) -> bytes:
    """The algorithm a signature in wire format names; ``b""`` when it is not one."""
    try:
        return Reader(signature_blob).string()
    except WireError:
        return b""


def verify_signature(
    key: KeyBlob, signature_blob: bytes, signed: bytes, *, allow_sk: bool = True
) -> SignatureFacts:
    """Check a signature in wire format over ``signed``.

    What a security key's flags must say is for the caller to decide; they are part of what was
    signed.

    Raises:
        SignatureInvalid: it does not fit, is malformed, uses SHA-1, is of another key type, or is
            of a security key although ``allow_sk`` is false.
    """
    if key.is_security_key and not allow_sk:
        raise SignatureInvalid("signatures of security keys are not taken here")
    if len(signature_blob) > MAX_SIGNATURE_BYTES:
        raise SignatureInvalid("the signature is longer than any")
    try:
        with Reader(signature_blob) as reader:
            algorithm = _expected_algorithm(key, reader.string())
            signature = reader.string()
            flags = reader.byte() if key.is_security_key else None
            counter = reader.uint32() if key.is_security_key else None
        if key.application is not None and flags is not None and counter is not None:
            signed = security_key_message(key.application, flags, counter, signed)
        _verify_plain(key.key, algorithm, signature, signed)
    except (InvalidSignature, *_UNREADABLE) as error:
        if isinstance(error, SignatureInvalid):
            raise
        raise SignatureInvalid("the signature does not fit") from error
    return SignatureFacts(algorithm=algorithm, flags=flags, counter=counter)


def security_key_message(application: str, flags: int, counter: int, message: bytes) -> bytes:
    """What a security key signs in place of ``message`` (PROTOCOL.u2f, "SSH U2F signatures")."""
    return b"".join(
        (
            sha256(application.encode("utf-8")).digest(),
            byte(flags),
            uint32(counter),
            sha256(message).digest(),
        )
    )


def _curve_name(
    key: ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey,
) -> tuple[str, hashes.HashAlgorithm]:
    if not isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        raise KeyTypeUnknownError("SSH knows no such key")
    found = _CURVE_NAMES.get(key.curve.name)
    if found is None:
        raise KeyTypeUnknownError(f"SSH knows no keys on {key.curve.name}")
    return found


def _read_key(key_type: str, reader: Reader) -> tuple[PublicKey, str | None]:
    if key_type == "ssh-rsa":
        e, n = reader.mpint(), reader.mpint()
        return rsa.RSAPublicNumbers(e, n).public_key(), None
    if key_type == "ssh-ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(reader.string()), None
    if key_type == SK_ED25519:
        plain = ed25519.Ed25519PublicKey.from_public_bytes(reader.string())
        return plain, _application(reader.string())
    if key_type == SK_ECDSA:
        return _read_point("nistp256", reader), _application(reader.string())
    return _read_point(key_type.removeprefix("ecdsa-sha2-"), reader), None


def _read_point(curve_name: str, reader: Reader) -> ec.EllipticCurvePublicKey:
    if reader.string() != curve_name.encode("ascii"):
        raise KeyFormatError("the key's type and curve differ")
    point = reader.string()
    # Compressed points would give one key two blobs; OpenSSH does not read them either.
    if point[:1] != b"\x04":
        raise KeyFormatError("a point is written uncompressed")
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve_name][0], point)


def _application(raw: bytes) -> str:
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise KeyFormatError("a security key's application is ASCII") from error
    if not text.isprintable() or not 1 <= len(text) <= 255:
        raise KeyFormatError("a security key's application is 1 to 255 printable characters")
    return text


def _expected_algorithm(key: KeyBlob, named: bytes) -> str:
    algorithm = named[:64].decode("ascii", "replace")
    fits = algorithm in _RSA_HASHES if key.key_type == "ssh-rsa" else algorithm == key.key_type
    if not fits or len(named) > 64:
        raise SignatureInvalid(f"not an algorithm to trust with this key: {algorithm!r}")
    return algorithm


def _verify_plain(key: PublicKey, algorithm: str, signature: bytes, signed: bytes) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, signed)
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise SignatureInvalid("the RSA key is too short for a signature to mean anything")
        key.verify(signature, signed, padding.PKCS1v15(), _RSA_HASHES[algorithm])
    else:
        with Reader(signature) as reader:
            der = encode_dss_signature(reader.mpint(), reader.mpint())
        key.verify(der, signed, ec.ECDSA(_CURVE_NAMES[key.curve.name][1]))
