"""Tunnels: several on one socket, what an edge says of them, and where to dial."""

import httpx
import pytest

from idp_gateway.composition import Gateway
from idp_gateway.replies import TunnelView
from tests.idp_gateway.api.conftest import Person, both_databases
from tests.idp_gateway.conftest import FixedClock

pytestmark = both_databases


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b"not json at all"])
def test_a_tunnel_is_made_whatever_the_body(owner: Person, body: bytes) -> None:
    socket_id = owner.socket()["socket_id"]
    reply = owner.call(
        "POST",
        f"/socket/{socket_id}/tunnel",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert reply.status_code == 200
    shown = owner.call(
        "GET", f"/socket/{socket_id}/tunnel/{reply.json()['tunnel_id']}", content=body
    )
    assert shown.json() == reply.json()


def test_a_socket_may_have_several_tunnels_each_with_its_own_port(
    owner: Person, clock: FixedClock
) -> None:
    path = f"/socket/{owner.socket()['socket_id']}"
    made = []
    for _ in range(3):
        clock.advance(seconds=1)
        made.append(owner.call("POST", f"{path}/tunnel").json())
    assert len({tunnel["local_port"] for tunnel in made}) == 3
    assert owner.call("GET", f"{path}/tunnel").json() == made
    assert owner.call("GET", path).json()["tunnels"] == made
    gone = f"{path}/tunnel/{made[1]['tunnel_id']}"
    assert owner.call("DELETE", gone).status_code == 204
    assert owner.call("DELETE", gone).status_code == 404
    assert owner.call("GET", f"{path}/tunnel").json() == [made[0], made[2]]


def test_what_an_edge_reports_is_shown(
    api: httpx.Client, owner: Person, gateway: Gateway, clock: FixedClock, ssh_key: str
) -> None:
    socket = owner.call("POST", "/connect", json={"name": "c"}).json()
    (tunnel,) = socket["tunnels"]
    assert tunnel["connected"] is False
    report = {
        "edge_id": "edge-1",
        "ssh_host_key": ssh_key,
        "tunnels": [
            {
                "tunnel_id": tunnel["tunnel_id"],
                "connected_at": clock().isoformat(),
                "peer": "192.0.2.1:4711",
            }
        ],
    }
    key = {"authorization": f"Bearer {gateway.edge_key.decode()}"}
    assert api.post("/internal/report", json=report, headers=key).status_code == 204
    (tunnel,) = owner.call("GET", f"/socket/{socket['socket_id']}/tunnel").json()
    assert tunnel["connected"] is True
    assert tunnel["tunnel_server_host_keys"] == [ssh_key]
    acknowledged = {"edge_id": "edge-1", "revision": 1}
    assert api.post("/internal/feed/ack", json=acknowledged, headers=key).status_code == 204
    assert api.post("/internal/report", json=report | {"tunnels": []}, headers=key).is_success
    (tunnel,) = owner.call("GET", f"/socket/{socket['socket_id']}/tunnel").json()
    assert tunnel["connected"] is False
    assert tunnel["tunnel_server_host_keys"] == [ssh_key]


def test_thousands_of_tunnels_fit_into_one_report(
    api: httpx.Client, gateway: Gateway, clock: FixedClock
) -> None:
    at = clock().isoformat()
    report = {
        "edge_id": "edge-1",
        "tunnels": [
            {"tunnel_id": f"t{number}", "connected_at": at, "peer": "192.0.2.1:4711"}
            for number in range(10_000)
        ],
    }
    key = {"authorization": f"Bearer {gateway.edge_key.decode()}"}
    assert api.post("/internal/report", json=report, headers=key).status_code == 204


def test_the_word_of_an_edge_that_fell_silent_wears_off(
    api: httpx.Client, owner: Person, gateway: Gateway, clock: FixedClock, ssh_key: str
) -> None:
    socket = owner.call("POST", "/connect", json={"name": "c"}).json()
    connected = {
        "tunnel_id": socket["tunnels"][0]["tunnel_id"],
        "connected_at": clock().isoformat(),
        "peer": "192.0.2.1:4711",
    }
    report = {"edge_id": "edge-1", "ssh_host_key": ssh_key, "tunnels": [connected]}
    key = {"authorization": f"Bearer {gateway.edge_key.decode()}"}
    assert api.post("/internal/report", json=report, headers=key).status_code == 204
    path = f"/socket/{socket['socket_id']}"

    def shown() -> tuple[bool, list[str]]:
        (tunnel,) = gateway.store.tunnels_of(socket["socket_id"])
        view = TunnelView.now(gateway, [socket["socket_id"]]).reply(tunnel)
        return view.connected, view.tunnel_server_host_keys

    clock.advance(seconds=89)
    assert owner.call("GET", path).json()["tunnels"][0]["connected"] is True
    clock.advance(seconds=1)
    assert owner.call("GET", path).json()["tunnels"][0]["connected"] is False
    clock.advance(hours=23)
    assert shown() == (False, [ssh_key])
    clock.advance(hours=1)
    assert shown() == (False, [])


def test_an_edge_may_report_only_what_changed(
    api: httpx.Client, owner: Person, gateway: Gateway, clock: FixedClock
) -> None:
    socket = owner.call("POST", "/connect", json={"name": "c"}).json()
    tunnel_id = socket["tunnels"][0]["tunnel_id"]
    changed = {"tunnel_id": tunnel_id, "connected_at": clock().isoformat(), "peer": "p"}
    key = {"authorization": f"Bearer {gateway.edge_key.decode()}"}

    def report(**said: object) -> int:
        body = {"edge_id": "edge-1", **said}
        return api.post("/internal/report", json=body, headers=key).status_code

    def connected() -> bool:
        (tunnel,) = owner.call("GET", f"/socket/{socket['socket_id']}/tunnel").json()
        return bool(tunnel["connected"])

    assert report(changed=[changed, changed], gone=[]) == 204
    assert connected()
    assert report(changed=[]) == 204
    assert connected()
    assert report(gone=[tunnel_id]) == 204
    assert not connected()
    assert report() == 400
    assert report(tunnels=[], gone=[]) == 400


def test_more_sockets_than_a_statement_has_variables_are_listed(
    owner: Person, gateway: Gateway
) -> None:
    ids = [f"no-such-{number}" for number in range(70_000)]
    socket = owner.call("POST", "/connect", json={"name": "c"}).json()
    (tunnel,) = gateway.store.tunnels_of(*ids, socket["socket_id"])
    assert tunnel.tunnel_id == socket["tunnels"][0]["tunnel_id"]
    assert not gateway.store.tunnel_reports_of(ids, since=gateway.clock())
