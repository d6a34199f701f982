"""``POST …/ssh-challenge`` and the proof that comes with a key to ``POST …/ssh``."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ca.formats.ssh_certificate import SshCertificate, parse_certificate_line
from ca.formats.ssh_keys import SK_ECDSA, SK_ED25519
from ca.formats.sshsig import make_sshsig
from idp_gateway.composition import Gateway
from idp_gateway.key_proofs import NAMESPACE
from idp_gateway.records import CertificateRecord
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person, both_databases
from tests.idp_gateway.conftest import FixedClock
from tests.support.key_proofs import security_key_proof
from tests.support.security_keys import SecurityKey
from tests.support.subjects import ec_key, public_line

Prover = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody with a key and a client token for a socket."""

    api: httpx.Client
    dns_name: str
    token: str

    def post(self, what: str, **body: Any) -> httpx.Response:
        place = f"/mtls-ca/socket/{self.dns_name}/{what}"
        headers = {"x-access-token": self.token, "content-type": "application/json"}
        return self.api.post(place, content=json.dumps(body), headers=headers)

    def nonce(self) -> str:
        reply = self.post("ssh-challenge")
        assert reply.status_code == 200, reply.text
        assert reply.json()["expires_in"] == 120
        nonce: str = reply.json()["nonce"]
        return nonce

    def prove(self, line: str, prover: Prover, *, nonce: str | None = None) -> httpx.Response:
        nonce = nonce or self.nonce()
        return self.post("ssh", ssh_public_key=line, nonce=nonce, proof=prover(nonce))


def signs(key: ec.EllipticCurvePrivateKey) -> Prover:
    return lambda nonce: make_sshsig(key, nonce.encode(), NAMESPACE)


@pytest.fixture
def holder(api: httpx.Client, tls_socket: dict[str, Any], client_token: ClientTokenMaker) -> Holder:
    return Holder(api, tls_socket["dnsname"], client_token(tls_socket["dnsname"]))


@pytest.fixture
def demanding(owner: Person, tls_socket: dict[str, Any]) -> dict[str, Any]:
    """The socket, once its owner demands proof."""
    path = f"/socket/{tls_socket['socket_id']}"
    reply = owner.call("PATCH", path, json={"ssh_key_proof_required": True})
    assert (reply.status_code, reply.json()["ssh_key_proof_required"]) == (200, True)
    changed: dict[str, Any] = reply.json()
    return changed


def certificate(reply: httpx.Response) -> SshCertificate:
    assert reply.status_code == 200, reply.text
    return parse_certificate_line(reply.json()["signed_ssh_cert"])


def problem(reply: httpx.Response) -> tuple[int, str]:
    assert reply.headers["content-type"] == "application/problem+json"
    return reply.status_code, reply.json()["reason"]


def record_of(gateway: Gateway, reply: httpx.Response) -> CertificateRecord:
    found = gateway.store.find_certificate(str(certificate(reply).serial))
    assert found is not None
    return found


@both_databases
def test_a_proven_key_is_on_record_as_proven(holder: Holder, gateway: Gateway) -> None:
    key = ec_key()
    proven = holder.prove(public_line(key), signs(key))
    assert certificate(proven).key_blob.line == public_line(key)
    assert record_of(gateway, proven).proven
    unproven = holder.post("ssh", ssh_public_key=public_line(ec_key()))
    assert not record_of(gateway, unproven).proven


@pytest.mark.parametrize("key_type", [SK_ED25519, SK_ECDSA])
def test_a_security_key_is_certified_as_what_it_is(
    key_type: str, holder: Holder, gateway: Gateway, demanding: dict[str, Any]
) -> None:
    key = SecurityKey(key_type)
    reply = holder.prove(key.line, lambda nonce: security_key_proof(key, nonce))
    assert certificate(reply).key_blob == key.key_blob
    assert certificate(reply).certificate_type.startswith("sk-")
    assert record_of(gateway, reply).proven
    untouched = holder.prove(key.line, lambda nonce: security_key_proof(key, nonce, flags=0))
    assert problem(untouched) == (400, "key-proof-invalid")


def test_where_proof_is_demanded_there_is_no_way_around_it(
    holder: Holder, gateway: Gateway, demanding: dict[str, Any]
) -> None:
    key = ec_key()
    for body in ({}, {"nonce": None, "proof": None}):
        refused = holder.post("ssh", ssh_public_key=public_line(key), **body)
        assert problem(refused) == (403, "key-proof-required")
    assert gateway.store.certificates_of(demanding["socket_id"]) == ()
    assert holder.prove(public_line(key), signs(key)).status_code == 200


def test_demanding_proof_ends_what_was_granted_without(
    holder: Holder, owner: Person, tls_socket: dict[str, Any], gateway: Gateway
) -> None:
    path = f"/socket/{tls_socket['socket_id']}"
    before = gateway.store.get_socket(owner.account.account_id, tls_socket["socket_id"]).epoch
    owner.call("PATCH", path, json={"ssh_key_proof_required": True})
    after = gateway.store.get_socket(owner.account.account_id, tls_socket["socket_id"]).epoch
    assert after == before + 1
    owner.call("PATCH", path, json={"ssh_key_proof_required": False})
    assert holder.post("ssh", ssh_public_key=public_line(ec_key())).status_code == 200


def test_the_original_clients_whole_socket_leaves_the_demand_standing(
    owner: Person, demanding: dict[str, Any]
) -> None:
    """They send back what they know, and this they do not."""
    whole = {k: v for k, v in demanding.items() if k != "ssh_key_proof_required"}
    reply = owner.call("PUT", f"/socket/{demanding['socket_id']}", json=whole | {"name": "new"})
    assert (reply.status_code, reply.json()["ssh_key_proof_required"]) == (200, True)


