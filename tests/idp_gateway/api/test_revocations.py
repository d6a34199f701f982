"""Revocations over the API: what they stop, what the lists then say, and who may do what."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509

from ca.formats.krl import Krl, parse_krl
from ca.formats.ssh_certificate import SshCertificate, parse_certificate_line
from idp_gateway.composition import Gateway
from idp_gateway.kept_lists import SLOWEST_CLOCK
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person, both_databases
from tests.idp_gateway.conftest import FixedClock
from tests.support.subjects import csr, ec_key, public_line

ALICE, BOB = "alice@lab.test", "bob@lab.test"


@pytest.fixture
def tls_socket(owner: Person) -> dict[str, Any]:
    return owner.socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[ALICE, BOB],
    )


class Room:
    """One socket, and people who want certificates for it."""

    def __init__(self, api: httpx.Client, socket: dict[str, Any], token: ClientTokenMaker) -> None:
        self.api = api
        self.dns_name = socket["dnsname"]
        self.path = f"/socket/{socket['socket_id']}/revocation"
        self._token = token

    def ask(self, email: str, what: str, **body: str) -> httpx.Response:
        headers = {"x-access-token": self._token(self.dns_name, email=email)}
        path = f"/mtls-ca/socket/{self.dns_name}/{what}"
        return self.api.post(path, json=body, headers=headers)

    def ssh(self, email: str, line: str = "") -> SshCertificate:
        reply = self.ask(email, "ssh", ssh_public_key=line or public_line(ec_key()))
        assert reply.status_code == 200, reply.text
        return parse_certificate_line(reply.json()["signed_ssh_cert"])

    def krl(self) -> Krl:
        reply = self.api.get(f"/ssh/{self.dns_name}/krl")
        assert reply.status_code == 200
        return parse_krl(reply.content)

    def names(self, certificate: SshCertificate) -> bool:
        return self.krl().revokes_certificate(
            ca=certificate.signature_key,
            serial=certificate.serial,
            key_id=certificate.key_id,
            subject=certificate.key_blob.blob,
        )


@pytest.fixture
def room(api: httpx.Client, tls_socket: dict[str, Any], client_token: ClientTokenMaker) -> Room:
    return Room(api, tls_socket, client_token)


def epoch(gateway: Gateway, room: Room) -> int:
    socket = gateway.store.find_socket_by_dns_name(room.dns_name)
    assert socket is not None
    return socket.epoch


@both_databases
def test_a_revoked_person_gets_nothing_more_and_nothing_of_theirs_is_good(
    owner: Person, room: Room, gateway: Gateway
) -> None:
    hers, his = room.ssh(ALICE), room.ssh(BOB)
    before = epoch(gateway, room)
    assert room.krl().is_empty

    made = owner.call("POST", room.path, json={"scope": "person", "value": "Alice@lab.test"})

    assert made.status_code == 200, made.text
    assert made.json()["value"] == ALICE
    assert made.json()["certificates"] == 1
    assert epoch(gateway, room) == before + 1
    refused = room.ask(ALICE, "ssh", ssh_public_key=public_line(ec_key()))
    assert (refused.status_code, refused.json()["reason"]) == (403, "person-revoked")
    assert room.names(hers)
    assert not room.names(his)
    room.ssh(BOB)


@both_databases
def test_whoever_is_readmitted_gets_new_certificates_and_not_the_old_ones_back(
    owner: Person, room: Room, clock: FixedClock
) -> None:
    old = room.ssh(ALICE)
    made = owner.call("POST", room.path, json={"scope": "person", "value": ALICE}).json()
    clock.advance(seconds=1)

    lifted = owner.call("DELETE", f"{room.path}/{made['revocation_id']}")
    clock.advance(seconds=1)

    assert lifted.status_code == 200
    assert lifted.json()["lifted_at"]
    new = room.ssh(ALICE)
    assert room.names(old)
    assert not room.names(new)


@both_databases
def test_a_lift_brings_nothing_back_whatever_clocks_do(
    owner: Person, room: Room, clock: FixedClock
) -> None:
    """The gateway that issued it was 30 seconds ahead of the one that lifts."""
    clock.advance(seconds=30)
    old = room.ssh(ALICE)
    tls = room.ask(ALICE, "csr", csr=csr(ec_key()).decode())
    assert tls.status_code == 200, tls.text
    clock.advance(seconds=-30)
    made = owner.call("POST", room.path, json={"scope": "person", "value": ALICE}).json()
    clock.advance(seconds=5)
    assert owner.call("DELETE", f"{room.path}/{made['revocation_id']}").status_code == 200
    clock.advance(minutes=1)

    # Whatever makes the lists anew: another revocation, a restart, another gateway.
    room.ask(BOB, "csr", csr=csr(ec_key()).decode())
    owner.call("POST", room.path, json={"scope": "person", "value": BOB})

    assert room.names(old)
    assert len(list(x509.load_der_x509_crl(room.api.get("/ca/crl").content))) == 2


@both_databases
def test_whoever_is_readmitted_by_a_clock_that_is_ahead_is_readmitted_now(
    owner: Person, room: Room, clock: FixedClock
) -> None:
    made = owner.call("POST", room.path, json={"scope": "person", "value": ALICE}).json()
    clock.advance(minutes=30)
    assert owner.call("DELETE", f"{room.path}/{made['revocation_id']}").status_code == 200
    clock.advance(minutes=-29)

    assert not room.names(room.ssh(ALICE))


@both_databases
def test_a_revoked_key_is_refused_whoever_shows_it(owner: Person, room: Room) -> None:
    line = public_line(ec_key())
    hers = room.ssh(ALICE, line)

    made = owner.call("POST", room.path, json={"scope": "key", "value": hers.key_blob.fingerprint})

    assert made.status_code == 200
    for somebody in (ALICE, BOB):
        refused = room.ask(somebody, "ssh", ssh_public_key=line)
        assert (refused.status_code, refused.json()["reason"]) in {
            (400, "key-revoked"),
            (403, "key-revoked"),
        }
    assert room.names(hers)
    room.ssh(ALICE)


@both_databases
def test_one_certificate_is_revoked_by_its_serial(owner: Person, room: Room) -> None:
    first, second = room.ssh(ALICE), room.ssh(ALICE)

    made = owner.call("POST", room.path, json={"scope": "serial", "value": str(first.serial)})
    lift = owner.call("DELETE", f"{room.path}/{made.json()['revocation_id']}")

    assert room.names(first)
    assert not room.names(second)
    assert (lift.status_code, lift.json()["reason"]) == (409, "revocation-final")


@both_databases
def test_everything_of_a_socket_ends_and_new_certificates_are_good(
    owner: Person, room: Room, clock: FixedClock
) -> None:
    old = [room.ssh(ALICE), room.ssh(BOB)]

    made = owner.call("POST", room.path, json={"scope": "socket", "reason": "moved"})
    new = room.ssh(ALICE)

    assert made.json()["reason"] == "moved"
    assert all(map(room.names, old))
    assert not room.names(new)
    listed = owner.call("GET", room.path).json()
    assert [one["scope"] for one in listed] == ["socket"]


def test_entries_leave_the_list_when_their_certificates_have_expired(
    owner: Person, room: Room, clock: FixedClock
) -> None:
    room.ssh(ALICE)
    owner.call("POST", room.path, json={"scope": "socket"})
    first = room.krl()

    clock.advance(minutes=6)
    # A server whose clock is slow by what `host sync` allows still takes it.
    assert room.krl().certificates == first.certificates
    clock.advance(minutes=10)

    assert not first.is_empty
    assert room.krl().is_empty
    assert room.krl().number >= first.number


def test_a_revoked_tls_client_is_on_the_crl_and_its_grant_is_over(
    owner: Person, room: Room, gateway: Gateway, api: httpx.Client
) -> None:
    before = epoch(gateway, room)
    reply = room.ask(ALICE, "csr", csr=csr(ec_key()).decode())
    assert reply.status_code == 200, reply.text
    hers = x509.load_pem_x509_certificate(reply.json()["client_certificate"].encode())

    owner.call("POST", room.path, json={"scope": "serial", "value": f"{hers.serial_number:x}"})

    answer = api.get("/ca/crl")
    assert answer.headers["content-type"] == "application/pkix-crl"
    crl = x509.load_der_x509_crl(answer.content)
    assert crl.get_revoked_certificate_by_serial_number(hers.serial_number) is not None
    assert crl.issuer == hers.issuer
    assert epoch(gateway, room) == before + 1
    assert api.get("/ca/crl?ca=ff").json()["reason"] == "ca-unknown"


@both_databases
def test_the_number_of_the_crl_does_not_go_back_with_the_clock(
    owner: Person, room: Room, api: httpx.Client, clock: FixedClock
) -> None:
    """A verifier that keeps the largest would drop the list with the revocation."""
    clock.advance(minutes=5)
    before = crl_number(api)
    room.ask(ALICE, "csr", csr=csr(ec_key()).decode())
    clock.advance(minutes=-5)

    owner.call("POST", room.path, json={"scope": "person", "value": ALICE})

    assert len(list(x509.load_der_x509_crl(api.get("/ca/crl").content))) == 1
    assert crl_number(api) > before


def crl_number(api: httpx.Client) -> int:
    read = x509.load_der_x509_crl(api.get("/ca/crl").content)
    return read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_revoked_certificate_stays_on_the_crl_when_its_socket_is_deleted(
    owner: Person, room: Room, api: httpx.Client
) -> None:
    reply = room.ask(ALICE, "csr", csr=csr(ec_key()).decode())
    hers = x509.load_pem_x509_certificate(reply.json()["client_certificate"].encode())

    assert owner.call("DELETE", room.path.rsplit("/", 1)[0]).status_code in {200, 204}

    crl = x509.load_der_x509_crl(api.get("/ca/crl").content)
    assert crl.get_revoked_certificate_by_serial_number(hers.serial_number) is not None


def test_entries_leave_the_crl_when_no_slow_clock_takes_them_any_more(
    owner: Person, room: Room, api: httpx.Client, clock: FixedClock
) -> None:
    reply = room.ask(ALICE, "csr", csr=csr(ec_key()).decode())
    hers = x509.load_pem_x509_certificate(reply.json()["client_certificate"].encode())
    owner.call("POST", room.path, json={"scope": "serial", "value": f"{hers.serial_number:x}"})

    def listed() -> bool:
        crl = x509.load_der_x509_crl(api.get("/ca/crl").content)
        return crl.get_revoked_certificate_by_serial_number(hers.serial_number) is not None

    clock.now = hers.not_valid_after_utc + SLOWEST_CLOCK - timedelta(seconds=1)
    assert listed()
    clock.advance(seconds=2)
    assert not listed()


def test_a_certificate_of_another_socket_cannot_be_named(
    owner: Person, stranger: Person, room: Room
) -> None:
    hers = room.ssh(ALICE)
    other = stranger.socket(socket_type="tls", cloud_authentication_enabled=True)

    theirs = stranger.call(
        "POST",
        f"/socket/{other['socket_id']}/revocation",
        json={"scope": "serial", "value": str(hers.serial)},
    )
    intruding = stranger.call("POST", room.path, json={"scope": "socket"})

    assert (theirs.status_code, theirs.json()["reason"]) == (404, "certificate-unknown")
    assert (intruding.status_code, intruding.json()["reason"]) == (404, "socket-unknown")
    assert stranger.call("GET", room.path).status_code == 404
    assert room.krl().is_empty


@pytest.mark.parametrize(
    ("scope", "value"),
    [
        ("person", "not an address"),
        ("key", "SHA256:short"),
        ("key", "MD5:00"),
        ("serial", "0"),
        ("serial", "-1"),
        ("serial", "0x1f"),
        ("socket", "5"),
        ("everyone", ""),
    ],
)
def test_what_makes_no_sense_is_refused(scope: str, value: str, owner: Person, room: Room) -> None:
    reply = owner.call("POST", room.path, json={"scope": scope, "value": value})

    assert reply.status_code == 400
    assert owner.call("GET", room.path).json() == []


@both_databases
def test_how_many_certificates_it_names_is_said(
    owner: Person, room: Room, clock: FixedClock
) -> None:
    hers = [room.ssh(ALICE), room.ssh(ALICE)]
    room.ssh(BOB)

    def named(scope: str, value: str = "") -> int:
        body = {"scope": scope, "value": value}
        return int(owner.call("POST", room.path, json=body).json()["certificates"])

    assert named("person", "alcie@lab.test") == 0
    assert named("person", ALICE) == 2
    assert named("key", hers[0].key_blob.fingerprint) == 1
    assert named("serial", str(hers[1].serial)) == 1
    assert named("socket") == 3
    clock.advance(minutes=16)
    assert named("socket") == 0


def test_saying_it_twice_makes_one_revocation(owner: Person, room: Room, gateway: Gateway) -> None:
    first = owner.call("POST", room.path, json={"scope": "person", "value": ALICE}).json()
    ended = epoch(gateway, room)
    second = owner.call("POST", room.path, json={"scope": "person", "value": ALICE}).json()

    assert first == second
    assert epoch(gateway, room) == ended


def test_the_lists_need_no_token(room: Room, api: httpx.Client, gateway: Gateway) -> None:
    keys = api.get(f"/ssh/{room.dns_name}/user-ca-keys").text
    hosts = api.get("/ssh/known-hosts").text

    socket = gateway.store.find_socket_by_dns_name(room.dns_name)
    assert socket is not None
    assert keys.splitlines() == [socket.ssh_ca_public]
    assert hosts.startswith("@cert-authority *.edge.localhost,*.edge.localhost.mysocket-dummy ssh-")
    assert api.get("/ssh/nobody.edge.localhost/krl").status_code == 404
