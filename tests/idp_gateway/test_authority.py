"""Certificates come from grants, say what the grant says, and are on record before they leave."""

import dataclasses
from datetime import timedelta
from ipaddress import ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ca.errors import CsrError, KeyStoreError, SubjectKeyError
from ca.formats.ssh_certificate import parse_certificate_line
from ca.formats.ssh_keys import parse_key_line
from idp_gateway import revocations
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.errors import Conflict, Forbidden, KeyRevoked, NotFound, TooManyCertificates
from idp_gateway.paces import WINDOW, CertificatePace
from idp_gateway.records import AccountRecord, CertificateKind, RevocationScope, SocketRecord
from idp_gateway.store.log import LogTransaction
from policy.types import Action, Grant, IPNetwork
from tests.idp_gateway.conftest import FixedClock
from tests.support import rows
from tests.support.grants import grant


def csr(common_name: str = "ann@corp.test") -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(common_name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(serialization.Encoding.PEM).decode()


def ssh_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode()


def socket_of(gateway: Gateway) -> tuple[AccountRecord, SocketRecord]:
    owner = rows.account()
    gateway.store.add_account(owner)
    made = gateway.authority.new_user_ca("socket-1")
    socket = rows.socket(
        owner,
        socket_id="socket-1",
        ssh_ca_public=made.public,
    )
    return owner, gateway.store.add_socket(socket, ports=rows.PORTS, user_ca=made)


def test_a_client_certificate_says_the_grant_and_nothing_of_the_request(gateway: Gateway) -> None:
    socket_of(gateway)
    issued = gateway.authority.issue_client_certificate(grant(action=Action.TLS), csr()).certificate
    leaf = issued.certificate
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "urn:mysocket:socket:socket-1:3"
    ]
    assert names.get_values_for_type(x509.RFC822Name) == ["ann@corp.test"]
    assert names.get_values_for_type(x509.DNSName) == []
    assert leaf.not_valid_before_utc == grant().not_before
    assert issued.not_after == grant().not_after
    record = gateway.store.find_certificate(format(issued.serial, "x"))
    assert record is not None
    assert (record.kind, record.socket_id, record.epoch, record.grant_id, record.decision_id) == (
        CertificateKind.X509_CLIENT,
        "socket-1",
        3,
        "grant-1",
        "decision-1",
    )
    assert record.body == issued.pem.decode()


OFFICE = ip_network("192.0.2.0/24")
ID = "0123456789abcdef"


def uris(leaf: x509.Certificate) -> list[str]:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def test_a_client_certificate_is_good_from_where_the_grant_is(gateway: Gateway) -> None:
    socket_of(gateway)
    tied = grant(action=Action.TLS, sources=(OFFICE,), source_ids=(ID,))
    issued = gateway.authority.issue_client_certificate(tied, csr()).certificate
    assert uris(issued.certificate) == [f"urn:mysocket:socket:socket-1:3:from:{ID}"]


@pytest.mark.parametrize("ids", [(), tuple(f"{at:016x}" for at in range(65))])
def test_a_grant_no_edge_could_hold_to_its_addresses_is_no_certificate(
    gateway: Gateway, ids: tuple[str, ...]
) -> None:
    socket_of(gateway)
    tied = grant(action=Action.TLS, sources=(OFFICE,), source_ids=ids)
    with pytest.raises(Forbidden) as refusal:
        gateway.authority.issue_client_certificate(tied, csr())
    assert refusal.value.reason == "addresses-not-enforceable"


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (None, None),
        ((OFFICE,), b"127.0.0.1/32,192.0.2.0/24,::1/128"),
        (
            (ip_network("2001:db8::/32"), OFFICE),
            b"127.0.0.1/32,192.0.2.0/24,::1/128,2001:db8::/32",
        ),
        (
            tuple(ip_network((2 * at, 32)) for at in range(65)),
            b"127.0.0.1/32,192.0.2.1/32,::1/128",
        ),
    ],
    ids=["anywhere", "office", "both", "many"],
)
def test_an_ssh_certificate_names_the_grants_networks_and_the_tunnels_end(
    gateway: Gateway, sources: tuple[IPNetwork, ...] | None, said: bytes | None
) -> None:
    socket_of(gateway)
    tied = grant(action=Action.SSH, sources=sources)
    issued = gateway.authority.issue_ssh_certificate(tied, ssh_key()).certificate
    read = parse_certificate_line(issued.line.encode())
    assert dict(read.critical_options).get(b"source-address") == said


