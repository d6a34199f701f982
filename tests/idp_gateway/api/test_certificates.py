"""Certificates: for whom, for what, and for how long."""

import re
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from idp_gateway.composition import Gateway
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person
from tests.idp_gateway.conftest import FixedClock
from tests.support.subjects import csr, ec_key

ALLOWED = "cloud_authentication_email_allowed_addressses"


def ask(api: httpx.Client, dns_name: str, token: str, kind: str, ssh_key: str) -> httpx.Response:
    body = {"csr": csr(ec_key()).decode()} if kind == "csr" else {"ssh_public_key": ssh_key}
    return api.post(
        f"/mtls-ca/socket/{dns_name}/{kind}", json=body, headers={"x-access-token": token}
    )


def original_csr(key: Any, dns_name: str, email: str) -> bytes:
    """What the original service's client asks for."""
    names = [x509.DNSName(dns_name), x509.RFC822Name(email)]
    return csr(key, asked=email, names=names)


def ssh_certificate(line: str) -> serialization.SSHCertificate:
    loaded = serialization.load_ssh_public_identity(line.encode())
    assert isinstance(loaded, serialization.SSHCertificate)
    return loaded


OTHER_NAMES: dict[str, dict[str, Any]] = {
    "somebody-in-cn": {"asked": "root@evil.test"},
    "somebody": {"names": [x509.RFC822Name("bob@lab.test")]},
    "somebody-beside-oneself": {
        "names": [x509.RFC822Name("alice@lab.test"), x509.RFC822Name("bob@lab.test")]
    },
    "another-socket": {"names": [x509.DNSName("other.edge.localhost")]},
    "wildcard": {"names": [x509.DNSName("*.edge.localhost")]},
    "address": {"names": [x509.IPAddress(ip_address("127.0.0.1"))]},
    "uri": {"names": [x509.UniformResourceIdentifier("urn:mysocket:socket:x:1")]},
    "directory-name": {"names": [x509.DirectoryName(x509.Name([]))]},
}


@pytest.mark.parametrize("asked", OTHER_NAMES.values(), ids=OTHER_NAMES)
def test_a_request_for_other_names_is_refused_and_leaves_nothing(
    api: httpx.Client,
    gateway: Gateway,
    tls_socket: dict[str, Any],
    client_token: ClientTokenMaker,
    asked: dict[str, Any],
) -> None:
    name = tls_socket["dnsname"]
    reply = api.post(
        f"/mtls-ca/socket/{name}/csr",
        json={"csr": csr(ec_key(), **asked).decode()},
        headers={"x-access-token": client_token(name)},
    )
    assert (reply.status_code, reply.json()["reason"]) == (400, "csr-names-other"), reply.text
    assert "alice@lab.test" in reply.json()["detail"]
    assert gateway.store.certificates_of(tls_socket["socket_id"]) == ()


def test_a_name_cut_to_what_a_common_name_may_hold_is_no_other_name(
    api: httpx.Client, gateway: Gateway, tls_socket: dict[str, Any], client_token: ClientTokenMaker
) -> None:
    """RFC 5280 §A.1: at most 64 characters."""
    email = f"{'a' * 40}@{'b' * 40}.test"
    name = tls_socket["dnsname"]
    gateway.store.update_socket(
        gateway.store.find_socket(tls_socket["socket_id"]).account_id,  # type: ignore[union-attr]
        tls_socket["socket_id"],
        {"emails": (email,)},
        bump_epoch=False,
        ports=range(20000, 20010),
        now=gateway.clock(),
    )
    for asked, status in ((email[:64], 200), (email[:63], 400)):
        reply = api.post(
            f"/mtls-ca/socket/{name}/csr",
            json={"csr": csr(ec_key(), asked=asked).decode()},
            headers={"x-access-token": client_token(name, email=email)},
        )
        assert reply.status_code == status, reply.text


