"""More is revoked than one list may name: whoever reads the lists admits nobody, and goes on."""

from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from ca.crl import MAX_REVOKED
from ca.formats.krl import Krl, parse_krl
from ca.formats.ssh_certificate import SshCertificate, parse_certificate_line
from idp_gateway.authority import _SSH_SHARES, _TLS_SHARES
from idp_gateway.ca_generations import user_ca_id
from idp_gateway.composition import Gateway
from idp_gateway.paces import CertificatePace
from idp_gateway.rotation import GivenUp, Step
from idp_gateway.settings import Settings
from idp_gateway.store import revocations
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person
from tests.idp_gateway.api.test_hosts import Server
from tests.idp_gateway.api.test_revocations import ALICE, BOB, Room
from tests.idp_gateway.conftest import FixedClock
from tests.support.subjects import csr, ec_key, public_line


@pytest.fixture
def tls_socket(owner: Person) -> dict[str, Any]:
    return owner.socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[ALICE, BOB],
    )


@pytest.fixture
def room(api: httpx.Client, tls_socket: dict[str, Any], client_token: ClientTokenMaker) -> Room:
    return Room(api, tls_socket, client_token)


@pytest.fixture
def server(
    api: httpx.Client, clock: FixedClock, tls_socket: dict[str, Any], owner: Person
) -> Server:
    made = Server(api, clock, tls_socket, ed25519.Ed25519PrivateKey.generate())
    made.enrol(owner)
    return made


def names(krl: Krl, certificate: SshCertificate) -> bool:
    return krl.revokes_certificate(
        ca=certificate.signature_key,
        serial=certificate.serial,
        key_id=certificate.key_id,
        subject=certificate.key_blob.blob,
    )


def test_then_everything_of_the_ca_is_refused_and_the_server_still_gets_its_bundle(
    owner: Person, room: Room, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "MAX_LISTED", 2)
    hers = [room.ssh(ALICE) for _ in range(3)]
    his = room.ssh(BOB)
    owner.call("POST", room.path, json={"scope": "person", "value": ALICE})

    bundle = server.bundle()

    krl = parse_krl(bundle.krl)
    assert all(names(krl, one) for one in [*hers, his])
    assert krl.certificates == room.krl().certificates
    assert not bundle.enrol_again
    assert not names(krl, parse_certificate_line(server.certificate))


def test_a_server_of_which_too_much_is_revoked_is_told_and_others_are_not_stopped(
    owner: Person, room: Room, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = room.ssh(ALICE)
    serial = parse_certificate_line(server.certificate).serial
    owner.call("POST", room.path, json={"scope": "serial", "value": str(serial)})
    shown = server.certificate
    server.enrol(owner)
    monkeypatch.setattr(revocations, "MAX_LISTED", 0)

    bundle = server.bundle()

    krl = parse_krl(bundle.krl)
    assert names(krl, parse_certificate_line(shown))
    assert not names(krl, people)


def test_a_new_ca_mends_it(
    owner: Person,
    room: Room,
    gateway: Gateway,
    tls_socket: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(revocations, "MAX_LISTED", 2)
    old = [room.ssh(ALICE) for _ in range(3)]
    owner.call("POST", room.path, json={"scope": "person", "value": ALICE})
    ca_id = user_ca_id(tls_socket["socket_id"])
    for step in (Step.PREPARE, Step.PUBLISH, Step.ACTIVATE):
        gateway.rotation.take(ca_id, step, GivenUp(by_hand=True))
    new = room.ssh(BOB)

    assert all(names(room.krl(), one) for one in old)
    assert not names(room.krl(), new)


def test_no_socket_gets_so_many_tls_certificates_that_it_fills_the_list_of_all(
    owner: Person, room: Room, api: httpx.Client, clock: FixedClock, gateway: Gateway
) -> None:
    gateway.authority._tls_pace = CertificatePace(
        2, for_socket=1, for_account=2, monotonic=lambda: clock().timestamp()
    )
    request = csr(ec_key()).decode()
    answers = [room.ask(who, "csr", csr=request) for who in (ALICE, BOB, ALICE)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["reason"] == "too-many-certificates"
    assert int(answers[2].headers["retry-after"]) > 0
    room.ssh(ALICE)
    other = owner.socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[BOB],
    )
    assert Room(api, other, room._token).ask(BOB, "csr", csr=request).status_code == 200
    clock.advance(minutes=20)
    assert room.ask(ALICE, "csr", csr=request).status_code == 200


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("csr", {"csr": csr(ec_key()).decode()}),
        ("ssh", {"ssh_public_key": public_line(ec_key())}),
    ],
)
def test_one_person_asks_for_very_many_and_the_others_go_on(
    room: Room, gateway: Gateway, kind: str, body: dict[str, str]
) -> None:
    pace = CertificatePace(2, for_socket=2, for_account=2)
    gateway.authority._tls_pace = gateway.authority._ssh_pace = pace
    answers = [room.ask(ALICE, kind, **body) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 429, 429]
    assert answers[2].json()["reason"] == "too-many-certificates"
    assert room.ask(BOB, kind, **body).status_code == 200


def test_no_person_can_fill_a_list_and_no_account_the_list_of_all(settings: Settings) -> None:
    """Whatever is still named was given out in the ten minutes it lives on, and the life before."""
    windows = (settings.grant_minutes + 10) / 10 + 1
    each = settings.certificates_per_person
    assert each * windows < revocations.MAX_LISTED / 10
    assert each * _SSH_SHARES["for_socket"] * windows < revocations.MAX_LISTED
    assert each * _TLS_SHARES["for_account"] * (70 / 10 + 1) < MAX_REVOKED


def test_a_list_that_cannot_name_all_says_so(
    owner: Person, room: Room, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idp_gateway.revocations.MAX_REVOKED", 1)
    for _ in range(2):
        room.ask(ALICE, "csr", csr=csr(ec_key()).decode())
    owner.call("POST", room.path, json={"scope": "socket"})
    answer = api.get("/ca/crl")
    assert (answer.status_code, answer.json()["reason"]) == (403, "too-many-revoked")
