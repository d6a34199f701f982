"""Certificates our CAs would never make, but whoever has their key could."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from ca import x509
from ca.serials import x509_serial
from tests.support.subjects import ec_key

_BOTH = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


def forged_leaf(
    issuer: x509.Issuer,
    names: Sequence[cryptography_x509.GeneralName],
    key: ec.EllipticCurvePrivateKey | None = None,
) -> x509.IssuedCertificate:
    """A leaf for both purposes with any names, made past every check but the signature."""
    now = datetime.now(UTC)
    public_key = (key or ec_key()).public_key()
    extensions: list[tuple[cryptography_x509.ExtensionType, bool]] = [
        (cryptography_x509.BasicConstraints(ca=False, path_length=None), True),
        (x509._key_usage(digital_signature=True), True),
        (cryptography_x509.ExtendedKeyUsage(_BOTH), False),
        (cryptography_x509.SubjectAlternativeName(names), True),
        (cryptography_x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (x509.authority_key_identifier(issuer.certificate), False),
    ]
    builder = (
        cryptography_x509.CertificateBuilder()
        .subject_name(cryptography_x509.Name([]))
        .issuer_name(issuer.certificate.subject)
        .public_key(public_key)
        .serial_number(x509_serial())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(minutes=5))
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    digest = x509.digest_for(issuer.signer.public_key)
    certificate = builder.sign(issuer.signer.signing_key, digest)
    return x509.IssuedCertificate(certificate=certificate, issuer=issuer.certificate)