def test_a_client_certificate_names_the_login_and_nothing_of_the_request(
    api: httpx.Client,
    clock: FixedClock,
    gateway: Gateway,
    tls_socket: dict[str, Any],
    client_token: ClientTokenMaker,
) -> None:
    name = tls_socket["dnsname"]
    key = ec_key()
    reply = api.post(
        f"/mtls-ca/socket/{name}/csr",
        json={"csr": original_csr(key, name, "alice@lab.test").decode()},
        headers={"x-access-token": client_token(name)},
    )
    assert reply.status_code == 200, reply.text
    pem = reply.json()["client_certificate"]
    leaf, issuing = x509.load_pem_x509_certificates(pem.encode())
    leaf.verify_directly_issued_by(issuing)
    assert leaf.public_key() == key.public_key()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == ["alice@lab.test"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        f"urn:mysocket:socket:{tls_socket['socket_id']}:1"
    ]
    assert names.get_values_for_type(x509.DNSName) == []
    assert leaf.subject.rfc4514_string() == "CN=alice@lab.test"
    assert leaf.not_valid_before_utc == clock() - timedelta(minutes=5)
    assert leaf.not_valid_after_utc == clock() + timedelta(minutes=5)
    record = gateway.store.find_certificate(format(leaf.serial_number, "x"))
    assert record is not None
    assert record.subject == "alice@lab.test"


def test_an_ssh_certificate_is_as_the_original_service_made_it(
    api: httpx.Client,
    clock: FixedClock,
    tls_socket: dict[str, Any],
    client_token: ClientTokenMaker,
    ssh_key: str,
) -> None:
    name = tls_socket["dnsname"]
    reply = ask(api, name, client_token(name), "ssh", ssh_key)
    assert reply.status_code == 200, reply.text
    certificate = ssh_certificate(reply.json()["signed_ssh_cert"])
    certificate.verify_cert_signature()
    assert certificate.type is serialization.SSHCertificateType.USER
    assert re.fullmatch(rb"alice@lab\.test/[0-9a-f-]{36}/1", certificate.key_id)
    assert certificate.valid_principals == [b"alice@lab.test", b"mysocket_ssh_signed"]
    assert certificate.valid_after == int((clock() - timedelta(minutes=5)).timestamp())
    assert certificate.valid_before == int((clock() + timedelta(minutes=5)).timestamp())
    signer = certificate.signature_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    assert signer.decode() == tls_socket["ssh_ca"]


