"""Reads a *finished* certificate and says what is wrong with it, whoever made it.

The last check before a certificate is released: it sees the bytes, not what somebody meant. The
rules for SSH are those of ``ca.formats.ssh_lint``; those for X.509 come from RFC 5280.
"""

from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ca import specs
from ca.formats.ssh_lint import Finding, Profile, lint

_SHORTEST_SERIAL = 2**64
_EVERYWHERE = (x509.BasicConstraints, x509.KeyUsage, x509.SubjectKeyIdentifier)
_IN_LEAVES = (x509.ExtendedKeyUsage, x509.SubjectAlternativeName, x509.AuthorityKeyIdentifier)
_IN_ISSUING = (x509.ExtendedKeyUsage, x509.AuthorityKeyIdentifier)
_LEAF_PURPOSES = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the parser raises on extensions it cannot read."""

__all__ = ["Finding", "lint_ca", "lint_ssh", "lint_x509"]


def lint_ssh(blob_or_line: bytes) -> tuple[Finding, ...]:
    """Check an SSH certificate of ours, user or host, by the strict profile. Total."""
    return lint(blob_or_line, profile=Profile.OURS)


def lint_x509(certificate: x509.Certificate) -> tuple[Finding, ...]:
    """Check a leaf certificate of ours for what every leaf has. Total."""
    try:
        return (
            *_lint_frame(certificate),
            *_lint_window(certificate, specs.MAX_SERVER_LIFE),
            *_lint_leaf_extensions(certificate),
        )
    except _UNREADABLE as error:
        return (_finding("certificate-malformed", str(error)),)


def lint_ca(certificate: x509.Certificate) -> tuple[Finding, ...]:
    """Check a root (it names itself as its issuer) or an issuing CA of ours. Total."""
    try:
        return (
            *_lint_frame(certificate),
            *_lint_window(certificate, specs.ROOT_LIFE),
            *_lint_ca_extensions(certificate),
        )
    except _UNREADABLE as error:
        return (_finding("certificate-malformed", str(error)),)


def _finding(rule: str, message: str) -> Finding:
    return Finding(rule=rule, message=message)


def _when(broken: bool, rule: str, message: str) -> tuple[Finding, ...]:  # noqa: FBT001
    return (_finding(rule, message),) if broken else ()


def _lint_frame(certificate: x509.Certificate) -> tuple[Finding, ...]:
    serial = certificate.serial_number
    digest = certificate.signature_hash_algorithm
    return (
        *_when(certificate.version is not x509.Version.v3, "version-not-3", "not version 3"),
        *_when(serial.bit_length() > 159, "serial-too-long", "over 20 octets"),
        *_when(serial < _SHORTEST_SERIAL, "serial-short", "too short to be random"),
        *_when(isinstance(digest, hashes.SHA1 | hashes.MD5), "signature-weak", "SHA-1 or MD5"),
    )


def _lint_window(certificate: x509.Certificate, longest: timedelta) -> tuple[Finding, ...]:
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return (
        *_when(life <= timedelta(0), "validity-empty", "it ends before it starts"),
        *_when(life > longest, "validity-too-long", "longer than any of its kind lives"),
    )


def _lint_leaf_extensions(certificate: x509.Certificate) -> tuple[Finding, ...]:
    extensions = certificate.extensions
    missing = _missing(extensions, (*_EVERYWHERE, *_IN_LEAVES))
    if missing:
        return missing
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    purposes = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    sound = len(purposes) == 1 and purposes <= _LEAF_PURPOSES
    return (
        *_when(basic.value.ca or not basic.critical, "leaf-is-ca", "a leaf must say it is no CA"),
        *_when(
            usage.value.key_cert_sign or usage.value.crl_sign or not usage.critical,
            "key-usage-too-wide",
            "a leaf must not sign certificates or lists",
        ),
        *_when(
            not usage.value.digital_signature, "key-usage-too-narrow", "a leaf signs handshakes"
        ),
        *_when(
            not sound,
            "purpose-not-one",
            "a leaf serves clientAuth or serverAuth, one of them",
        ),
        *(_lint_leaf_names(certificate, purposes) if sound else ()),
    )


def _lint_leaf_names(
    certificate: x509.Certificate, purposes: set[x509.ObjectIdentifier]
) -> tuple[Finding, ...]:
    server = ExtendedKeyUsageOID.SERVER_AUTH in purposes
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    kinds = (x509.DNSName,) if server else (x509.UniformResourceIdentifier, x509.RFC822Name)
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    alternatives = {getattr(name, "value", None) for name in names.value}
    return (
        *_when(
            not all(isinstance(name, kinds) for name in names.value),
            "name-of-another-kind",
            "a server has DNS names; a client has a URI and an e-mail address",
        ),
        *_when(
            not list(certificate.subject) and not names.critical,
            "names-not-critical",
            "names that are the only ones are critical",
        ),
        *_when(
            not alternatives.issuperset(one.value for one in common),
            "common-name-alone",
            "a common name must be one of the alternative names",
        ),
    )


def _lint_ca_extensions(certificate: x509.Certificate) -> tuple[Finding, ...]:
    extensions = certificate.extensions
    root = certificate.subject == certificate.issuer
    missing = _missing(extensions, _EVERYWHERE if root else (*_EVERYWHERE, *_IN_ISSUING))
    if missing:
        return missing
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    return (
        *_when(not basic.value.ca or not basic.critical, "ca-is-leaf", "a CA must say it is one"),
        *_when(
            basic.value.path_length != (1 if root else 0),
            "path-length-wrong",
            "a root has one level below it, an issuing CA none",
        ),
        *_lint_ca_usage(extensions.get_extension_for_class(x509.KeyUsage)),
        *(() if root else _lint_issuing_limits(extensions)),
    )


def _lint_ca_usage(usage: x509.Extension[x509.KeyUsage]) -> tuple[Finding, ...]:
    signs = usage.value.key_cert_sign and usage.value.crl_sign
    more = usage.value.digital_signature or usage.value.key_encipherment
    return (
        *_when(not signs or not usage.critical, "key-usage-too-narrow", "a CA signs both"),
        *_when(
            more or usage.value.data_encipherment or usage.value.key_agreement,
            "key-usage-too-wide",
            "a CA signs certificates and lists, and does nothing else",
        ),
    )


def _lint_issuing_limits(extensions: x509.Extensions) -> tuple[Finding, ...]:
    purposes = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    limits = [one for one in extensions if isinstance(one.value, x509.NameConstraints)]
    return (
        *_when(
            not purposes or not purposes <= _LEAF_PURPOSES,
            "purpose-too-wide",
            "an issuing CA certifies for clientAuth and serverAuth",
        ),
        *_when(
            any(not one.critical for one in limits),
            "limits-not-critical",
            "limits that may be ignored are none",
        ),
    )


def _missing(
    extensions: x509.Extensions, wanted: tuple[type[x509.ExtensionType], ...]
) -> tuple[Finding, ...]:
    present = {type(extension.value) for extension in extensions}
    absent = [kind.__name__ for kind in wanted if kind not in present]
    return _when(bool(absent), "extension-missing", ", ".join(absent))
