"""What an edge with many tunnels pays in its one loop, apart from the bytes it carries.

A change of one socket, a forward that is asked for, a line for a screen: none of them may depend on
how many tunnels there are, or many that come back at once cost their number squared.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from proxy.endpoints import EndpointPaths
from proxy.feed import CanonicalTexts, apply, parse_message, snapshot_line
from proxy.state import EdgeSocket, EdgeState, changed_keys
from proxy.tunnels.ssh.login import Login
from proxy.tunnels.ssh.requests import requested_tunnel
from proxy.tunnels.ssh.server import SshTunnelOptions, SshTunnels
from proxy.tunnels.table import TunnelTable
from tests.support.edge_gateway import delta_message
from tests.support.edge_state import Edge, edge_socket, edge_tunnel, new_key

Row = tuple[str, float, str, str, float]
FIRST_PORT = 10_001


@dataclass(kw_only=True)
class ManyTunnels:
    """The parts of an edge that know its state, with every tunnel attached."""

    state: EdgeState
    texts: CanonicalTexts
    table: TunnelTable
    paths: EndpointPaths
    backend: SshTunnels

    def take(self, state: EdgeState) -> frozenset[str]:
        """What the loop does with a new state before Envoy's resources are built."""
        before, self.state = self.state, state
        self.backend.apply(state)
        return self.paths.renew(state) | changed_keys(before.sockets, state.sockets)


def run(quick: bool) -> list[Row]:
    """Rows for the report: name, value, unit, peer, ratio; there is nobody to compare with."""
    return asyncio.run(_measure(200 if quick else 10_000, 3 if quick else 30))


async def _measure(count: int, rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        edge = await many_tunnels(Path(folder), min(count, 400), count)
        try:
            return [
                (f"{name}, {count} tunnels", value, "us", "", 0.0)
                for name, value in (
                    ("forward looked up", _forward(edge, rounds)),
                    ("line for a socket nobody watches", _line(edge, rounds)),
                    ("change of a socket, in the loop", _change(edge, rounds)),
                    ("change of a socket, in its thread", _message(edge, rounds)),
                    ("tunnel back, endpoints renewed", await _again(edge, rounds)),
                )
            ]
        finally:
            edge.table.close()


async def many_tunnels(folder: Path, attached: int, count: int) -> ManyTunnels:
    """``count`` accounts with a socket and a tunnel each, ``attached`` of them with an endpoint."""
    key = new_key()
    users = [f"{number:032x}" for number in range(count)]
    built = Edge(
        sockets=[edge_socket(f"s{number}") for number in range(count)],
        tunnels=[
            edge_tunnel(f"t-{number}", FIRST_PORT, f"s{number}-id", user)
            for number, user in enumerate(users)
        ],
        keys={user: [key] for user in users},
    ).state()
    texts = CanonicalTexts()
    message = parse_message(snapshot_line(built))
    assert message.type == "snapshot"
    state = apply(None, message, texts)
    paths: EndpointPaths
    table = TunnelTable(folder / "t", _now, lambda one: paths.touch(one.socket_id))
    table.prepare()
    paths = EndpointPaths(table)
    backend = SshTunnels(SshTunnelOptions(address="127.0.0.1", port=0), key, table, _now)
    edge = ManyTunnels(state=state, texts=texts, table=table, paths=paths, backend=backend)
    edge.take(state)
    for number in range(attached):
        await _attach(edge, number)
    paths.renew(state)
    return edge


def _now() -> datetime:
    return datetime.now(UTC)


async def _attach(edge: ManyTunnels, number: int) -> None:
    tunnel = edge.state.tunnels[f"t-{number}"]
    await edge.table.attach(tunnel, "192.0.2.1", asyncio.Protocol, lambda _reason: None)


def _timed(action: Callable[[], object], rounds: int) -> float:
    """Microseconds of one of many; the fastest, for the machine does other things too."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times) * 1e6


def _forward(edge: ManyTunnels, rounds: int) -> float:
    login = Login(user_name=f"{7:032x}", key=b"", by_certificate=False)
    sockets, asked = edge.state.sockets, ("localhost", FIRST_PORT)
    tunnels = edge.backend.tunnels
    return _timed(
        lambda: requested_tunnel(tunnels, sockets, login, asked, edge.table.connected()), rounds
    )


def _line(edge: ManyTunnels, rounds: int) -> float:
    return _timed(lambda: edge.backend.log("s7-id", "GET / 200"), rounds)


def _other(state: EdgeState) -> EdgeState:
    changed: EdgeSocket = replace(state.sockets["s5-id"], epoch=state.revision + 1)
    sockets = {**state.sockets, "s5-id": changed}
    return replace(state, revision=state.revision + 1, sockets=sockets)


def _change(edge: ManyTunnels, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        after = _other(edge.state)
        started = time.perf_counter()
        edge.take(after)
        times.append(time.perf_counter() - started)
    return min(times) * 1e6


def _message(edge: ManyTunnels, rounds: int) -> float:
    after = _other(edge.state)
    line = json.dumps(delta_message(edge.state, after)).encode()

    def read() -> None:
        message = parse_message(line)
        assert message.type == "delta"
        snapshot_line(apply(edge.state, message, edge.texts), edge.texts)

    return _timed(read, rounds)


async def _again(edge: ManyTunnels, rounds: int) -> float:
    times = []
    for number in range(rounds):
        started = time.perf_counter()
        await _attach(edge, number)
        edge.paths.renew(edge.state)
        times.append(time.perf_counter() - started)
    return min(times) * 1e6