def test_an_ssh_certificate_names_the_tunnels_end_the_owner_gave(gateway: Gateway) -> None:
    owner, socket = socket_of(gateway)
    gateway.store.update_socket(
        owner.account_id,
        socket.socket_id,
        {"ssh_source_addresses": ("10.8.0.0/16",)},
        bump_epoch=True,
        ports=rows.PORTS,
        now=gateway.clock(),
    )
    tied = grant(action=Action.SSH, sources=(OFFICE,))
    issued = gateway.authority.issue_ssh_certificate(tied, ssh_key()).certificate
    read = parse_certificate_line(issued.line.encode())
    assert read.critical_options == ((b"source-address", b"10.8.0.0/16,192.0.2.0/24"),)


def test_an_ssh_certificate_is_signed_by_the_sockets_own_ca(gateway: Gateway) -> None:
    _, socket = socket_of(gateway)
    made = gateway.authority.issue_ssh_certificate(grant(action=Action.SSH), ssh_key())
    issued = made.certificate
    certificate = serialization.load_ssh_public_identity(issued.line.encode())
    assert isinstance(certificate, serialization.SSHCertificate)
    certificate.verify_cert_signature()
    signer = certificate.signature_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    assert socket.ssh_ca_public.split()[:2] == signer.decode().split()[:2]
    assert certificate.key_id == b"ann@corp.test/decision-1/3"
    assert certificate.extensions[b"decision@mysocket.io"] == b"decision-1 3"
    assert certificate.valid_principals == [b"ann@corp.test", b"mysocket_ssh_signed"]
    assert certificate.valid_before - certificate.valid_after == 600
    record = gateway.store.find_certificate(str(issued.serial))
    assert record is not None
    assert record.kind is CertificateKind.SSH_USER
    assert record.body == issued.line
    assert (record.subject, record.policy_version) == ("ann@corp.test", "3")
    assert record.ca_key_id == issued.ca_fingerprint


def test_a_sockets_sshd_trusts_the_key_made_for_the_socket_and_no_other(gateway: Gateway) -> None:
    _, socket = socket_of(gateway)
    signed = gateway.authority.issue_ssh_certificate(grant(action=Action.SSH), ssh_key())
    (line,) = gateway.authority.trusted_user_cas(socket.socket_id)
    assert line == socket.ssh_ca_public
    assert parse_key_line(line).fingerprint == signed.certificate.ca_fingerprint
    assert line not in {*gateway.authority.tunnel_user_ca, *gateway.authority.host_ca_lines}
    assert gateway.authority.trusted_user_cas("gone") == ()


def test_a_socket_that_is_gone_signs_nothing(gateway: Gateway) -> None:
    with pytest.raises(NotFound):
        gateway.authority.issue_ssh_certificate(grant(socket_id="gone"), ssh_key())


def test_a_tunnel_login_names_account_socket_and_tunnel(gateway: Gateway) -> None:
    owner, socket = socket_of(gateway)
    for tunnel_id, tail in (("t1", ":t1"), (None, "")):
        issued = gateway.authority.issue_tunnel_certificate(
            account=owner, socket_id=socket.socket_id, tunnel_id=tunnel_id, public_key=ssh_key()
        ).certificate
        assert issued.key_id == f"{owner.user_name}.1:{socket.socket_id}{tail}"
        certificate = serialization.load_ssh_public_identity(issued.line.encode())
        assert isinstance(certificate, serialization.SSHCertificate)
        assert certificate.valid_principals == [owner.user_name.encode()]
        ca_line = gateway.authority.tunnel_user_ca[0]
        signer = certificate.signature_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        assert ca_line.split()[1] == signer.decode().split()[1]
        assert ca_line.split()[1] != socket.ssh_ca_public.split()[1]


def test_a_server_certificate_has_our_names_whatever_was_asked_for(gateway: Gateway) -> None:
    issued = gateway.authority.issue_server_certificate(csr("bank.test")).certificate
    names = issued.certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.DNSName)
    assert set(names) == {"gateway.localhost", "*.edge.localhost"}
    assert gateway.store.find_certificate(format(issued.serial, "x")) is not None


