"""Keys, key lines, CSRs and specs of people who want a certificate."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from ca.serials import ssh_serial, x509_serial
from ca.specs import ClientCertSpec, HostCertSpec, ServerCertSpec, UserCertSpec
from ca.subject_keys import SshPublicKey, TlsPublicKey, parse_csr, parse_ssh_public_key
from tests.support.security_keys import SecurityKey

EMAIL = "alice@example.com"
DNS_NAMES = ("gateway.localhost", "edge.localhost")
"""What issuing CAs of tests are limited to."""
DRIFT = timedelta(minutes=5)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_line(key: Any, comment: str = "") -> str:
    """``authorized_keys`` line of a private key's public half."""
    line = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return f"{line.decode('ascii')} {comment}".rstrip()


def private_openssh(key: Any) -> bytes:
    """The private key as ``ssh -i`` reads it."""
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    return encoded


def private_pem(key: Any) -> bytes:
    """The private key as ``openssl`` reads it."""
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return encoded


def csr(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    *,
    asked: str = "",
    names: Sequence[cryptography_x509.GeneralName] = (),
) -> bytes:
    """A request for a common name and alternative names, or for none."""
    common = [cryptography_x509.NameAttribute(NameOID.COMMON_NAME, asked)] if asked else []
    builder = cryptography_x509.CertificateSigningRequestBuilder().subject_name(
        cryptography_x509.Name(common)
    )
    if names:
        alternative = cryptography_x509.SubjectAlternativeName(names)
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def ssh_subject(key: Any = None) -> SshPublicKey:
    return parse_ssh_public_key(public_line(key or ec_key()))


def security_key_subject(key_type: str, application: str = "ssh:") -> SshPublicKey:
    """The public half of a FIDO key nobody has."""
    key = SecurityKey(key_type, application)
    return parse_ssh_public_key(key.line)


def tls_subject() -> TlsPublicKey:
    return parse_csr(csr(ec_key()))


def user_spec(now: datetime, **changes: Any) -> UserCertSpec:
    """The certificate of the original service, ten minutes around ``now``."""
    values: dict[str, Any] = {
        "key_id": EMAIL,
        "principals": (EMAIL, "mysocket_ssh_signed"),
        "serial": ssh_serial(),
        "not_before": now - DRIFT,
        "not_after": now + DRIFT,
    } | changes
    if "public_key" not in values:
        values["public_key"] = ssh_subject()
    return UserCertSpec(**values)


def host_spec(now: datetime, **changes: Any) -> HostCertSpec:
    """The certificate of one host, for a week."""
    values: dict[str, Any] = {
        "key_id": "host:db.edge.localhost",
        "principals": ("db.edge.localhost",),
        "serial": ssh_serial(),
        "not_before": now - DRIFT,
        "not_after": now + timedelta(days=7),
    } | changes
    if "public_key" not in values:
        values["public_key"] = ssh_subject()
    return HostCertSpec(**values)


def client_spec(now: datetime, **changes: Any) -> ClientCertSpec:
    """A client certificate for one socket, ten minutes around ``now``."""
    values: dict[str, Any] = {
        "email": EMAIL,
        "socket_id": "7d2b8a90-7f62-4b61-8a5d-1c3a2f6f1f11",
        "epoch": 3,
        "serial": x509_serial(),
        "not_before": now - DRIFT,
        "not_after": now + DRIFT,
    } | changes
    if "public_key" not in values:
        values["public_key"] = tls_subject()
    return ClientCertSpec(**values)


def server_spec(now: datetime, **changes: Any) -> ServerCertSpec:
    """A server certificate of the edge, valid a day."""
    values: dict[str, Any] = {
        "dns_names": ("gateway.localhost", "*.edge.localhost"),
        "serial": x509_serial(),
        "not_before": now - DRIFT,
        "not_after": now + timedelta(days=1),
    } | changes
    if "public_key" not in values:
        values["public_key"] = tls_subject()
    return ServerCertSpec(**values)
