"""Acknowledgements of revisions: never before Envoy's, and not lost when a call fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from proxy.acknowledge import Acknowledgements
from proxy.envoy.discovery import DiscoveryServer
from proxy.envoy.errors import DiscoveryRejectedError
from tests.support.edge_gateway import EDGE_KEY, GatewayStandIn
from tests.support.edge_state import Edge


@dataclass
class EnvoyStandIn:
    """Says when a publication is in force."""

    in_force: int = 0
    refusal: str = ""
    asked: int = 0
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_acked(self, publication: int, _seconds: float) -> None:
        async with self.progress:
            self.asked = publication
            self.progress.notify_all()
            await self.progress.wait_for(lambda: self.in_force >= publication)
        if self.refusal:
            raise DiscoveryRejectedError(self.refusal)

    async def until_asked(self, publication: int) -> None:
        async with asyncio.timeout(5), self.progress:
            await self.progress.wait_for(lambda: self.asked >= publication)

    async def has(self, publication: int) -> None:
        async with self.progress:
            self.in_force = publication
            self.progress.notify_all()


@asynccontextmanager
async def acknowledging(
    folder: Path, envoy: EnvoyStandIn, ready: list[str]
) -> AsyncIterator[Acknowledgements]:
    client = httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(folder / "gateway.sock")),
        base_url="http://gateway",
        headers={"authorization": f"Bearer {EDGE_KEY}"},
    )
    acknowledgements = Acknowledgements(
        client, "edge-1", envoy.wait_acked, lambda: ready.append("ready"), retry=0.05
    )
    async with client:
        task = asyncio.create_task(acknowledgements.run())
        try:
            yield acknowledgements
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_the_gateway_hears_of_a_revision_after_envoy_has_it(folder: Path) -> None:
    gateway, envoy, ready = GatewayStandIn(Edge().state()), EnvoyStandIn(), list[str]()
    async with (
        gateway.serving(folder / "gateway.sock"),
        acknowledging(folder, envoy, ready) as acknowledgements,
    ):
        acknowledgements.published(1, 41)
        await envoy.until_asked(1)
        await asyncio.sleep(0.1)  # enough for an acknowledgement that does not wait
        assert (gateway.acks, ready) == ([], [])
        await envoy.has(1)
        await gateway.until(lambda: gateway.acks == [41], seconds=5)
        acknowledgements.published(2, 42)
        await envoy.until_asked(2)
        await asyncio.sleep(0.1)
        assert gateway.acks == [41]
        await envoy.has(2)
        await gateway.until(lambda: gateway.acks == [41, 42], seconds=5)
        assert ready == ["ready"]


async def test_the_gateway_hears_whose_rules_are_late_and_when_none_are(folder: Path) -> None:
    """At one revision too: another gateway may have told the newer ones."""
    gateway, envoy = GatewayStandIn(Edge().state()), EnvoyStandIn(in_force=9)
    async with (
        gateway.serving(folder / "gateway.sock"),
        acknowledging(folder, envoy, []) as acknowledgements,
    ):
        for publication, late in enumerate([("db", "wiki"), None, ()], 1):
            acknowledgements.published(publication, 41, late)
            known = publication
            await gateway.until(lambda known=known: len(gateway.acks) == known, seconds=5)
    assert gateway.acks == [41] * 3
    assert gateway.late == [["db", "wiki"], None, []]


async def test_no_envoy_means_no_acknowledgement(folder: Path) -> None:
    discovery = DiscoveryServer(folder / "xds.sock")
    envoy = EnvoyStandIn()

    async def wait_acked(publication: int, _seconds: float) -> None:
        await envoy.wait_acked(publication, 0)
        await discovery.wait_acked(publication, 0.01)

    gateway, ready = GatewayStandIn(Edge().state()), list[str]()
    envoy.in_force = 9
    async with gateway.serving(folder / "gateway.sock"):
        client = httpx.AsyncClient()
        acknowledgements = Acknowledgements(
            client, "edge-1", wait_acked, lambda: ready.append("ready")
        )
        acknowledgements.published(1, 41)
        with contextlib.suppress(TimeoutError):
            async with client, asyncio.timeout(0.2):
                await acknowledgements.run()
    assert (gateway.acks, ready) == ([], [])


async def test_an_acknowledgement_that_was_lost_is_sent_again(folder: Path) -> None:
    gateway, envoy = GatewayStandIn(Edge().state()), EnvoyStandIn(in_force=9)
    async with acknowledging(folder, envoy, []) as acknowledgements:
        acknowledgements.published(1, 41)
        await envoy.until_asked(1)
        await asyncio.sleep(0.1)  # nobody answers: at least one is lost
        async with gateway.serving(folder / "gateway.sock"):
            await gateway.until(lambda: gateway.acks == [41], seconds=5)


async def test_another_gateway_is_told_again_and_the_same_one_is_not(folder: Path) -> None:
    gateway, envoy = GatewayStandIn(Edge().state()), EnvoyStandIn(in_force=9)
    async with (
        gateway.serving(folder / "gateway.sock"),
        acknowledging(folder, envoy, []) as acknowledgements,
    ):
        acknowledgements.published(1, 41)
        await gateway.until(lambda: gateway.acks == [41], seconds=5)
        acknowledgements.published(2, 41)
        await envoy.until_asked(2)
        acknowledgements.gateway_changed()
        await gateway.until(lambda: gateway.acks == [41, 41], seconds=5)


async def test_one_refused_socket_does_not_hold_up_the_rest(folder: Path) -> None:
    gateway = GatewayStandIn(Edge().state())
    envoy = EnvoyStandIn(in_force=9, refusal="tcp-20000: cannot bind")
    async with (
        gateway.serving(folder / "gateway.sock"),
        acknowledging(folder, envoy, []) as acknowledgements,
    ):
        acknowledgements.published(1, 41)
        await gateway.until(lambda: gateway.acks == [41], seconds=5)


async def test_without_the_web_listener_nothing_is_in_force(folder: Path) -> None:
    gateway, ready = GatewayStandIn(Edge().state()), list[str]()
    envoy = EnvoyStandIn(in_force=9, refusal="https: cannot bind")
    async with (
        gateway.serving(folder / "gateway.sock"),
        acknowledging(folder, envoy, ready) as acknowledgements,
    ):
        acknowledgements.published(1, 41)
        await envoy.until_asked(1)
        await asyncio.sleep(0.1)
    assert (gateway.acks, ready) == ([], [])