@pytest.mark.parametrize("kind", ["csr", "ssh"])
class TestRefusal:
    """Both kinds of certificate are refused alike."""

    def test_a_person_off_the_list(
        self,
        api: httpx.Client,
        owner: Person,
        gateway: Gateway,
        tls_socket: dict[str, Any],
        client_token: ClientTokenMaker,
        ssh_key: str,
        kind: str,
    ) -> None:
        name = tls_socket["dnsname"]
        reply = ask(api, name, client_token(name, email="bob@lab.test"), kind, ssh_key)
        problem = reply.json()
        assert (reply.status_code, problem["reason"]) == (403, "not-on-list")
        assert gateway.store.find_decision(problem["decision_id"]) is not None
        assert gateway.store.certificates_of(tls_socket["socket_id"]) == ()
        (seen,) = owner.call(
            "GET", "/audit/decisions", params={"socket_id": tls_socket["socket_id"]}
        ).json()
        assert (seen["decision_id"], seen["email"]) == (problem["decision_id"], "bob@lab.test")
        assert seen["effect"] == "deny"

    def test_a_person_taken_off_the_list(
        self,
        api: httpx.Client,
        owner: Person,
        tls_socket: dict[str, Any],
        client_token: ClientTokenMaker,
        ssh_key: str,
        kind: str,
    ) -> None:
        name = tls_socket["dnsname"]
        token = client_token(name)
        assert ask(api, name, token, kind, ssh_key).status_code == 200
        owner.call("PATCH", f"/socket/{tls_socket['socket_id']}", json={ALLOWED: []})
        reply = ask(api, name, token, kind, ssh_key)
        assert (reply.status_code, reply.json()["reason"]) == (403, "no-policy")

    def test_an_unverified_address(
        self,
        api: httpx.Client,
        tls_socket: dict[str, Any],
        client_token: ClientTokenMaker,
        ssh_key: str,
        kind: str,
    ) -> None:
        name = tls_socket["dnsname"]
        reply = ask(api, name, client_token(name, email=None), kind, ssh_key)
        assert (reply.status_code, reply.json()["reason"]) == (403, "email-unverified")

    def test_a_token_for_another_socket(
        self,
        api: httpx.Client,
        owner: Person,
        tls_socket: dict[str, Any],
        client_token: ClientTokenMaker,
        ssh_key: str,
        kind: str,
    ) -> None:
        other = owner.socket(
            socket_type="tls", cloud_authentication_enabled=True, **{ALLOWED: ["alice@lab.test"]}
        )
        token = client_token(other["dnsname"])
        reply = ask(api, tls_socket["dnsname"], token, kind, ssh_key)
        assert (reply.status_code, reply.json()["reason"]) == (401, "token-invalid")

    def test_an_api_token_even_the_owners(
        self,
        api: httpx.Client,
        owner: Person,
        tls_socket: dict[str, Any],
        ssh_key: str,
        kind: str,
    ) -> None:
        reply = ask(api, tls_socket["dnsname"], owner.token, kind, ssh_key)
        assert (reply.status_code, reply.json()["reason"]) == (401, "token-invalid")

    def test_a_login_that_has_ended(
        self,
        api: httpx.Client,
        gateway: Gateway,
        clock: FixedClock,
        tls_socket: dict[str, Any],
        client_token: ClientTokenMaker,
        ssh_key: str,
        kind: str,
    ) -> None:
        name = tls_socket["dnsname"]
        token = client_token(name)
        session_id = gateway.tokens.verify_client_token(token, dns_name=name).session_id
        gateway.store.revoke_login_session(session_id, clock())
        reply = ask(api, name, token, kind, ssh_key)
        assert (reply.status_code, reply.json()["reason"]) == (401, "login-ended")

    def test_a_token_that_is_too_old(
        self,
        api: httpx.Client,
        clock: FixedClock,
        tls_socket: dict[str, Any],
        client_token: ClientTokenMaker,
        ssh_key: str,
        kind: str,
    ) -> None:
        token = client_token(tls_socket["dnsname"])
        clock.advance(hours=8)
        reply = ask(api, tls_socket["dnsname"], token, kind, ssh_key)
        assert (reply.status_code, reply.json()["reason"]) == (401, "token-expired")

    def test_a_socket_that_is_gone(
        self,
        api: httpx.Client,
        owner: Person,
        tls_socket: dict[str, Any],
        client_token: ClientTokenMaker,
        ssh_key: str,
        kind: str,
    ) -> None:
        token = client_token(tls_socket["dnsname"])
        owner.call("DELETE", f"/socket/{tls_socket['socket_id']}")
        assert ask(api, tls_socket["dnsname"], token, kind, ssh_key).status_code == 404

    def test_a_socket_whose_type_has_no_such_certificate(
        self,
        api: httpx.Client,
        owner: Person,
        client_token: ClientTokenMaker,
        ssh_key: str,
        kind: str,
    ) -> None:
        web = owner.socket(cloud_authentication_enabled=True, **{ALLOWED: ["alice@lab.test"]})
        reply = ask(api, web["dnsname"], client_token(web["dnsname"]), kind, ssh_key)
        assert (reply.status_code, reply.json()["reason"]) == (403, "action-not-offered")

    @pytest.mark.parametrize("text", ["", "x", "ssh-ed25519 AAAA", "\x00", "a\nb", "x" * 20_000])
    def test_what_is_no_key(
        self,
        api: httpx.Client,
        gateway: Gateway,
        tls_socket: dict[str, Any],
        client_token: ClientTokenMaker,
        kind: str,
        text: str,
    ) -> None:
        name = tls_socket["dnsname"]
        reply = api.post(
            f"/mtls-ca/socket/{name}/{kind}",
            json={"csr": text, "ssh_public_key": text},
            headers={"x-access-token": client_token(name)},
        )
        assert reply.status_code == 400, reply.text
        assert gateway.store.certificates_of(tls_socket["socket_id"]) == ()