@pytest.mark.parametrize("socket_type", ["http", "https", "tcp"])
def test_a_socket_without_ssh_certificates_demands_no_proof(
    owner: Person, socket_type: str
) -> None:
    body = {"name": "s", "socket_type": socket_type, "ssh_key_proof_required": True}
    assert problem(owner.call("POST", "/socket", json=body)) == (400, "key-proof-not-applicable")


def test_a_slip_of_the_pen_does_not_leave_a_socket_undemanding(owner: Person) -> None:
    body = {"name": "s", "socket_type": "tls", "ssh_key_prof_required": True}
    assert problem(owner.call("POST", "/socket", json=body)) == (400, "unknown-rule")


class TestInvalidProof:
    """400 ``key-proof-invalid``, whether proof is demanded or not, and no certificate."""

    def test_half_a_proof(self, holder: Holder) -> None:
        line = public_line(ec_key())
        for half in ({"nonce": "x"}, {"proof": "x"}, {"nonce": "", "proof": None}):
            reply = holder.post("ssh", ssh_public_key=line, **half)
            assert problem(reply) == (400, "key-proof-invalid")

    def test_another_key(self, holder: Holder) -> None:
        reply = holder.prove(public_line(ec_key()), signs(ec_key()))
        assert problem(reply) == (400, "key-proof-invalid")
        assert reply.json()["field"] == "proof"

    def test_another_socket(
        self,
        holder: Holder,
        owner: Person,
        api: httpx.Client,
        client_token: ClientTokenMaker,
    ) -> None:
        other = owner.socket(
            socket_type="tls",
            cloud_authentication_enabled=True,
            cloud_authentication_email_allowed_addressses=["alice@lab.test"],
        )
        there = Holder(api, other["dnsname"], client_token(other["dnsname"]))
        key = ec_key()
        reply = holder.prove(public_line(key), signs(key), nonce=there.nonce())
        assert problem(reply) == (400, "key-proof-invalid")
        assert reply.json()["field"] == "nonce"

    def test_another_login(self, holder: Holder, client_token: ClientTokenMaker) -> None:
        """Also of the same person: what one machine signs is of no use to another."""
        other = Holder(holder.api, holder.dns_name, client_token(holder.dns_name))
        key = ec_key()
        reply = holder.prove(public_line(key), signs(key), nonce=other.nonce())
        assert problem(reply) == (400, "key-proof-invalid")

    def test_an_old_challenge(self, holder: Holder, clock: FixedClock) -> None:
        key, nonce = ec_key(), holder.nonce()
        clock.advance(seconds=119)
        assert holder.prove(public_line(key), signs(key), nonce=nonce).status_code == 200
        clock.advance(seconds=1)
        reply = holder.prove(public_line(key), signs(key), nonce=nonce)
        assert problem(reply) == (400, "key-proof-invalid")

    def test_nonsense(self, holder: Holder, gateway: Gateway, tls_socket: dict[str, Any]) -> None:
        key = ec_key()
        for nonce, proof in [
            ("", ""),
            ("\0", "\0"),
            (holder.nonce(), ""),
            (holder.nonce(), "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----"),
            ("\u20ac", "\u20ac"),
            ("x" * 1_024, "x" * 16_384),
        ]:
            reply = holder.post("ssh", ssh_public_key=public_line(key), nonce=nonce, proof=proof)
            assert problem(reply) == (400, "key-proof-invalid"), (nonce, proof)
        unpaired = holder.post("ssh", ssh_public_key=public_line(key), nonce="\ud800", proof="x")
        assert problem(unpaired) == (400, "input-invalid")
        assert gateway.store.certificates_of(tls_socket["socket_id"]) == ()

    @pytest.mark.parametrize("field", ["nonce", "proof"])
    @pytest.mark.parametrize("value", [17, [], {}, True, "x" * 16_385])
    def test_values_of_another_kind(self, holder: Holder, field: str, value: Any) -> None:
        body = {"nonce": "x", "proof": "x"} | {field: value}
        reply = holder.post("ssh", ssh_public_key=public_line(ec_key()), **body)
        assert reply.status_code == 400
        assert reply.json()["field"] == field


class TestChallenge:
    """Who gets a challenge at all."""

    def test_only_the_holder_of_a_client_token(self, holder: Holder, owner: Person) -> None:
        for token, reason in [("", "not-authenticated"), (owner.token, "token-invalid")]:
            stranger = Holder(holder.api, holder.dns_name, token)
            assert problem(stranger.post("ssh-challenge")) == (401, reason)

    def test_only_while_the_login_stands(
        self, holder: Holder, gateway: Gateway, clock: FixedClock
    ) -> None:
        claims = gateway.tokens.verify_client_token(holder.token, dns_name=holder.dns_name)
        gateway.store.revoke_login_session(claims.session_id, clock())
        assert problem(holder.post("ssh-challenge")) == (401, "login-ended")

    def test_only_while_the_socket_is_there(
        self, holder: Holder, owner: Person, tls_socket: dict[str, Any]
    ) -> None:
        owner.call("DELETE", f"/socket/{tls_socket['socket_id']}")
        assert problem(holder.post("ssh-challenge")) == (404, "socket-unknown")

    def test_names_its_socket_and_never_repeats(self, holder: Holder) -> None:
        nonces = {holder.nonce() for _ in range(10)}
        assert len(nonces) == 10
        assert all(nonce.startswith(f"{holder.dns_name}:") for nonce in nonces)
        assert all(nonce.isascii() and nonce.isprintable() for nonce in nonces)

    def test_is_the_same_however_the_name_is_spelled(self, holder: Holder) -> None:
        loud = Holder(holder.api, holder.dns_name.upper(), holder.token)
        assert loud.nonce().startswith(f"{holder.dns_name}:")
