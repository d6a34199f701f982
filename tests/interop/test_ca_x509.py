"""OpenSSL's own opinion of our X.509 certificates, offline and in a TLS handshake."""

import contextlib
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ca import x509
from ca.serials import x509_serial
from ca.signers import MemorySigner
from ca.specs import ISSUING_LIFE, CaCertSpec
from ca.subject_keys import parse_csr
from tests.support.subjects import DNS_NAMES, client_spec, csr, ec_key, private_pem, server_spec


def _authority(now: datetime) -> x509.Issuer:
    def spec(name: str) -> CaCertSpec:
        return CaCertSpec(
            common_name=name,
            serial=x509_serial(),
            not_before=now - timedelta(minutes=5),
            not_after=now + ISSUING_LIFE,
        )

    root_signer = MemorySigner(name="root", signing_key=x509.make_ca_key())
    signer = MemorySigner(name="issuing", signing_key=x509.make_ca_key())
    root = x509.make_root(root_signer, spec("root 1"))
    return x509.make_issuing_ca(root, signer, spec("issuing 1"), dns_names=DNS_NAMES)


@pytest.fixture(scope="module")
def issuing() -> x509.Issuer:
    return _authority(datetime.now(UTC))


def _openssl_verify(
    directory: Path, issuing: x509.Issuer, leaf: x509.IssuedCertificate, purpose: str
) -> tuple[bool, str]:
    (directory / "trust.pem").write_bytes(issuing.trust_pem)
    (directory / "leaf.pem").write_bytes(leaf.pem)
    result = subprocess.run(
        [
            "openssl",
            "verify",
            "-x509_strict",
            "-no-CApath",
            "-CAfile",
            "trust.pem",
            "-purpose",
            purpose,
            "leaf.pem",
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode == 0, result.stdout + result.stderr


def test_a_client_certificate_verifies_for_clients_only(
    issuing: x509.Issuer, tmp_path: Path
) -> None:
    leaf = x509.issue_client_certificate(issuing, client_spec(datetime.now(UTC)))
    accepted, output = _openssl_verify(tmp_path, issuing, leaf, "sslclient")
    assert accepted, output
    accepted, output = _openssl_verify(tmp_path, issuing, leaf, "sslserver")
    assert not accepted
    assert "unsuitable certificate purpose" in output


def test_a_server_certificate_verifies_for_servers_only(
    issuing: x509.Issuer, tmp_path: Path
) -> None:
    leaf = x509.issue_server_certificate(issuing, server_spec(datetime.now(UTC)))
    accepted, output = _openssl_verify(tmp_path, issuing, leaf, "sslserver")
    assert accepted, output
    assert not _openssl_verify(tmp_path, issuing, leaf, "sslclient")[0]


def test_the_key_of_the_original_client_is_certified(issuing: x509.Issuer, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    spec = client_spec(datetime.now(UTC), public_key=parse_csr(csr(key)))
    leaf = x509.issue_client_certificate(issuing, spec)
    accepted, output = _openssl_verify(tmp_path, issuing, leaf, "sslclient")
    assert accepted, output


def test_an_address_too_long_for_a_common_name_verifies(
    issuing: x509.Issuer, tmp_path: Path
) -> None:
    email = f"{'a' * 60}@{'b' * 60}.example"
    leaf = x509.issue_client_certificate(issuing, client_spec(datetime.now(UTC), email=email))
    accepted, output = _openssl_verify(tmp_path, issuing, leaf, "sslclient")
    assert accepted, output


def test_an_expired_certificate_is_refused(issuing: x509.Issuer, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    spec = client_spec(
        now, not_before=now - timedelta(minutes=10), not_after=now - timedelta(seconds=2)
    )
    leaf = x509.issue_client_certificate(issuing, spec)
    accepted, output = _openssl_verify(tmp_path, issuing, leaf, "sslclient")
    assert not accepted
    assert "certificate has expired" in output


def test_a_certificate_of_another_ca_with_the_same_names_is_refused(
    issuing: x509.Issuer, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    leaf = x509.issue_client_certificate(_authority(now), client_spec(now))
    assert not _openssl_verify(tmp_path, issuing, leaf, "sslclient")[0]


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Run a whole handshake in memory; the server's side of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    client_side = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (client_side, server_side):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return server_side


def test_both_kinds_meet_in_a_handshake(issuing: x509.Issuer, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    (tmp_path / "root.pem").write_bytes(issuing.trust_pem)
    contexts = {}
    for side, purpose in (("server", ssl.PROTOCOL_TLS_SERVER), ("client", ssl.PROTOCOL_TLS_CLIENT)):
        key = ec_key()
        public_key = parse_csr(csr(key))
        leaf = (
            x509.issue_server_certificate(issuing, server_spec(now, public_key=public_key))
            if side == "server"
            else x509.issue_client_certificate(issuing, client_spec(now, public_key=public_key))
        )
        (tmp_path / f"{side}.pem").write_bytes(leaf.chain_pem + private_pem(key))
        context = ssl.SSLContext(purpose)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tmp_path / "root.pem")
        context.load_cert_chain(tmp_path / f"{side}.pem")
        contexts[side] = context
    seen = _handshake(contexts["server"], contexts["client"], "quiet-fox-1234.edge.localhost")
    peer = seen.getpeercert()
    assert peer is not None
    assert peer["subjectAltName"] == (
        ("URI", "urn:mysocket:socket:7d2b8a90-7f62-4b61-8a5d-1c3a2f6f1f11:3"),
        ("email", "alice@example.com"),
    )
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _handshake(contexts["server"], contexts["client"], "elsewhere.localhost")
