"""Reads a *finished* certificate and says what is wrong with it, whoever made it.

The last check before a certificate is released: it sees the bytes, not what somebody meant. Rules
for SSH come from what OpenSSH of any age does with odd certificates (CVE-2024-7594,
CVE-2026-35414); rules for X.509 from RFC 5280.
"""

from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import ssh
from cryptography.x509.oid import ExtendedKeyUsageOID

from ca import specs

_ENDLESS = 2**64 - 1
_SHORTEST_SERIAL = 2**64
_SHA1_SIGNATURE = b"ssh-rsa"
_FORWARDING = {b"permit-X11-forwarding", b"permit-agent-forwarding", b"permit-port-forwarding"}
_SEPARATORS = set(b",*?") | set(range(0x21)) | set(range(0x7F, 0x100))
_UNREADABLE = (ValueError, TypeError, AssertionError, RuntimeError, UnsupportedAlgorithm)
"""What the parser raises on bytes it cannot read; found by fuzzing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken rule."""

    rule: str
    """Stable kebab-case name."""
    message: str


def lint_ssh(line: bytes) -> tuple[Finding, ...]:
    """Check an SSH user certificate in ``authorized_keys`` form. Total: bad bytes are a finding."""
    try:
        certificate = ssh.load_ssh_public_identity(line)
        if not isinstance(certificate, ssh.SSHCertificate):
            return (_finding("not-a-certificate", "this is a plain key"),)
        certificate.verify_cert_signature()
    except InvalidSignature:
        return (_finding("signature-invalid", "the CA's signature does not fit"),)
    except _UNREADABLE as error:
        return (_finding("certificate-malformed", str(error)),)
    return (
        *_lint_ssh_names(certificate),
        *_lint_ssh_window(certificate),
        *_lint_ssh_options(certificate),
    )


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


def _lint_ssh_names(certificate: ssh.SSHCertificate) -> tuple[Finding, ...]:
    principals = certificate.valid_principals
    odd = any(_SEPARATORS & set(principal) or not principal for principal in principals)
    return (
        *_when(
            certificate.type is not ssh.SSHCertificateType.USER,
            "type-not-user",
            "this is a host certificate",
        ),
        *_when(not principals, "principals-empty", "old sshd lets it in as anybody"),
        *_when(
            len(principals) > specs.MAX_PRINCIPALS, "principals-too-many", "OpenSSH stops at 256"
        ),
        *_when(odd, "principal-odd", "a principal has a separator, wildcard or control character"),
        *_when(not certificate.key_id, "key-id-empty", "sshd's log could not name the person"),
        *_when(certificate.serial == 0, "serial-zero", "a KRL cannot name serial 0"),
    )


def _lint_ssh_window(certificate: ssh.SSHCertificate) -> tuple[Finding, ...]:
    start, end = certificate.valid_after, certificate.valid_before
    longest = int(specs.MAX_GRANT_LIFE / timedelta(seconds=1))
    return (
        *_when(end == _ENDLESS, "validity-endless", "the certificate never ends"),
        *_when(end <= start, "validity-empty", "the certificate ends before it starts"),
        *_when(end - start > longest, "validity-too-long", "longer than a grant can last"),
    )


def _lint_ssh_options(certificate: ssh.SSHCertificate) -> tuple[Finding, ...]:
    forced = b"force-command" in certificate.critical_options
    unnamed = [
        name
        for name in certificate.extensions
        if name.decode("latin-1") not in specs.ORIGINAL_EXTENSIONS and b"@" not in name
    ]
    # The algorithm sits in a private field; the parser has no accessor for it.
    algorithm = bytes(certificate._inner_sig_type)  # noqa: SLF001
    return (
        *_when(algorithm == _SHA1_SIGNATURE, "signature-sha1", "signed with SHA-1"),
        *_when(
            forced and bool(_FORWARDING & certificate.extensions.keys()),
            "force-command-with-forwarding",
            "a forced command does not stop forwarding",
        ),
        *_when(bool(unnamed), "extension-unknown", "an unknown extension without a domain"),
    )


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