def test_a_public_name_is_found_in_any_case(
    api: httpx.Client, tls_socket: dict[str, Any], client_token: ClientTokenMaker, ssh_key: str
) -> None:
    token = client_token(tls_socket["dnsname"])
    assert ask(api, tls_socket["dnsname"].upper(), token, "ssh", ssh_key).status_code == 200


def test_an_address_that_sshd_would_read_as_a_pattern_gets_no_ssh_certificate(
    api: httpx.Client, owner: Person, client_token: ClientTokenMaker, ssh_key: str
) -> None:
    everybody = "*@lab.test"
    socket = owner.socket(
        socket_type="tls", cloud_authentication_enabled=True, **{ALLOWED: [everybody]}
    )
    token = client_token(socket["dnsname"], email=everybody)
    reply = ask(api, socket["dnsname"], token, "ssh", ssh_key)
    assert (reply.status_code, reply.json()["reason"]) == (403, "email-not-certifiable")


@pytest.mark.parametrize("whole", [True, False])
def test_a_tunnel_login_names_account_socket_and_tunnel(
    owner: Person, gateway: Gateway, ssh_key: str, whole: bool
) -> None:
    socket = owner.call("POST", "/connect", json={"name": "c"}).json()
    socket_id, tunnel_id = socket["socket_id"], socket["tunnels"][0]["tunnel_id"]
    place = f"/socket/{socket_id}" if whole else f"/socket/{socket_id}/tunnel/{tunnel_id}"
    reply = owner.call("POST", f"{place}/signkey", json={"ssh_public_key": ssh_key})
    certificate = ssh_certificate(reply.json()["signed_ssh_cert"])
    user_name = owner.account.user_name
    assert certificate.valid_principals == [user_name.encode()]
    login = f"{user_name}.{owner.account.generation}"
    expected = f"{login}:{socket_id}" if whole else f"{login}:{socket_id}:{tunnel_id}"
    assert certificate.key_id.decode() == expected
    assert certificate.critical_options == {}
    (record,) = owner.call("GET", f"/audit/certificates?socket_id={socket_id}").json()
    assert (record["kind"], record["subject"]) == ("ssh-tunnel", expected)


def test_the_audit_is_paged_newest_first(
    api: httpx.Client,
    owner: Person,
    clock: FixedClock,
    tls_socket: dict[str, Any],
    client_token: ClientTokenMaker,
    ssh_key: str,
) -> None:
    token = client_token(tls_socket["dnsname"])
    for _ in range(3):
        clock.advance(seconds=1)
        assert ask(api, tls_socket["dnsname"], token, "ssh", ssh_key).status_code == 200
    query = {"socket_id": tls_socket["socket_id"], "page_size": 2}
    for path in ("/audit/decisions", "/audit/certificates"):
        first = owner.call("GET", path, params=query).json()
        rest = owner.call("GET", path, params=query | {"page": 2}).json()
        assert (len(first), len(rest)) == (2, 1)
        moments = [row.get("at") or row["issued_at"] for row in first + rest]
        assert moments == sorted(moments, reverse=True)
    refused = owner.call("GET", "/audit/decisions", params=query | {"page": 0})
    assert (refused.status_code, refused.json()["field"]) == (400, "page")
