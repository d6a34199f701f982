"""A CA key in other hands: its lists end all it signed, also where nobody changes the trust."""

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from ca.formats.ssh_keys import parse_key_line
from idp_gateway.ca_generations import SSH_HOST, user_ca_id
from idp_gateway.composition import Gateway
from idp_gateway.rotation import GivenUp, Step
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person
from tests.idp_gateway.api.test_revocations import ALICE, Room
from tests.idp_gateway.conftest import FixedClock


@pytest.fixture
def tls_socket(owner: Person) -> dict[str, Any]:
    return owner.socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[ALICE],
    )


@pytest.fixture
def room(api: httpx.Client, tls_socket: dict[str, Any], client_token: ClientTokenMaker) -> Room:
    return Room(api, tls_socket, client_token)


def rotate(gateway: Gateway, ca_id: str, *, compromised: bool) -> None:
    given_up = GivenUp(by_hand=True, compromised=compromised)
    for step in (Step.PREPARE, Step.PUBLISH, Step.ACTIVATE):
        gateway.rotation.take(ca_id, step, given_up)
    if compromised:
        gateway.rotation.take(ca_id, Step.RETIRE, given_up)


def test_an_sshd_that_still_trusts_a_compromised_ca_refuses_what_it_signed(
    room: Room, tls_socket: dict[str, Any], gateway: Gateway, api: httpx.Client, tmp_path: Path
) -> None:
    stolen = room.ssh(ALICE)
    rotate(gateway, user_ca_id(tls_socket["socket_id"]), compromised=True)
    after = room.ssh(ALICE)
    krl = tmp_path / "krl"
    krl.write_bytes(api.get(f"/ssh/{room.dns_name}/krl").content)

    said = {}
    for name, certificate in (("stolen", stolen), ("after", after)):
        file = tmp_path / f"{name}.pub"
        file.write_text(f"{certificate.line}\n")
        query = ["ssh-keygen", "-Q", "-f", krl, file]
        said[name] = subprocess.run(query, capture_output=True, check=False).returncode

    assert said == {"stolen": 1, "after": 0}
    assert room.names(stolen)
    assert not room.names(after)


def test_a_compromised_host_ca_is_on_the_list_for_clients(room: Room, gateway: Gateway) -> None:
    (line,) = gateway.authority.host_ca_lines
    rotate(gateway, SSH_HOST, compromised=True)

    assert room.krl().keys == (parse_key_line(line).blob,)


def test_a_ca_replaced_in_good_order_is_not_on_the_list(
    room: Room, tls_socket: dict[str, Any], gateway: Gateway, clock: FixedClock
) -> None:
    ca_id = user_ca_id(tls_socket["socket_id"])
    rotate(gateway, ca_id, compromised=False)
    clock.advance(days=1)
    gateway.rotation.take(ca_id, Step.RETIRE)

    assert room.krl().keys == ()
