"""A gateway whose CA keys are in a token or an agent: the same certificates, or none."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ca.formats.ssh_certificate import parse_certificate_line, verify
from ca.formats.ssh_keys import parse_key_line
from idp_gateway import revocations
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.records import RevocationScope
from idp_gateway.settings import CaSettings, Settings
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person
from tests.idp_gateway.api.test_hosts import Server
from tests.idp_gateway.conftest import FixedClock
from tests.support.ready_database import place_sqlite
from tests.support.softhsm import make_token
from tests.support.ssh_agent import RunningAgent, running_agent
from tests.support.subjects import csr, ec_key

PURPOSES = ("ssh-host", "ssh-tunnel", "x509-issuing", "ssh-user")
KINDS = ("ed25519", "ed25519", "p384", "ed25519")


@pytest.fixture
def agent() -> Iterator[RunningAgent]:
    with running_agent() as agent:
        for purpose, kind in zip(PURPOSES, KINDS, strict=True):
            agent.add_new_key(kind, f"mysocket {purpose}")
        yield agent


Place = tuple[CaSettings, Callable[[], object], Callable[[], object]]
"""Settings, and what puts the place out of reach and back into it."""


def everywhere(kind: str) -> dict[str, Any]:
    """Settings that put the keys of every CA into one kind of place."""
    purposes = ("user", "host", "tunnel", "x509")
    return {f"{purpose}_signer": kind for purpose in purposes} | {"x509_algorithm": "p384"}


@contextmanager
def token_place(request: pytest.FixtureRequest) -> Iterator[Place]:
    folder: Path = request.getfixturevalue("tmp_path")
    token = make_token(folder / "token", request.getfixturevalue("monkeypatch"))
    away = token.tokens.with_name("away")
    told = CaSettings(
        **everywhere("pkcs11"),
        pkcs11_module=token.module,
        pkcs11_token=token.label,
        pkcs11_pin_file=token.pin_file,
    )
    yield told, lambda: token.tokens.rename(away), lambda: away.rename(token.tokens)
    shutil.rmtree(token.directory)


@contextmanager
def agent_place(request: pytest.FixtureRequest) -> Iterator[Place]:
    agent: RunningAgent = request.getfixturevalue("agent")
    away = agent.path.with_name("away")
    told = CaSettings(
        **everywhere("ssh-agent"),
        agent_socket=agent.path,
    )
    yield told, lambda: agent.path.rename(away), lambda: away.rename(agent.path)


PLACES = {"pkcs11": token_place, "ssh-agent": agent_place}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with PLACES[request.param](request) as found:
        yield found


@pytest.fixture
def settings(place: Place, tmp_path: Path) -> Settings:
    place_sqlite(tmp_path / "state" / "gateway.db")
    return Settings(state_dir=tmp_path / "state", ca=place[0])


Ask = Callable[[str], httpx.Response]


@pytest.fixture
def ask(
    api: httpx.Client, tls_socket: dict[str, Any], client_token: ClientTokenMaker, ssh_key: str
) -> Ask:
    """Ask for a certificate of the kind named as its path."""
    name = tls_socket["dnsname"]
    headers = {"x-access-token": client_token(name)}

    def ask(kind: str) -> httpx.Response:
        body = {"csr": csr(ec_key()).decode()} if kind == "csr" else {"ssh_public_key": ssh_key}
        return api.post(f"/mtls-ca/socket/{name}/{kind}", json=body, headers=headers)

    return ask


def test_people_get_the_same_certificates(
    ask: Ask, gateway: Gateway, tls_socket: dict[str, Any]
) -> None:
    reply = ask("ssh")
    assert reply.status_code == 200, reply.text
    certificate = parse_certificate_line(reply.json()["signed_ssh_cert"])
    verify(certificate)
    socket = gateway.store.find_socket(tls_socket["socket_id"])
    assert socket is not None
    assert certificate.ca_fingerprint == parse_key_line(socket.ssh_ca_public).fingerprint
    reply = ask("csr")
    assert reply.status_code == 200, reply.text
    leaf, issuing = x509.load_pem_x509_certificates(reply.json()["client_certificate"].encode())
    leaf.verify_directly_issued_by(issuing)
    key = issuing.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp384r1"


def test_no_private_half_is_in_the_database(gateway: Gateway, tls_socket: dict[str, Any]) -> None:
    for ca_id in ("ssh-host", "ssh-tunnel", "x509-issuing", f"ssh-user:{tls_socket['socket_id']}"):
        (record,) = gateway.store.generations(ca_id)
        assert record.private_sealed is None
        assert record.key_reference


def test_the_next_gateway_goes_on_with_the_same_keys(
    ask: Ask, gateway: Gateway, settings: Settings, clock: FixedClock, tls_socket: dict[str, Any]
) -> None:
    again = build_gateway(settings, clock=clock)
    try:
        user_ca = f"ssh-user:{tls_socket['socket_id']}"
        for ca_id in ("ssh-host", "ssh-tunnel", "x509-issuing", user_ca):
            ours, theirs = (g.authority.generations.active(ca_id) for g in (gateway, again))
            assert ours.signer.public_key == theirs.signer.public_key
    finally:
        again.close()


def test_a_gateway_starts_while_the_place_is_out_of_reach(
    gateway: Gateway, settings: Settings, clock: FixedClock, place: Place
) -> None:
    _, cut_off, come_back = place
    cut_off()
    again = build_gateway(settings, clock=clock)
    try:
        assert again.trust() == gateway.trust()
        come_back()
        issuing = again.authority.issuing_ca(None)
        assert again.authority.crl(issuing, [], again.store.position())
    finally:
        again.close()


@pytest.mark.parametrize("kind", ["ssh", "csr"])
def test_out_of_reach_there_is_no_certificate_and_no_record(
    ask: Ask, gateway: Gateway, place: Place, tls_socket: dict[str, Any], kind: str
) -> None:
    _, cut_off, come_back = place
    cut_off()
    gateway.authority.close()
    reply = ask(kind)
    assert (reply.status_code, reply.json()["reason"]) == (503, "signer-unavailable")
    assert "/" not in reply.json()["detail"]
    assert gateway.store.certificates_of(tls_socket["socket_id"]) == ()
    come_back()
    assert ask(kind).status_code == 200


class TestAgentKeys:
    @pytest.fixture(params=["ssh-agent"])
    def place(self, request: pytest.FixtureRequest) -> Iterator[Place]:
        with PLACES[request.param](request) as found:
            yield found

    def test_every_socket_has_a_key_of_its_own_or_is_not_made(
        self, owner: Person, agent: RunningAgent, gateway: Gateway
    ) -> None:
        first = owner.socket(name="one")
        reply = owner.call("POST", "/socket", json={"name": "two", "socket_type": "http"})
        assert (reply.status_code, reply.json()["reason"]) == (503, "issuance-failed")
        assert [s["name"] for s in owner.call("GET", "/connect").json()] == ["one"]
        agent.add_new_key("ed25519", "mysocket ssh-user")
        second = owner.socket(name="two")
        keys = {
            gateway.authority.generations.active(f"ssh-user:{s['socket_id']}").record.key_id
            for s in (first, second)
        }
        assert len(keys) == 2

    def test_sockets_made_at_once_share_no_key(
        self, owner: Person, agent: RunningAgent, gateway: Gateway
    ) -> None:
        for _ in range(7):
            agent.add_new_key("ed25519", "mysocket ssh-user")

        def make(number: int) -> str:
            return str(owner.socket(name=f"s{number}")["socket_id"])

        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(make, range(8)))
        keys = {gateway.store.generations(f"ssh-user:{one}")[0].key_id for one in made}
        assert len(keys) == 8


@pytest.mark.parametrize("days", [0, 10], ids=["certificate good", "certificate due"])
def test_out_of_reach_enrolled_servers_get_their_news(
    api: httpx.Client,
    owner: Person,
    tls_socket: dict[str, Any],
    clock: FixedClock,
    place: Place,
    gateway: Gateway,
    days: int,
) -> None:
    """Lists are signed by another key: what is revoked must arrive."""
    server = Server(api, clock, tls_socket, ed25519.Ed25519PrivateKey.generate())
    assert server.enrol(owner).status_code == 200
    _, cut_off, come_back = place
    cut_off()
    gateway.authority.close()
    clock.advance(days=days)
    before = server.bundle()
    wish = {"scope": RevocationScope.PERSON, "value": "alice@lab.test", "reason": ""}
    revocations.revoke(gateway, owner.account, tls_socket["socket_id"], **wish)
    after = server.bundle()
    assert after.number > before.number
    assert (after.host_certificate, after.enrol_again) == ("", False)
    come_back()
    assert bool(server.bundle().host_certificate) == bool(days)
