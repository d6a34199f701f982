"""Endpoint paths follow tunnels and states by what changed."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from proxy.endpoints import EndpointPaths
from proxy.tunnels.table import Endpoint, TunnelTable
from tests.support.edge_state import Edge, edge_socket, edge_tunnel


class Tunnels:
    """A table whose changes reach the paths, as in the agent."""

    def __init__(self, folder: Path) -> None:
        self.table = TunnelTable(
            folder / "t", lambda: datetime.now(UTC), lambda one: self.paths.touch(one.socket_id)
        )
        self.table.prepare()
        self.paths = EndpointPaths(self.table)

    async def attach(self, tunnel_id: str, socket_id: str = "web-id") -> Endpoint:
        tunnel = edge_tunnel(tunnel_id, 10001, socket_id)
        return await self.table.attach(tunnel, "192.0.2.1", asyncio.Protocol, lambda _reason: None)

    def path(self, tunnel_id: str) -> str:
        return str(self.table.connected()[tunnel_id].path)


async def test_paths_come_and_go_in_the_order_of_the_tunnels(folder: Path) -> None:
    tunnels, edge = Tunnels(folder), Edge()
    edge.tunnels = [edge_tunnel("t-1", 10001), edge_tunnel("t-2", 10002)]
    state = edge.state()
    second = await tunnels.attach("t-2")
    assert tunnels.paths.renew(state) == {"web-id"}
    first = await tunnels.attach("t-1")
    assert tunnels.paths.renew(state) == {"web-id"}
    assert tunnels.paths.paths == {"web-id": (tunnels.path("t-1"), tunnels.path("t-2"))}
    assert tunnels.paths.renew(state) == frozenset()
    tunnels.table.detach(first)
    tunnels.table.detach(second)
    assert tunnels.paths.renew(state) == {"web-id"}
    assert tunnels.paths.paths == {}


async def test_a_newer_connection_of_a_tunnel_changes_no_path(folder: Path) -> None:
    tunnels, state = Tunnels(folder), Edge().state()
    await tunnels.attach("t-1")
    tunnels.paths.renew(state)
    await tunnels.attach("t-1")
    assert tunnels.paths.renew(state) == frozenset()
    tunnels.table.close()


async def test_a_tunnel_counts_only_while_the_state_has_it_for_that_socket(folder: Path) -> None:
    tunnels, edge = Tunnels(folder), Edge(sockets=[edge_socket(), edge_socket("other")])
    await tunnels.attach("t-1")
    tunnels.paths.renew(edge.state())
    edge.tunnels = [edge_tunnel("t-1", 10001, "other-id")]
    assert tunnels.paths.renew(edge.state()) == {"web-id"}
    assert tunnels.paths.paths == {}
    edge.tunnels = [edge_tunnel("t-1", 10001)]
    assert tunnels.paths.renew(edge.state()) == {"web-id"}
    edge.tunnels = []
    assert tunnels.paths.renew(edge.state()) == {"web-id"}
    assert tunnels.paths.paths == {}
    tunnels.table.close()


async def test_a_tunnel_that_moved_to_another_socket_leaves_the_first(folder: Path) -> None:
    tunnels, edge = Tunnels(folder), Edge(sockets=[edge_socket(), edge_socket("other")])
    await tunnels.attach("t-1")
    tunnels.paths.renew(edge.state())
    edge.tunnels = [edge_tunnel("t-1", 10001, "other-id")]
    await tunnels.attach("t-1", "other-id")
    assert tunnels.paths.renew(edge.state()) == {"web-id", "other-id"}
    assert tunnels.paths.paths == {"other-id": (tunnels.path("t-1"),)}
    tunnels.table.close()
