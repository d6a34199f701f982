"""Vets the public keys people submit: the only way to a ``SshPublicKey`` or ``TlsPublicKey``.

Both parsers are total: any text gives a value or a typed error. Neither takes anything but the key
from what was sent; comments, names and requested extensions are dropped.
"""

import re
from base64 import b64decode
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from sshpubkeys import SSHKey  # type: ignore[import-untyped]

from ca import errors, key_strength
from ca.csr_names import check_names
from ca.formats import ssh_keys
from ca.formats.errors import KeyFormatError, KeyIsCertificateError, KeyTypeUnknownError
from ca.formats.ssh_keys import KeyBlob

MAX_KEY_BYTES = 16 * 1024
"""Longest text accepted, of a key line and of a CSR alike; RSA-8192 needs under 1.5 KiB."""

_REMEMBERED_LINES = 1024
"""People come back with the same key every few minutes."""

SSH_KEY_TYPES = frozenset(ssh_keys.KEY_TYPES)
"""Key types certified for SSH, security keys among them."""

SshKey = ssh_keys.PublicKey
TlsKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_SECURITY_KEY_SCHEME = "ssh:"
"""What ``ssh-keygen`` demands of an application; others were made for the web, not for SSH."""
_CSR_PEM = re.compile(
    rb"\s*-----BEGIN (?P<label>(?:NEW )?CERTIFICATE REQUEST)-----\r?\n"
    rb"(?P<body>[A-Za-z0-9+/=\r\n]+)"
    rb"-----END (?P=label)-----\s*"
)
_TLS_KEY_TYPES = "a TLS key is RSA, ECDSA P-256 or ECDSA P-384"
_CSR_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshPublicKey:
    """An SSH public key that may be certified; made by ``parse_ssh_public_key`` alone."""

    key_blob: KeyBlob
    line: str
    """``type base64``: canonical, without comment."""
    fingerprint: str
    """``SHA256:`` and unpadded base64, as ``ssh-keygen -l`` shows it."""

    @property
    def key_type(self) -> str:
        """For instance ``ssh-ed25519``."""
        return self.key_blob.key_type

    @property
    def key(self) -> SshKey:
        """The key itself; of a security key, the curve key inside it."""
        return self.key_blob.key

    @property
    def blob(self) -> bytes:
        """The key in SSH wire format (RFC 4253 §6.6)."""
        return self.key_blob.blob

    @property
    def application(self) -> str | None:
        """The relying party of a security key, usually ``ssh:``; None for plain keys."""
        return self.key_blob.application

    @property
    def is_security_key(self) -> bool:
        """Whether the private half lives in a FIDO authenticator."""
        return self.key_blob.is_security_key


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPublicKey:
    """A public key whose holder proved to have it; made by ``parse_csr`` alone."""

    key: TlsKey

    @property
    def spki(self) -> bytes:
        """SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7)."""
        return self.key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo, hex."""
        return sha256(self.spki).hexdigest()


@lru_cache(_REMEMBERED_LINES)
def parse_ssh_public_key(text: str | bytes) -> SshPublicKey:
    """Read one public key line as ``ssh-keygen`` writes it; a comment is dropped.

    Options in front of the key are refused, not dropped: who wrote ``from="…"`` expects it to hold.
    Possession of the private half is **not** checked here.

    Raises:
        SubjectKeyError: one of its subclasses, see ``ca.errors``.
    """
    found = _parse_line(_bounded_text(text))
    _check_ssh_strength(found)
    line = found.line
    _second_opinion(line)
    return SshPublicKey(key_blob=found, line=line, fingerprint=found.fingerprint)


def parse_csr(pem: str | bytes, *, names: Collection[str] | None = None) -> TlsPublicKey:
    """Take the public key out of a PEM PKCS#10 request (RFC 2986), verified by its own signature.

    Subject, extensions and attributes are claims of the sender: none is used. With ``names``
    (lower case), a request that asks for others is refused.

    Raises:
        CsrError: not one readable request, not signed by its key, or one for other names.
        SubjectKeyError: the key itself is refused.
    """
    request = _load_csr(_bounded_csr(pem))
    # The key first: one that is never certified is refused for that, whatever its signature.
    key = vet_tls_key(_csr_key(request))
    _check_csr_signature(request)
    if names is not None:
        check_names(request, names)
    return key


def vet_tls_key(key: object) -> TlsPublicKey:
    """Check type and strength of a key for TLS. For keys from elsewhere than a CSR: **unproven**.

    Raises:
        SubjectKeyError: the key is refused.
    """
    if isinstance(key, rsa.RSAPublicKey):
        key_strength.check_rsa(key)
        return TlsPublicKey(key=key)
    # Envoy's TLS library verifies handshakes on P-256 and P-384 only, so no other would ever work.
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1
    ):
        return TlsPublicKey(key=key)
    raise errors.KeyTypeUnsupportedError(_TLS_KEY_TYPES)


def _bounded_text(text: str | bytes) -> str:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_KEY_BYTES:
        raise errors.KeyTooLargeError(f"a public key has at most {MAX_KEY_BYTES} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise errors.KeyMalformedError("a public key is plain text") from error


def _parse_line(text: str) -> KeyBlob:
    if not text.removesuffix("\n").removesuffix("\r").replace("\t", " ").isprintable():
        raise errors.KeyMalformedError("a public key is exactly one line of printable text")
    try:
        return ssh_keys.parse_key_line(text)
    except KeyIsCertificateError as error:
        raise errors.KeyIsCertificateError(
            "this is a certificate; send the public key itself"
        ) from error
    except KeyTypeUnknownError as error:
        raise errors.KeyTypeUnsupportedError(str(error)) from error
    except KeyFormatError as error:
        raise errors.KeyMalformedError(str(error)) from error


def _second_opinion(line: str) -> None:
    """Ask a parser that shares no code with the one whose result is used."""
    try:
        SSHKey(line, strict=True, disallow_options=True).parse()
    except Exception as error:  # the library's errors are no closed set
        raise errors.KeyMalformedError("the key does not follow its type's format") from error


def _check_ssh_strength(found: KeyBlob) -> None:
    if isinstance(found.key, rsa.RSAPublicKey):
        key_strength.check_rsa(found.key)
    elif isinstance(found.key, ed25519.Ed25519PublicKey):
        key_strength.check_ed25519(found.key)
    if found.application is not None and not found.application.startswith(_SECURITY_KEY_SCHEME):
        raise errors.KeyMalformedError("a security key for SSH has an application that is ssh:…")


def _bounded_csr(pem: str | bytes) -> bytes:
    raw = pem.encode("utf-8", "surrogatepass") if isinstance(pem, str) else pem
    if len(raw) > MAX_KEY_BYTES:
        raise errors.CsrTooLargeError(
            f"a certificate signing request has at most {MAX_KEY_BYTES} bytes"
        )
    return raw


def _load_csr(raw: bytes) -> x509.CertificateSigningRequest:
    match = _CSR_PEM.fullmatch(raw)
    if match is None:
        raise errors.CsrMalformedError("send exactly one CERTIFICATE REQUEST in PEM form")
    try:
        return x509.load_der_x509_csr(b64decode(b"".join(match["body"].split()), validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise errors.CsrMalformedError("the certificate signing request is not DER") from error


def _csr_key(request: x509.CertificateSigningRequest) -> object:
    try:
        return request.public_key()
    except UnsupportedAlgorithm as error:
        raise errors.KeyTypeUnsupportedError(_TLS_KEY_TYPES) from error
    except (ValueError, TypeError) as error:
        raise errors.KeyMalformedError("the request's public key is not readable") from error


def _check_csr_signature(request: x509.CertificateSigningRequest) -> None:
    try:
        trusted_hash = isinstance(request.signature_hash_algorithm, _CSR_HASHES)
        # A signature is whole octets (RFC 5280 §4.1.1.3): none of its bits are said to be unused.
        der = request.public_bytes(serialization.Encoding.DER)
        whole = der.endswith(b"\0" + request.signature)
        valid = trusted_hash and whole and request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise errors.CsrSignatureError("the request's signature is not readable") from error
    if not valid:
        raise errors.CsrSignatureError("the request is not signed by its own key with SHA-2")
