"""OpenSSL's own opinion of our X.509 certificates, offline and in a TLS handshake."""

import contextlib
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import verification

from ca import x509
from ca.crl import RevokedX509, make_crl
from ca.serials import x509_serial
from ca.signers import MemorySigner
from ca.specs import ISSUING_LIFE, CaCertSpec
from ca.subject_keys import parse_csr
from tests.support.forged import forged_leaf
from tests.support.subjects import DNS_NAMES, client_spec, csr, ec_key, private_pem, server_spec


def _authority(now: datetime, make_key: Callable[[], Any] = x509.make_ca_key) -> x509.Issuer:
    def spec(name: str) -> CaCertSpec:
        return CaCertSpec(
            common_name=name,
            serial=x509_serial(),
            not_before=now - timedelta(minutes=5),
            not_after=now + ISSUING_LIFE,
        )

    root_signer = MemorySigner(name="root", signing_key=make_key())
    signer = MemorySigner(name="issuing", signing_key=make_key())
    root = x509.make_root(root_signer, spec("root 1"))
    return x509.make_issuing_ca(root, signer, spec("issuing 1"), dns_names=DNS_NAMES)


@pytest.fixture(scope="module")
def issuing() -> x509.Issuer:
    return _authority(datetime.now(UTC))


def _openssl_verify(
    directory: Path,
    issuing: x509.Issuer,
    leaf: x509.IssuedCertificate,
    purpose: str,
    crl: bytes | None = None,
) -> tuple[bool, str]:
    (directory / "trust.pem").write_bytes(issuing.trust_pem)
    (directory / "leaf.pem").write_bytes(leaf.pem)
    (directory / "list.crl").write_bytes(crl or b"")
    revocation = ["-crl_check", "-CRLfile", "list.crl"] if crl else []
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
            *revocation,
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


KEYS: dict[str, Callable[[], Any]] = {
    "p256": ec_key,
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
}


@pytest.mark.parametrize("make_key", KEYS.values(), ids=KEYS.keys())
def test_every_kind_of_ca_key_verifies(make_key: Callable[[], Any], tmp_path: Path) -> None:
    now = datetime.now(UTC)
    issuing = _authority(now, make_key)
    leaf = x509.issue_client_certificate(issuing, client_spec(now))
    accepted, output = _openssl_verify(tmp_path, issuing, leaf, "sslclient")
    assert accepted, output
    crl = _crl(issuing, leaf.serial)
    accepted, output = _openssl_verify(tmp_path, issuing, leaf, "sslclient", crl=crl)
    assert not accepted
    assert "certificate revoked" in output


def _crl(issuing: x509.Issuer, *serials: int, end: timedelta = timedelta(hours=1)) -> bytes:
    now = datetime.now(UTC)
    return make_crl(
        issuing,
        number=1,
        revoked=[RevokedX509(serial=serial, at=now) for serial in serials],
        this_update=now - timedelta(hours=1),
        next_update=now + end,
    )


