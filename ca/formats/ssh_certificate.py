"""SSH certificates in wire format (PROTOCOL.certkeys of OpenSSH, draft-miller-ssh-cert).

Strict about framing, lenient about meaning: what no CA should sign (no principals, options out of
order or twice, a certificate as signature key, any kind number) can be read and written, so that a
linter can name it. What can be read has exactly one encoding.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from ca.formats.errors import (
    CertificateFormatError,
    CertificateTypeUnknownError,
    KeyFormatError,
    SignatureInvalid,
    WireError,
)
from ca.formats.ssh_keys import (
    CERTIFICATE_SUFFIX,
    FIELD_COUNT,
    KeyBlob,
    SignatureFacts,
    decode_blob,
    fingerprint_of,
    parse_key_blob,
    signature_algorithm,
    split_line,
    verify_signature,
)
from ca.formats.wire import Reader, string, uint32, uint64

USER = "user"
HOST = "host"
FOREVER = 2**64 - 1
"""``valid_before`` of a certificate that never ends."""
MAX_CERTIFICATE_BYTES = 128 * 1024
"""Fits 256 principals of 255 octets, twice over."""
MAX_CERTIFICATE_LINE_BYTES = 192 * 1024

Options = tuple[tuple[bytes, bytes], ...]
"""Name and value, in the order of the certificate; a flag's value is ``b""``."""

_SUFFIX = CERTIFICATE_SUFFIX.encode("ascii")
_KIND_NAMES = {1: USER, 2: HOST}
_KIND_NUMBERS = {USER: 1, HOST: 2}


def certificate_type(key_type: str) -> str:
    """The type of a certificate of keys of that type: ``ssh-ed25519-cert-v01@openssh.com``."""
    return key_type.removesuffix("@openssh.com") + CERTIFICATE_SUFFIX


_KEY_TYPE_OF = {certificate_type(key_type).encode("ascii"): key_type for key_type in FIELD_COUNT}


