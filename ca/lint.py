"""Reads a *finished* certificate and says what is wrong with it, whoever made it.

The last check before a certificate is released: it sees the bytes, not what somebody meant. The
rules for SSH are those of ``ca.formats.ssh_lint``; those for X.509 come from RFC 5280.
"""

from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from ca import specs
from ca.formats.ssh_lint import Finding, Profile, lint

_SHORTEST_SERIAL = 2**64

__all__ = ["Finding", "lint_ssh", "lint_x509"]


def lint_ssh(blob_or_line: bytes) -> tuple[Finding, ...]:
    """Check an SSH certificate of ours, user or host, by the strict profile. Total."""
    return lint(blob_or_line, profile=Profile.OURS)


def lint_x509(certificate: x509.Certificate) -> tuple[Finding, ...]:
    """Check a leaf certificate of ours for what every leaf has. Total."""
    try:
        return (
            *_lint_x509_frame(certificate),
            *_lint_x509_window(certificate),
            *_lint_x509_extensions(certificate.extensions),
        )
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        return (_finding("certificate-malformed", str(error)),)


def _finding(rule: str, message: str) -> Finding:
    return Finding(rule=rule, message=message)


def _when(broken: bool, rule: str, message: str) -> tuple[Finding, ...]:  # noqa: FBT001
    return (_finding(rule, message),) if broken else ()


def _lint_x509_frame(certificate: x509.Certificate) -> tuple[Finding, ...]:
    serial = certificate.serial_number
    digest = certificate.signature_hash_algorithm
    return (
        *_when(certificate.version is not x509.Version.v3, "version-not-3", "not version 3"),
        *_when(serial.bit_length() > 159, "serial-too-long", "over 20 octets"),
        *_when(serial < _SHORTEST_SERIAL, "serial-short", "too short to be random"),
        *_when(isinstance(digest, hashes.SHA1 | hashes.MD5), "signature-weak", "SHA-1 or MD5"),
    )


def _lint_x509_window(certificate: x509.Certificate) -> tuple[Finding, ...]:
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return (
        *_when(life <= timedelta(0), "validity-empty", "it ends before it starts"),
        *_when(life > specs.MAX_SERVER_LIFE, "validity-too-long", "longer than any leaf lives"),
    )


def _lint_x509_extensions(extensions: x509.Extensions) -> tuple[Finding, ...]:
    wanted = (
        x509.BasicConstraints,
        x509.KeyUsage,
        x509.ExtendedKeyUsage,
        x509.SubjectAlternativeName,
        x509.AuthorityKeyIdentifier,
        x509.SubjectKeyIdentifier,
    )
    present = {type(extension.value) for extension in extensions}
    missing = [kind.__name__ for kind in wanted if kind not in present]
    if missing:
        return (_finding("extension-missing", ", ".join(missing)),)
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    purposes = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    leaf_purposes = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    return (
        *_when(basic.value.ca or not basic.critical, "leaf-is-ca", "a leaf must say it is no CA"),
        *_when(
            usage.value.key_cert_sign or usage.value.crl_sign or not usage.critical,
            "key-usage-too-wide",
            "a leaf must not sign certificates or lists",
        ),
        *_when(
            len(purposes) != 1 or not purposes <= leaf_purposes,
            "purpose-not-one",
            "a leaf serves clientAuth or serverAuth, one of them",
        ),
    )
