"""Errors of the formats both sides read.

Each class carries ``reason``, a stable kebab-case word; messages never hold key material.

    FormatError                          format-invalid
    ├── WireError                        wire-malformed      bytes that do not follow RFC 4251 §5
    ├── KeyFormatError                   key-malformed       not one readable SSH public key
    │   ├── KeyTypeUnknownError          key-type-unsupported
    │   └── KeyIsCertificateError        key-is-certificate
    ├── CertificateFormatError           certificate-malformed
    │   └── CertificateTypeUnknownError  certificate-type-unsupported
    └── SignatureInvalid                 signature-invalid
"""


class FormatError(ValueError):
    """Base of every error of ``ca.formats``."""

    reason = "format-invalid"


class WireError(FormatError):
    """Bytes that end too early, too late, or are not in their one canonical form."""

    reason = "wire-malformed"


class KeyFormatError(FormatError):
    """Not exactly one well-formed SSH public key in its canonical form."""

    reason = "key-malformed"


class KeyTypeUnknownError(KeyFormatError):
    """A key of a type that is not read here."""

    reason = "key-type-unsupported"


class KeyIsCertificateError(KeyFormatError):
    """A certificate in place of a key."""

    reason = "key-is-certificate"


class CertificateFormatError(FormatError):
    """Not exactly one SSH certificate with whole fields."""

    reason = "certificate-malformed"


class CertificateTypeUnknownError(CertificateFormatError):
    """A plain key, or a certificate of a kind of key that is not read here."""

    reason = "certificate-type-unsupported"


class SignatureInvalid(FormatError):  # noqa: N818 - it is an answer, too
    """The signature does not fit, or its algorithm or key is not one to trust."""

    reason = "signature-invalid"