@dataclass(frozen=True, slots=True, kw_only=True)
class SshCertificate:
    """One certificate as it stands in its bytes; its signature is **not** checked by reading it."""

    key_blob: KeyBlob
    """The certified key."""
    nonce: bytes
    serial: int
    kind: str | int
    """``USER``, ``HOST``, or the number of a kind that does not exist."""
    key_id: bytes
    principals: tuple[bytes, ...]
    valid_after: int
    """Seconds since 1970; the first second it is valid."""
    valid_before: int
    """Seconds since 1970; the first second it is no longer valid."""
    critical_options: Options
    extensions: Options
    reserved: bytes
    signature_key: bytes
    """The CA's key blob, not looked into."""
    signature: bytes
    """In SSH wire format, not looked into."""
    signed: bytes
    """What the CA signed: everything before the signature."""
    blob: bytes
    """The whole certificate in wire format."""

    @property
    def certificate_type(self) -> str:
        """For instance ``ssh-ed25519-cert-v01@openssh.com``."""
        return certificate_type(self.key_blob.key_type)

    @property
    def line(self) -> str:
        """``type base64``, as in a ``-cert.pub`` file; no comment, no newline."""
        return f"{self.certificate_type} {b64encode(self.blob).decode('ascii')}"

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` of the certified key."""
        return self.key_blob.fingerprint

    @property
    def ca_fingerprint(self) -> str:
        """``SHA256:…`` of the CA's key."""
        return fingerprint_of(self.signature_key)

    @property
    def signature_algorithm(self) -> bytes:
        """What the signature names, for instance ``b"rsa-sha2-512"``; ``b""`` if unreadable."""
        return signature_algorithm(self.signature)


def parse_certificate_line(line: bytes | str) -> SshCertificate:
    """Read one certificate as ``ssh-keygen`` writes it; a comment is dropped. Total.

    Raises:
        CertificateFormatError: not exactly one whole certificate.
    """
    try:
        named, encoded = split_line(line, limit=MAX_CERTIFICATE_LINE_BYTES)
        _subject_type(named)
        blob = decode_blob(encoded)
    except KeyFormatError as error:
        raise CertificateFormatError(str(error)) from error
    certificate = parse_certificate_blob(blob)
    if certificate.certificate_type.encode("ascii") != named:
        raise CertificateFormatError("the certificate's two type fields differ")
    return certificate


def parse_certificate_blob(blob: bytes) -> SshCertificate:
    """Read a certificate in wire format. Total.

    Raises:
        CertificateFormatError: not exactly one whole certificate, or of an unreadable key.
    """
    if len(blob) > MAX_CERTIFICATE_BYTES:
        raise CertificateFormatError(f"a certificate has at most {MAX_CERTIFICATE_BYTES} bytes")
    try:
        with Reader(blob) as reader:
            return _read_certificate(blob, reader)
    except (WireError, KeyFormatError) as error:
        raise CertificateFormatError(f"not a whole certificate: {error}") from error


def read_key_id(blob: bytes) -> bytes:
    """The key id alone, in a tenth of the time that reading the whole takes.

    Raises:
        CertificateFormatError: not the beginning of a certificate.
    """
    try:
        reader = Reader(blob)
        key_type = _KEY_TYPE_OF.get(reader.string())
        if key_type is None:
            raise CertificateFormatError("not a certificate of a known type")
        for _ in range(1 + FIELD_COUNT[key_type]):  # the nonce, then the key
            reader.string()
        reader.uint64()
        reader.uint32()
        return reader.string()
    except WireError as error:
        raise CertificateFormatError(f"not a whole certificate: {error}") from error


def verify(certificate: SshCertificate) -> SignatureFacts:
    """Check the signature against the CA key in the certificate. Whom that key belongs to is
    **not** checked.

    Raises:
        SignatureInvalid: it does not fit, uses SHA-1, or the CA key is a certificate itself
            (CVE-2025-49825) or unreadable.
    """
    try:
        authority = parse_key_blob(certificate.signature_key)
    except KeyFormatError as error:
        raise SignatureInvalid(f"the CA key is none: {error}") from error
    return verify_signature(authority, certificate.signature, certificate.signed)


def encode_to_be_signed(  # noqa: PLR0913 - a certificate has that many fields
    *,
    key_blob: KeyBlob,
    nonce: bytes,
    serial: int,
    kind: str | int,
    key_id: bytes,
    principals: Sequence[bytes],
    valid_after: int,
    valid_before: int,
    critical_options: Sequence[tuple[bytes, bytes]],
    extensions: Sequence[tuple[bytes, bytes]],
    signature_key: bytes,
    reserved: bytes = b"",
) -> bytes:
    """What a CA signs. Writes what it is told, in the order it is told; judges nothing.

    Raises:
        WireError: a number that does not fit its field.
    """
    return b"".join(
        (
            string(certificate_type(key_blob.key_type).encode("ascii")),
            string(nonce),
            key_blob.blob[4 + len(key_blob.key_type) :],
            uint64(serial),
            uint32(_KIND_NUMBERS[kind] if isinstance(kind, str) else kind),
            string(key_id),
            string(b"".join(string(principal) for principal in principals)),
            uint64(valid_after),
            uint64(valid_before),
            string(encode_options(critical_options)),
            string(encode_options(extensions)),
            string(reserved),
            string(signature_key),
        )
    )


def encode_options(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Options or extensions; a value is a string inside a string, a flag has empty content."""
    return b"".join(string(name) + string(string(value) if value else b"") for name, value in pairs)


def _read_certificate(blob: bytes, reader: Reader) -> SshCertificate:
    key_type = _subject_type(reader.string())
    nonce = reader.string()
    subject = _read_subject(key_type, blob, reader)
    serial, kind = reader.uint64(), reader.uint32()
    key_id, principals = reader.string(), _read_principals(reader.string())
    valid_after, valid_before = reader.uint64(), reader.uint64()
    critical_options, extensions = _read_options(reader.string()), _read_options(reader.string())
    reserved, signature_key = reader.string(), reader.string()
    signed = blob[: reader.position]
    return SshCertificate(
        key_blob=subject,
        nonce=nonce,
        serial=serial,
        kind=_KIND_NAMES.get(kind, kind),
        key_id=key_id,
        principals=principals,
        valid_after=valid_after,
        valid_before=valid_before,
        critical_options=critical_options,
        extensions=extensions,
        reserved=reserved,
        signature_key=signature_key,
        signature=reader.string(),
        signed=signed,
        blob=blob,
    )


def _subject_type(name: bytes) -> str:
    key_type = _KEY_TYPE_OF.get(name)
    if key_type is not None:
        return key_type
    shown = name[:64].decode("ascii", "replace")
    if name.endswith(_SUFFIX):
        raise CertificateTypeUnknownError(f"certificates of this type are not read: {shown!r}")
    raise CertificateTypeUnknownError(
        f"this is a key or something else, not a certificate: {shown!r}"
    )


def _read_subject(key_type: str, blob: bytes, reader: Reader) -> KeyBlob:
    start = reader.position
    for _ in range(FIELD_COUNT[key_type]):
        reader.string()
    return parse_key_blob(string(key_type.encode("ascii")) + blob[start : reader.position])


def _read_principals(packed: bytes) -> tuple[bytes, ...]:
    reader = Reader(packed)
    found = []
    while reader.remaining:
        found.append(reader.string())
    return tuple(found)


def _read_options(packed: bytes) -> Options:
    reader = Reader(packed)
    found = []
    while reader.remaining:
        found.append((reader.string(), _option_value(reader.string())))
    return tuple(found)


def _option_value(content: bytes) -> bytes:
    """The string inside; nothing inside is a flag, and an empty string inside is no encoding."""
    if not content:
        return b""
    with Reader(content) as reader:
        value = reader.string()
    if not value:
        raise WireError("an option without value has empty content")
    return value
