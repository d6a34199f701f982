"""The gateway's own feed, read by the edge: what one writes the other takes, to the digest."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.settings import Settings
from policy.types import SocketType
from proxy.feed import CanonicalTexts, Delta, Heartbeat, Snapshot, apply, parse_message
from proxy.state import EdgeState
from tests.support import rows


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    gateway = build_gateway(Settings(state_dir=tmp_path / "state"), clock=lambda: datetime.now(UTC))
    yield gateway
    gateway.close()


class FollowingEdge:
    """The edge's own parser at the end of a gateway's stream."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self.lines = lines
        self.state: EdgeState | None = None
        self.texts = CanonicalTexts()
        self.kinds: list[type] = []

    async def reach(self, revision: int) -> EdgeState:
        """Read until the state is of this revision."""
        async with asyncio.timeout(10):
            while self.state is None or self.state.revision < revision:
                message = parse_message(await anext(self.lines))
                self.kinds.append(type(message))
                if not isinstance(message, Heartbeat):
                    self.state = apply(self.state, message, self.texts)
        return self.state


def add(gateway: Gateway, name: str, socket_type: SocketType) -> tuple[AccountRecord, SocketRecord]:
    owner = rows.account(ssh_key="ssh-ed25519 AAAA comment with \u00fc and\ttab")
    gateway.store.add_account(owner)
    socket = replace(
        rows.socket(owner, name=name, upstream_http_hostname="inner.test"), socket_type=socket_type
    )
    stored = gateway.store.add_socket(socket, ports=rows.PORTS, tunnel_id=f"t-{socket_type}")
    return owner, stored


@pytest.mark.parametrize("socket_type", list(SocketType))
async def test_a_snapshot_is_accepted(gateway: Gateway, socket_type: SocketType) -> None:
    owner, socket = add(gateway, '\u00dcn\u00ef "quoted" \\ \x1b \u2713', socket_type)
    edge = FollowingEdge(gateway.feed.stream(0, "e1"))
    state = await edge.reach(gateway.store.revision())
    assert edge.kinds == [Snapshot]
    assert state.sockets[socket.socket_id].name == socket.name
    assert state.sockets[socket.socket_id].socket_type is socket_type
    assert state.tunnels[f"t-{socket_type}"].user_name == owner.account_id.replace("-", "")
    assert state.trust.issuer == gateway.settings.base_url


async def test_deltas_are_accepted_and_lead_where_a_snapshot_leads(gateway: Gateway) -> None:
    edge = FollowingEdge(gateway.feed.stream(0, "e1"))
    await edge.reach(gateway.store.revision())
    for name, socket_type in (("one", SocketType.HTTP), ("two", SocketType.TLS)):
        _, socket = add(gateway, name, socket_type)
        state = await edge.reach(gateway.store.revision())
        assert state.sockets[socket.socket_id].name == name
    assert Delta in edge.kinds
    other = FollowingEdge(gateway.feed.stream(0, "e2"))
    assert await other.reach(gateway.store.revision()) == edge.state
