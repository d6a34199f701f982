"""The X.509 side (RFC 5280): a root, an issuing CA below it, client and server certificates.

A CA's key is whatever its signer has: Ed25519, P-256, P-384 or RSA of 3072 bits and more. P-256 is
what the product makes by itself: every TLS library verifies it, fast and in constant time, and a
stronger root would strengthen nothing, since leaves are P-256 or RSA-2048. Nothing of a CSR but its
key gets in here. Each certificate is read back from its own bytes and checked against spec, issuer
and ``ca.lint`` before it is returned.

What an issuing CA may sign is written into its own certificate (RFC 5280 §4.2.1.10), because trust
stores do not look for limits on roots: below it no further CA, no purpose but clientAuth and
serverAuth, no DNS name but the product's own, no IP address. E-mail addresses are not limited,
people log in with whatever address they have. URIs cannot be: RFC 5280 has a verifier refuse every
URI without a host name, ``urn:mysocket:…`` among them, as soon as one URI limit stands there.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from ipaddress import ip_network
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ca import errors
from ca.ca_keys import CaPublicKey
from ca.lint import LIMITS_MISSING, lint_ca, lint_x509
from ca.signers.base import Signer
from ca.specs import CaCertSpec, ClientCertSpec, ServerCertSpec

MAX_COMMON_NAME = 64
"""ub-common-name (RFC 5280 appendix A.1); e-mail addresses may be longer."""

_DNS_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*"
    r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_MAX_CHAIN_BYTES = 64 * 1024
_UNREADABLE = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
)
"""What the parser raises on a certificate that is none of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A CA certificate with the signer of its key and the certificates above it."""

    certificate: x509.Certificate
    signer: Signer
    parents: tuple[x509.Certificate, ...] = ()
    """From the next one up to the root; empty for a root."""

    def __post_init__(self) -> None:
        if self.certificate.public_key() != self.signer.public_key:
            raise errors.KeyStoreError(f"the key {self.signer.name} is not this certificate's")

    @property
    def pem(self) -> bytes:
        return _pem(self.certificate)

    @property
    def trust_pem(self) -> bytes:
        """This certificate, then those above it."""
        return b"".join(_pem(certificate) for certificate in (self.certificate, *self.parents))

    @property
    def not_after(self) -> datetime:
        return self.certificate.not_valid_after_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """A finished, checked leaf certificate."""

    certificate: x509.Certificate = field(repr=False)
    issuer: x509.Certificate = field(repr=False)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The leaf alone."""
        return _pem(self.certificate)

    @property
    def chain_pem(self) -> bytes:
        """The leaf, then its issuer; the root is the verifier's to have."""
        return self.pem + _pem(self.issuer)

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    @property
    def not_before(self) -> datetime:
        return self.certificate.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        return self.certificate.not_valid_after_utc

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, hex."""
        return sha256(self.der).hexdigest()


def make_ca_key() -> ec.EllipticCurvePrivateKey:
    """A fresh key for a root or an issuing CA."""
    return ec.generate_private_key(ec.SECP256R1())


def make_root(signer: Signer, spec: CaCertSpec) -> Issuer:
    """A self-signed root that may have one level of CAs below it.

    Raises:
        IssuanceError: the signer failed, or the result is not what the spec says.
    """
    name = _ca_name(spec)
    builder = _ca_builder(spec, name, signer.public_key, path_length=1)
    certificate = _finished(_sign(builder, name, signer))
    _check_ca(certificate, certificate, spec)
    return Issuer(certificate=certificate, signer=signer)


def make_issuing_ca(
    root: Issuer, signer: Signer, spec: CaCertSpec, *, dns_names: Sequence[str]
) -> Issuer:
    """A CA below ``root`` that signs leaves only, for clientAuth and serverAuth only, and server
    certificates only for ``dns_names`` and what is below them.

    Raises:
        ValidityError: it would outlive the root.
        SubjectNameError: not DNS names, or none.
        IssuanceError: the root's signer failed, ``root`` may not have a CA below it, or the result
            is not what the spec says.
    """
    constraints = root.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    if not constraints.value.path_length:
        raise errors.IssuanceError("only a root signs a CA")
    _check_end(root, spec.not_after)
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = (
        _ca_builder(spec, _ca_name(spec), signer.public_key, path_length=0)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(authority_key_identifier(root.certificate), critical=False)
        .add_extension(_name_limits(dns_names), critical=True)
    )
    certificate = _finished(_sign(builder, root.certificate.subject, root.signer))
    _check_ca(certificate, root.certificate, spec)
    return Issuer(certificate=certificate, signer=signer, parents=(root.certificate, *root.parents))


def limits_fit(certificate: x509.Certificate, dns_names: Iterable[str]) -> bool:
    """Whether a CA carries exactly the limits ``make_issuing_ca`` would write for these names.

    If it does not, the names have changed since, and it takes a new CA to follow them.
    """
    return _limits_of(certificate) == _name_limits(dns_names)


def is_limited(certificate: x509.Certificate) -> bool:
    """Whether a CA may certify some names only; those of the first versions could certify all."""
    return _limits_of(certificate) is not None


def load_issuer(chain_pem: bytes, signer: Signer) -> Issuer:
    """Put a stored CA together again: its certificate first, then those above it.

    Raises:
        KeyStoreError: the chain cannot be read, does not hold together, is another key's, or a
            certificate in it allows more than the one above.
    """
    if len(chain_pem) > _MAX_CHAIN_BYTES:
        raise errors.KeyStoreError("a CA chain this long is none of ours")
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
        for child, parent in pairwise(chain):
            child.verify_directly_issued_by(parent)
            _check_nesting(child, parent)
        for certificate in chain:
            # A CA of the first versions is none to make any more, and goes on until it is replaced.
            broken = [one.rule for one in lint_ca(certificate) if one.rule != LIMITS_MISSING]
            if broken:
                raise errors.KeyStoreError(f"the stored CA breaks a rule: {broken[0]}")
    except _UNREADABLE as error:
        if isinstance(error, errors.KeyStoreError):
            raise
        raise errors.KeyStoreError("the stored CA chain does not hold together") from error
    return Issuer(certificate=chain[0], signer=signer, parents=tuple(chain[1:]))


def issue_client_certificate(issuer: Issuer, spec: ClientCertSpec) -> IssuedCertificate:
    """A certificate for one person, one socket and one epoch. Its record is the caller's duty.

    Raises:
        ValidityError: it would outlive the CA.
        IssuanceError: the signer failed, or the result is not what the spec says.
    """
    # An address too long for a common name stands in the subjectAltName alone, which is then the
    # certificate's only name and therefore critical (RFC 5280 §4.1.2.6).
    named = len(spec.email) <= MAX_COMMON_NAME
    names = x509.SubjectAlternativeName(
        [
            *(x509.UniformResourceIdentifier(uri) for uri in spec.socket_uris),
            x509.RFC822Name(spec.email),
        ]
    )
    subject = _common_name(spec.email) if named else x509.Name([])
    return _issue(issuer, spec, subject, names, ExtendedKeyUsageOID.CLIENT_AUTH)


def issue_server_certificate(issuer: Issuer, spec: ServerCertSpec) -> IssuedCertificate:
    """A certificate for names of our own; the subject is empty, the names are what counts.

    Raises:
        ValidityError: it would outlive the CA.
        SubjectNameError: a name outside of what the CA may certify.
        IssuanceError: the signer failed, or the result is not what the spec says.
    """
    _check_names(issuer.certificate, spec.dns_names)
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in spec.dns_names])
    return _issue(issuer, spec, x509.Name([]), names, ExtendedKeyUsageOID.SERVER_AUTH)


def _issue(
    issuer: Issuer,
    spec: ClientCertSpec | ServerCertSpec,
    subject: x509.Name,
    names: x509.SubjectAlternativeName,
    purpose: x509.ObjectIdentifier,
) -> IssuedCertificate:
    _check_end(issuer, spec.not_after)
    if purpose not in _purposes(issuer.certificate):
        raise errors.IssuanceError("the CA may not certify for this purpose")
    public_key = spec.public_key.key
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([purpose]), False),
        (names, not list(subject)),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (authority_key_identifier(issuer.certificate), False),
    ]
    builder = _builder(spec, subject, public_key)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signed = _sign(builder, issuer.certificate.subject, issuer.signer)
    finished = _finished(signed)
    _check_finished(finished, issuer, spec, subject, extensions)
    return IssuedCertificate(certificate=finished, issuer=issuer.certificate)


def _check_finished(
    certificate: x509.Certificate,
    issuer: Issuer,
    spec: ClientCertSpec | ServerCertSpec,
    subject: x509.Name,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> None:
    findings = lint_x509(certificate)
    if findings:
        raise errors.SelfCheckError(f"refused by the linter: {findings[0].rule}")
    found: dict[str, tuple[object, object]] = {
        "subject": (certificate.subject, subject),
        "public key": (certificate.public_key(), spec.public_key.key),
        "serial": (certificate.serial_number, spec.serial),
        "start": (certificate.not_valid_before_utc, spec.not_before),
        "end": (certificate.not_valid_after_utc, spec.not_after),
        "extensions": (
            [(extension.value, extension.critical) for extension in certificate.extensions],
            extensions,
        ),
    }
    differing = [name for name, (is_, should_be) in found.items() if is_ != should_be]
    if differing:
        raise errors.SelfCheckError(f"not as specified: {', '.join(differing)}")
    try:
        certificate.verify_directly_issued_by(issuer.certificate)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise errors.SelfCheckError("the CA's signature does not fit") from error


def _check_ca(certificate: x509.Certificate, parent: x509.Certificate, spec: CaCertSpec) -> None:
    findings = lint_ca(certificate)
    if findings:
        raise errors.SelfCheckError(f"refused by the linter: {findings[0].rule}")
    found = (
        certificate.subject,
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
    if found != (_ca_name(spec), spec.serial, spec.not_before, spec.not_after):
        raise errors.SelfCheckError("the CA's certificate is not as specified")
    try:
        certificate.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise errors.SelfCheckError("the root's signature does not fit") from error


def _check_nesting(child: x509.Certificate, parent: x509.Certificate) -> None:
    """No certificate of a chain allows more, or lives longer, than the one above it."""
    lengths = [
        one.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        for one in (child, parent)
    ]
    if lengths[0] is None or lengths[1] is None or lengths[0] >= lengths[1]:
        raise errors.KeyStoreError("the stored CA may have more levels below it than its parent")
    if not _purposes(child) <= _purposes(parent):
        raise errors.KeyStoreError("the stored CA has purposes its parent has not")
    if child.not_valid_after_utc > parent.not_valid_after_utc:
        raise errors.KeyStoreError("the stored CA outlives its parent")


def _purposes(ca: x509.Certificate) -> set[x509.ObjectIdentifier]:
    """For what a CA may certify; a root without the extension, for what we certify at all."""
    try:
        return set(ca.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def _name_limits(dns_names: Iterable[str]) -> x509.NameConstraints:
    """Only these DNS names and those below them, and no IP address at all."""
    bases = sorted({name.removeprefix("*.") for name in dns_names})
    if not bases or not all(_DNS_NAME.fullmatch(base) for base in bases):
        raise errors.SubjectNameError("a CA is limited to one or more lower-case DNS names")
    return x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(base) for base in bases],
        excluded_subtrees=[x509.IPAddress(ip_network(net)) for net in ("0.0.0.0/0", "::/0")],
    )


def _limits_of(ca: x509.Certificate) -> x509.NameConstraints | None:
    try:
        return ca.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def _check_names(ca: x509.Certificate, dns_names: Iterable[str]) -> None:
    limits = _limits_of(ca)
    if limits is None:
        return
    bases = [one.value for one in limits.permitted_subtrees or () if isinstance(one, x509.DNSName)]
    for name in dns_names:
        host = name.removeprefix("*.")
        if not any(host == base or host.endswith(f".{base}") for base in bases):
            raise errors.SubjectNameError(f"the CA may not certify the name {name}")


def _check_end(issuer: Issuer, not_after: datetime) -> None:
    # Only the end: a leaf is backdated against clock drift, also on the day its CA was made.
    if not_after > issuer.not_after:
        raise errors.ValidityError("a certificate must not outlive its CA")


def _ca_name(spec: CaCertSpec) -> x509.Name:
    return _common_name(spec.common_name)


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _ca_builder(
    spec: CaCertSpec, name: x509.Name, public_key: CaPublicKey, *, path_length: int
) -> x509.CertificateBuilder:
    return (
        _builder(spec, name, public_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _builder(
    spec: CaCertSpec | ClientCertSpec | ServerCertSpec, subject: x509.Name, public_key: CaPublicKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(spec.serial)
        .not_valid_before(spec.not_before)
        .not_valid_after(spec.not_after)
    )


def _finished(signed: x509.Certificate) -> x509.Certificate:
    """Read back from its own bytes."""
    return x509.load_der_x509_certificate(signed.public_bytes(serialization.Encoding.DER))


def _sign(
    builder: x509.CertificateBuilder, issuer_name: x509.Name, signer: Signer
) -> x509.Certificate:
    try:
        return builder.issuer_name(issuer_name).sign(
            signer.signing_key, digest_for(signer.public_key)
        )
    except errors.CaError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise errors.IssuanceError(f"the CA {signer.name} did not sign") from error


def digest_for(key: CaPublicKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """The hash that fits the CA's key; ``None`` for Ed25519, which brings its own."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1):
        return hashes.SHA384()
    return hashes.SHA256()


def authority_key_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """How what ``ca`` signs points to its key (RFC 5280 §4.2.1.1)."""
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value)


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