def test_what_cannot_be_put_on_record_is_not_released(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket_of(gateway)

    def refuse(_self: object, _growth: object) -> None:
        raise Conflict("the disk is full")

    monkeypatch.setattr(LogTransaction, "add", refuse)
    for call in (
        lambda: gateway.authority.issue_client_certificate(grant(), csr()),
        lambda: gateway.authority.issue_ssh_certificate(grant(), ssh_key()),
        lambda: gateway.authority.issue_server_certificate(csr()),
    ):
        with pytest.raises(Conflict):
            call()


@pytest.mark.parametrize("text", ["", "x", "ssh-ed25519 AAAA", "ssh-rsa " + "A" * 40_000])
def test_a_bad_key_is_refused_and_leaves_no_record(gateway: Gateway, text: str) -> None:
    socket_of(gateway)
    with pytest.raises(SubjectKeyError):
        gateway.authority.issue_ssh_certificate(grant(), text)
    with pytest.raises(CsrError):
        gateway.authority.issue_client_certificate(grant(), text)
    assert gateway.store.certificates_of("socket-1") == ()


def test_no_certificate_outlives_its_ca(gateway: Gateway, clock: FixedClock) -> None:
    socket_of(gateway)
    clock.advance(days=3 * 365 - 0.5)
    late: Grant = dataclasses.replace(
        grant(), not_before=clock(), not_after=clock() + timedelta(hours=24)
    )
    issued = gateway.authority.issue_client_certificate(late, csr()).certificate
    assert issued.not_after < late.not_after
    assert issued.not_after <= issued.issuer.not_valid_after_utc


def test_the_authority_is_the_same_after_a_restart(gateway: Gateway, clock: FixedClock) -> None:
    again = build_gateway(gateway.settings, clock=clock)
    assert again.authority.trust_pem == gateway.authority.trust_pem
    assert again.authority.tunnel_user_ca == gateway.authority.tunnel_user_ca
    again.close()


def test_keys_that_were_revoked_on_a_socket_are_not_certified(gateway: Gateway) -> None:
    owner, _ = socket_of(gateway)
    key = ssh_key()
    issued = gateway.authority.issue_ssh_certificate(grant(), key).certificate
    revocations.revoke(
        gateway,
        owner,
        "socket-1",
        scope=RevocationScope.KEY,
        value=issued.subject_fingerprint,
        reason="",
    )
    with pytest.raises(KeyRevoked):
        gateway.authority.issue_ssh_certificate(grant(), key)
    with pytest.raises(KeyRevoked):
        gateway.authority.issue_host_certificate(
            socket_id="socket-1", key_id="host-1", public_key=key, principals=("a.test",)
        )
    with pytest.raises(KeyRevoked):
        gateway.authority.issue_tunnel_certificate(
            account=owner, socket_id="socket-1", tunnel_id=None, public_key=key
        )
    assert gateway.authority.issue_ssh_certificate(grant(), ssh_key())


def test_a_clock_that_is_wrong_for_a_moment_stops_nobody(
    gateway: Gateway, clock: FixedClock
) -> None:
    """It said that it was a month later when the first certificate was counted."""
    socket_of(gateway)
    watch = [0.0]
    gateway.authority._ssh_pace = CertificatePace(
        2, for_socket=1, for_account=1, monotonic=lambda: watch[0]
    )
    clock.advance(days=30)
    gateway.authority.issue_ssh_certificate(grant(), ssh_key())
    clock.advance(days=-30)
    gateway.authority.issue_ssh_certificate(grant(), ssh_key())
    with pytest.raises(TooManyCertificates):
        gateway.authority.issue_ssh_certificate(grant(), ssh_key())
    watch[0] += 2 * WINDOW.total_seconds()
    assert gateway.authority.issue_ssh_certificate(grant(), ssh_key())


def test_another_master_key_opens_nothing(gateway: Gateway, clock: FixedClock) -> None:
    gateway.settings.master_key_file.unlink()
    with pytest.raises(KeyStoreError):
        build_gateway(gateway.settings, clock=clock)


def test_private_files_are_private(gateway: Gateway) -> None:
    state = gateway.settings.state_dir
    for path in (
        state / "ca" / "root.key",
        gateway.settings.master_key_file,
        gateway.settings.edge_key_file,
    ):
        assert path.stat().st_mode & 0o077 == 0, path
        assert b"PRIVATE KEY" not in path.read_bytes()
