"""What makes the agent publish: tunnels that come together share a publication."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from proxy.agent import Agent
from proxy.composition import envoy_settings
from proxy.envoy.resources import Resources
from proxy.envoy.settings import EnvoySettings
from proxy.server_certificate import KeyAndChain, new_request
from proxy.settings import EdgeSettings
from tests.support.edge_gateway import SmallAuthority
from tests.support.edge_state import Edge, edge_socket, edge_tunnel

MANY = 60


@dataclass
class Published:
    """An agent's loop, and what it hands to the discovery server."""

    agent: Agent
    versions: list[Resources] = field(default_factory=list)
    another: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, resources: Resources, _publication: int) -> None:
        self.versions.append(resources)
        self.another.set()

    async def until(self, path: str) -> None:
        """Wait until an endpoint of which this is a part is published."""
        async with asyncio.timeout(10):
            while not any(path.encode() in content for content in self.contents()):
                self.another.clear()
                await self.another.wait()

    def contents(self) -> list[bytes]:
        groups = self.versions[-1].sockets.values() if self.versions else ()
        return [resource.content for group in groups for resource in group.values()]


@pytest.fixture
async def published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Published]:
    (folder / "edge.key").write_text("key")
    settings = EdgeSettings(
        state_dir=folder / "state", run_dir=folder / "run", edge_key_file=folder / "edge.key"
    )
    envoy: EnvoySettings = envoy_settings(settings, "key")
    async with httpx.AsyncClient() as client:
        agent = Agent(settings, envoy, client, lambda: datetime.now(UTC))
        edge = Edge(
            sockets=[edge_socket(f"s{number}") for number in range(MANY)],
            tunnels=[edge_tunnel(f"t-{number}", 10001, f"s{number}-id") for number in range(MANY)],
        )
        names = ["gateway.localhost"]
        key_pem, request = new_request(names)
        chain = SmallAuthority().sign(request, names, timedelta(hours=1))
        agent._keeper.pair = KeyAndChain.read(key_pem, chain)
        agent._on_state(edge.state())
        agent.table.prepare()
        loop = Published(agent)
        monkeypatch.setattr(agent._discovery, "publish", loop.publish)
        task = asyncio.create_task(agent._loop())
        try:
            yield loop
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            agent.table.close()


async def attach(agent: Agent, number: int) -> None:
    tunnel = edge_tunnel(f"t-{number}", 10001, f"s{number}-id")
    await agent.table.attach(tunnel, "192.0.2.1", asyncio.Protocol, lambda _reason: None)


async def test_tunnels_that_come_back_together_share_publications(published: Published) -> None:
    await attach(published.agent, 0)
    await published.until("/t-0.sock")
    before = len(published.versions)
    for number in range(1, MANY):
        await attach(published.agent, number)
        await asyncio.sleep(0)
    await published.until(f"/t-{MANY - 1}.sock")
    assert len(published.versions) - before < MANY / 4
    assert all(f"/t-{number}.sock".encode() in b"".join(published.contents()) for number in (1, 9))


async def test_a_socket_that_did_not_change_is_not_built_again(published: Published) -> None:
    await attach(published.agent, 0)
    await published.until("/t-0.sock")
    earlier = published.versions[-1]
    await attach(published.agent, 1)
    await published.until("/t-1.sock")
    same = [
        one
        for one, group in published.versions[-1].sockets.items()
        if earlier.sockets[one] is group
    ]
    assert len(same) == MANY - 1
