"""Reads a *finished* certificate and says what is wrong with it, whoever made it.

The last check before a certificate is released: it sees the bytes, not what somebody meant. The
rules for SSH are those of ``ca.formats.ssh_lint``; those for X.509 come from RFC 5280.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ca import specs
from ca.ca_keys import MIN_CA_RSA_BITS
from ca.formats.ssh_lint import Finding, Profile, lint
from ca.key_strength import MIN_SUBJECT_RSA_BITS

LIMITS_MISSING = "limits-missing"
"""Rule that CAs of the first versions break."""
_FROM = ":from:"
"""In the name of what is good from some networks only (``specs.ClientCertSpec.socket_uris``)."""
_SHORTEST_SERIAL = 2**64
_EVERYWHERE = (x509.BasicConstraints, x509.KeyUsage, x509.SubjectKeyIdentifier)
_IN_ISSUING = (*_EVERYWHERE, x509.ExtendedKeyUsage, x509.AuthorityKeyIdentifier)
_IN_LEAVES = (*_IN_ISSUING, x509.SubjectAlternativeName)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_Found = Mapping[type[x509.ExtensionType], x509.Extension[Any]]
"""The extensions of a certificate by their kind."""
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
            *_lint_key(certificate, MIN_SUBJECT_RSA_BITS),
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
            *_lint_key(certificate, MIN_CA_RSA_BITS),
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


def _lint_key(certificate: x509.Certificate, min_rsa_bits: int) -> tuple[Finding, ...]:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return _when(key.key_size < min_rsa_bits, "key-weak", f"RSA with {key.key_size} bits")
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _when(not isinstance(key.curve, _CURVES), "key-weak", key.curve.name)
    known = isinstance(key, ed25519.Ed25519PublicKey)
    return _when(not known, "key-weak", "not a kind of key that is certified here")


def _lint_leaf_extensions(certificate: x509.Certificate) -> tuple[Finding, ...]:
    found = {type(extension.value): extension for extension in certificate.extensions}
    odd = (*_missing(found, _IN_LEAVES), *_unknown(found, _IN_LEAVES))
    if odd:
        return odd
    basic, usage = found[x509.BasicConstraints], found[x509.KeyUsage]
    purposes = set(found[x509.ExtendedKeyUsage].value)
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
        *_lint_leaf_names(certificate, found[x509.SubjectAlternativeName], purposes),
    )


def _lint_leaf_names(
    certificate: x509.Certificate,
    names: x509.Extension[Any],
    purposes: set[x509.ObjectIdentifier],
) -> tuple[Finding, ...]:
    subject = list(certificate.subject)
    alternatives = {getattr(name, "value", None) for name in names.value}
    wrong = [one for one in names.value if not isinstance(one, _name_kinds(purposes))]
    uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    return (
        *_when(
            bool(wrong),
            "name-of-another-kind",
            "a server has DNS names; a client has a URI and an e-mail address",
        ),
        *_when(
            len({_FROM in uri for uri in uris}) > 1,
            "name-undoes-another",
            "the name of what is good from anywhere, beside one that is good from some places",
        ),
        *_when(
            not subject and not names.critical,
            "names-not-critical",
            "names that are the only ones are critical",
        ),
        *_when(
            any(one.oid != NameOID.COMMON_NAME for one in subject) or len(subject) > 1,
            "subject-odd",
            "a subject is empty or one common name",
        ),
        *_when(
            not alternatives.issuperset(one.value for one in subject),
            "common-name-alone",
            "a common name must be one of the alternative names",
        ),
    )


def _name_kinds(purposes: set[x509.ObjectIdentifier]) -> tuple[type[x509.GeneralName], ...]:
    """What may stand in the alternative names; anything, if the purpose itself is wrong."""
    if purposes == {ExtendedKeyUsageOID.SERVER_AUTH}:
        return (x509.DNSName,)
    if purposes == {ExtendedKeyUsageOID.CLIENT_AUTH}:
        return (x509.UniformResourceIdentifier, x509.RFC822Name)
    return (x509.GeneralName,)


def _lint_ca_extensions(certificate: x509.Certificate) -> tuple[Finding, ...]:
    found = {type(extension.value): extension for extension in certificate.extensions}
    root = certificate.subject == certificate.issuer
    wanted = _EVERYWHERE if root else _IN_ISSUING
    odd = (*_missing(found, wanted), *_unknown(found, (*_IN_ISSUING, x509.NameConstraints)))
    if odd:
        return odd
    basic = found[x509.BasicConstraints]
    return (
        *_when(not basic.value.ca or not basic.critical, "ca-is-leaf", "a CA must say it is one"),
        *_when(
            basic.value.path_length != (1 if root else 0),
            "path-length-wrong",
            "a root has one level below it, an issuing CA none",
        ),
        *_lint_ca_usage(found[x509.KeyUsage]),
        *(() if root else _lint_issuing_limits(found)),
    )


def _lint_ca_usage(usage: x509.Extension[Any]) -> tuple[Finding, ...]:
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


def _lint_issuing_limits(found: _Found) -> tuple[Finding, ...]:
    purposes = set(found[x509.ExtendedKeyUsage].value)
    limits = found.get(x509.NameConstraints)
    return (
        *_when(
            not purposes or not purposes <= _LEAF_PURPOSES,
            "purpose-too-wide",
            "an issuing CA certifies for clientAuth and serverAuth",
        ),
        *_when(limits is None, LIMITS_MISSING, "an issuing CA may certify some names only"),
        *_when(
            limits is not None and not limits.critical,
            "limits-not-critical",
            "limits that may be ignored are none",
        ),
    )


def _missing(found: _Found, wanted: tuple[type[x509.ExtensionType], ...]) -> tuple[Finding, ...]:
    absent = [kind.__name__ for kind in wanted if kind not in found]
    return _when(bool(absent), "extension-missing", ", ".join(absent))


def _unknown(found: _Found, known: tuple[type[x509.ExtensionType], ...]) -> tuple[Finding, ...]:
    strange = [one.oid.dotted_string for kind, one in found.items() if kind not in known]
    return _when(bool(strange), "extension-unknown", ", ".join(strange))
