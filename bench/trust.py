"""Certificates for the peers, of the same kinds and chain length as the product's own."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFiles:
    """A peer's key and certificate chain; ``bundle`` holds both, as HAProxy wants them."""

    key: Path
    chain: Path
    bundle: Path


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    authority = name.startswith("bench ")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def server_files(directory: Path, name: str = "peer.edge.localhost") -> ServerFiles:
    """A P-256 leaf below an issuing CA below a root, as the product's edge has."""
    root_key, issuing_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = _certificate("bench root", root_key, None, root_key)
    issuing = _certificate("bench issuing", issuing_key, root, root_key)
    leaf = _certificate(name, key, issuing, issuing_key)
    chain = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (leaf, issuing))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files = ServerFiles(
        key=directory / "peer.key", chain=directory / "peer.pem", bundle=directory / "bundle.pem"
    )
    files.key.write_bytes(private)
    files.chain.write_bytes(chain)
    files.bundle.write_bytes(chain + private)
    return files
