"""A certificate authority of the tests' own making, independent of the product's."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.envoy.tls import ServerCertificate

BEFORE = dt.timedelta(minutes=-5)
AFTER = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = _builder("test root", key, BEFORE, dt.timedelta(days=1))
        return cls(
            key, builder.add_extension(constraints, critical=True).sign(key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server(self, *names: str) -> ServerCertificate:
        key = ec.generate_private_key(ec.SECP256R1())
        san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = _builder("server", key, BEFORE, dt.timedelta(days=1)).add_extension(san, False)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        certificate = builder.add_extension(usage, False).sign(self.key, hashes.SHA256())
        return ServerCertificate(chain_pem=_pem(certificate), key_pem=_key_pem(key))

    def client(
        self,
        folder: Path,
        *uris: str,
        start: dt.timedelta = BEFORE,
        end: dt.timedelta = AFTER,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
    ) -> Path:
        """A client certificate and its key, in one PEM file."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [
            *(x509.UniformResourceIdentifier(uri) for uri in uris),
            x509.RFC822Name("alice@example.com"),
        ]
        certificate = (
            _builder("alice@example.com", key, start, end)
            .add_extension(x509.SubjectAlternativeName(names), False)
            .add_extension(x509.ExtendedKeyUsage([usage]), False)
            .sign(self.key, hashes.SHA256())
        )
        path = folder / f"{certificate.serial_number:x}.pem"
        path.write_text(_pem(certificate) + _key_pem(key))
        return path


def _builder(
    name: str, key: ec.EllipticCurvePrivateKey, start: dt.timedelta, end: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test root")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