def test_openssl_obeys_a_revocation_list(issuing: x509.Issuer, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    leaf = x509.issue_client_certificate(issuing, client_spec(now))
    other = x509.issue_client_certificate(issuing, client_spec(now))
    crl = _crl(issuing, other.serial)
    accepted, output = _openssl_verify(tmp_path, issuing, leaf, "sslclient", crl=crl)
    assert accepted, output
    accepted, output = _openssl_verify(tmp_path, issuing, other, "sslclient", crl=crl)
    assert not accepted
    assert "certificate revoked" in output


@pytest.mark.parametrize(
    ("which", "said"),
    [("stale", "CRL has expired"), ("another CA's", "unable to get certificate CRL")],
)
def test_openssl_refuses_a_list_that_says_nothing(
    which: str, said: str, issuing: x509.Issuer, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    leaf = x509.issue_client_certificate(issuing, client_spec(now))
    stale = _crl(issuing, end=-timedelta(minutes=1))
    crl = stale if which == "stale" else _crl(_authority(now))
    accepted, output = _openssl_verify(tmp_path, issuing, leaf, "sslclient", crl=crl)
    assert not accepted
    assert said in output


def test_openssl_shows_a_list_as_it_was_meant(issuing: x509.Issuer, tmp_path: Path) -> None:
    path = tmp_path / "list.crl"
    path.write_bytes(_crl(issuing, 0xABCDEF))
    command = ["openssl", "crl", "-inform", "DER", "-in", str(path), "-noout", "-text"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Version 2 (0x1)" in shown
    assert "Issuer: CN = issuing 1" in shown
    assert "Serial Number: ABCDEF" in shown
    assert "X509v3 Authority Key Identifier" in shown
    assert "X509v3 CRL Number: \n                1" in shown


LIMITS: dict[str, tuple[list[cryptography_x509.GeneralName], bool]] = {
    "ours": ([cryptography_x509.DNSName("x.edge.localhost")], True),
    "elsewhere": ([cryptography_x509.DNSName("bank.example")], False),
    "wildcard-elsewhere": ([cryptography_x509.DNSName("*.bank.example")], False),
    "longer": ([cryptography_x509.DNSName("evil-edge.localhost")], False),
    "ipv4": ([cryptography_x509.IPAddress(ip_address("192.0.2.1"))], False),
    "ipv6": ([cryptography_x509.IPAddress(ip_address("2001:db8::1"))], False),
    "both": (
        [
            cryptography_x509.DNSName("x.edge.localhost"),
            cryptography_x509.DNSName("bank.example"),
        ],
        False,
    ),
    "any-mail": ([cryptography_x509.RFC822Name("anybody@anywhere.example")], True),
    "urn": ([cryptography_x509.UniformResourceIdentifier("urn:mysocket:socket:s:1")], True),
}


@pytest.mark.parametrize(("names", "good"), LIMITS.values(), ids=LIMITS.keys())
def test_a_stolen_issuing_key_certifies_our_names_only(
    names: list[cryptography_x509.GeneralName], issuing: x509.Issuer, tmp_path: Path, *, good: bool
) -> None:
    """Certificates we would never make, but whoever has the issuing CA's key could."""
    forged = forged_leaf(issuing, names)
    accepted, output = _openssl_verify(tmp_path, issuing, forged, "sslserver")
    assert accepted is good, output
    assert good or "subtree violation" in output
    assert _cryptography_verifies(issuing, forged) is good


def _cryptography_verifies(issuing: x509.Issuer, leaf: x509.IssuedCertificate) -> bool:
    """The opinion of a third library, as a client certificate: it takes any kind of name there."""
    root = issuing.parents[-1]
    builder = verification.PolicyBuilder().store(verification.Store([root]))
    with_usage = builder.extension_policies(
        ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
        ee_policy=verification.ExtensionPolicy.permit_all(),
    )
    verifier = with_usage.time(datetime.now(UTC)).build_client_verifier()
    try:
        verifier.verify(leaf.certificate, [issuing.certificate])
    except verification.VerificationError:
        return False
    return True


def test_a_limit_on_uris_would_refuse_every_urn(tmp_path: Path) -> None:
    """Why there is none: RFC 5280 §4.2.1.10 lets no URI without a host name pass it."""
    now = datetime.now(UTC)
    for limited in (True, False):
        issuing = limited_otherwise(now, "example.com" if limited else None)
        leaf = forged_leaf(
            issuing, [cryptography_x509.UniformResourceIdentifier("urn:mysocket:socket:s:1")]
        )
        accepted, output = _openssl_verify(tmp_path, issuing, leaf, "sslserver")
        assert accepted is not limited, output
        assert not limited or "unsupported" in output


def limited_otherwise(now: datetime, host: str | None) -> x509.Issuer:
    """An issuing CA whose only limit is one excluded host in URIs."""
    whole = _authority(now)
    root_key = x509.make_ca_key()
    spec = CaCertSpec(
        common_name="root 2",
        serial=x509_serial(),
        not_before=now - timedelta(minutes=5),
        not_after=now + ISSUING_LIFE,
    )
    root = x509.make_root(MemorySigner(name="root", signing_key=root_key), spec)
    builder = cryptography_x509.CertificateBuilder(
        issuer_name=root.certificate.subject,
        subject_name=whole.certificate.subject,
        public_key=whole.signer.public_key,
        serial_number=x509_serial(),
        not_valid_before=whole.certificate.not_valid_before_utc.replace(tzinfo=None),
        not_valid_after=whole.certificate.not_valid_after_utc.replace(tzinfo=None),
    )
    for extension in whole.certificate.extensions:
        value = extension.value
        if isinstance(value, cryptography_x509.AuthorityKeyIdentifier):
            value = x509.authority_key_identifier(root.certificate)
        if isinstance(value, cryptography_x509.NameConstraints):
            if host is None:
                continue
            value = cryptography_x509.NameConstraints(
                None, [cryptography_x509.UniformResourceIdentifier(host)]
            )
        builder = builder.add_extension(value, critical=extension.critical)
    certificate = builder.sign(root_key, hashes.SHA256())
    return x509.Issuer(certificate=certificate, signer=whole.signer, parents=(root.certificate,))
