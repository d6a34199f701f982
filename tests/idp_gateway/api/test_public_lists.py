"""The lists anybody may fetch: right for whoever asks and however, and cheap to ask for."""

from typing import Any

import httpx
import pytest
from cryptography import x509

from idp_gateway.composition import Gateway
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person
from tests.idp_gateway.api.test_revocations import ALICE, BOB, Room
from tests.support.subjects import csr, ec_key


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


def revoke(owner: Person, room: Room, email: str = ALICE) -> None:
    reply = owner.call("POST", room.path, json={"scope": "person", "value": email})
    assert reply.status_code == 200


def tls(room: Room, email: str) -> int:
    reply = room.ask(email, "csr", csr=csr(ec_key()).decode())
    assert reply.status_code == 200, reply.text
    pem = reply.json()["client_certificate"].encode()
    return x509.load_pem_x509_certificate(pem).serial_number


def listed(api: httpx.Client, query: str = "") -> set[int]:
    reply = api.get(f"/ca/crl{query}")
    assert reply.status_code == 200
    return {one.serial_number for one in x509.load_der_x509_crl(reply.content)}


@pytest.mark.parametrize("spelled", ["0", "00", ":", "000:"])
def test_no_spelling_of_no_ca_gets_an_empty_list(
    owner: Person, room: Room, api: httpx.Client, gateway: Gateway, spelled: str
) -> None:
    serial = tls(room, ALICE)
    revoke(owner, room)
    reply = api.get("/ca/crl", params={"ca": spelled})
    assert (reply.status_code, reply.json()["reason"]) == (400, "serial-invalid")
    signs = gateway.authority.issuing_ca(None).key_id
    assert listed(api) == listed(api, f"?ca={signs.upper()}") == {serial}


@pytest.mark.parametrize("path", ["/ca/log/proof", "/ca/log/entries"])
def test_no_other_question_takes_nothing_for_a_serial_number(owner: Person, path: str) -> None:
    reply = owner.call("GET", path, params={"serial": "0:0"})
    assert (reply.status_code, reply.json()["reason"]) == (400, "serial-invalid")
