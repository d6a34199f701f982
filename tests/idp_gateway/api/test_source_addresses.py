"""From where a tunnel's end reaches an sshd, as the owner of the socket says it."""

from typing import Any

import pytest

from idp_gateway.composition import Gateway
from tests.idp_gateway.api.conftest import Person


def test_a_new_socket_has_the_tunnels_end_on_the_server_itself(tls_socket: dict[str, Any]) -> None:
    assert tls_socket["ssh_source_addresses"] == ["127.0.0.1/32", "::1/128"]


def test_the_owner_says_where_it_is_and_grants_of_before_end(
    gateway: Gateway, owner: Person, tls_socket: dict[str, Any]
) -> None:
    path = f"/socket/{tls_socket['socket_id']}"
    before = gateway.store.get_socket(owner.account.account_id, tls_socket["socket_id"]).epoch
    body = {"ssh_source_addresses": ["10.8.0.1", "2001:DB8::/32", "10.8.0.1/32"]}
    reply = owner.call("PATCH", path, json=body)
    assert reply.json()["ssh_source_addresses"] == ["10.8.0.1/32", "2001:db8::/32"]
    after = gateway.store.get_socket(owner.account.account_id, tls_socket["socket_id"])
    assert (after.epoch, after.ssh_source_addresses) == (
        before + 1,
        ("10.8.0.1/32", "2001:db8::/32"),
    )
    whole = {k: v for k, v in reply.json().items() if k != "ssh_source_addresses"}
    kept = owner.call("PUT", path, json=whole | {"name": "new"}).json()
    assert kept["ssh_source_addresses"] == ["10.8.0.1/32", "2001:db8::/32"]


@pytest.mark.parametrize(
    "networks",
    [["here"], ["10.8.0.1/8"], ["::ffff:10.8.0.1"], [""], ["fe80::1%eth0"], [16], ["1.2.3.4"] * 17],
)
def test_what_sshd_could_not_read_is_refused(
    owner: Person, tls_socket: dict[str, Any], networks: list[Any]
) -> None:
    path = f"/socket/{tls_socket['socket_id']}"
    reply = owner.call("PATCH", path, json={"ssh_source_addresses": networks})
    assert reply.status_code == 400


@pytest.mark.parametrize("socket_type", ["http", "https", "tcp"])
def test_a_socket_without_ssh_certificates_has_no_such_place(
    owner: Person, socket_type: str
) -> None:
    body = {"name": "s", "socket_type": socket_type, "ssh_source_addresses": ["10.8.0.1"]}
    refused = owner.call("POST", "/socket", json=body)
    assert (refused.status_code, refused.json()["reason"]) == (
        400,
        "source-addresses-not-applicable",
    )
