"""Reports of connected tunnels: whole ones, changes, and what happens when one is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from proxy import report
from proxy.report import TunnelReports
from proxy.tunnels.table import ConnectedTunnel, Endpoint, TunnelTable
from tests.support.edge_gateway import EDGE_KEY, GatewayStandIn
from tests.support.edge_state import Edge, edge_tunnel

NEVER = 3600.0


@dataclass
class Reporting:
    """Reports of a real table to a gateway on a unix socket."""

    gateway: GatewayStandIn
    table: TunnelTable
    reports: TunnelReports

    async def attach(self, tunnel_id: str) -> Endpoint:
        tunnel = edge_tunnel(tunnel_id, 10001)
        return await self.table.attach(tunnel, "192.0.2.1", asyncio.Protocol, lambda _reason: None)

    async def until(self, condition: Callable[[], bool]) -> None:
        await self.gateway.until(condition, seconds=5)


@asynccontextmanager
async def reporting(folder: Path, *, interval: float = NEVER) -> AsyncIterator[Reporting]:
    gateway = GatewayStandIn(Edge().state())

    def changed(connected: ConnectedTunnel) -> None:
        reports.changed(connected.tunnel_id)

    table = TunnelTable(folder / "t", lambda: datetime.now(UTC), changed)
    table.prepare()
    client = httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(folder / "gateway.sock")),
        base_url="http://gateway",
        headers={"authorization": f"Bearer {EDGE_KEY}"},
    )
    reports = TunnelReports(client, "edge-1", table, interval, retry=0.05)
    async with client:
        task = asyncio.create_task(reports.run())
        try:
            yield Reporting(gateway, table, reports)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            table.close()


async def test_a_change_is_reported_alone_and_many_at_once(folder: Path) -> None:
    async with reporting(folder) as edge, edge.gateway.serving(folder / "gateway.sock"):
        await edge.until(lambda: len(edge.gateway.reports) == 1)
        kept = await edge.attach("t-1")
        await edge.until(lambda: set(edge.gateway.connected) == {"t-1"})
        others = [await edge.attach(f"t-{number}") for number in range(2, 40)]
        await edge.until(lambda: len(edge.gateway.connected) == 39)
        for other in others:
            edge.table.detach(other)
        await edge.until(lambda: set(edge.gateway.connected) == {"t-1"})
        sent = edge.gateway.reports
        assert kept.connected.connected_at.isoformat() in str(sent[1])
        kinds = [set(one) - {"edge_id"} for one in sent[1:]]
        assert all(kind in ({"changed"}, {"gone"}) for kind in kinds)
        assert len(kinds) < 10
        assert [one["tunnel_id"] for one in sent[1]["changed"]] == ["t-1"]


async def test_everything_is_reported_again_in_time(folder: Path) -> None:
    async with (
        reporting(folder, interval=0.2) as edge,
        edge.gateway.serving(folder / "gateway.sock"),
    ):
        await edge.attach("t-1")
        await edge.until(lambda: [set(one) for one in edge.gateway.reports].count(WHOLE) >= 3)
        assert set(edge.gateway.connected) == {"t-1"}


WHOLE = {"edge_id", "ssh_host_key", "server_ca", "tunnels"}


async def test_a_lost_report_is_made_up_for(folder: Path) -> None:
    async with reporting(folder) as edge:
        async with edge.gateway.serving(folder / "gateway.sock"):
            await edge.until(lambda: len(edge.gateway.reports) == 1)
        await edge.attach("t-1")
        await asyncio.sleep(0.1)  # long enough for a report to be lost
        async with edge.gateway.serving(folder / "gateway.sock"):
            await edge.until(lambda: set(edge.gateway.connected) == {"t-1"})
            assert set(edge.gateway.reports[-1]) == WHOLE


async def test_a_gateway_that_takes_whole_reports_alone_gets_them(folder: Path) -> None:
    async with reporting(folder) as edge, edge.gateway.serving(folder / "gateway.sock"):
        edge.gateway.old = True
        await edge.until(lambda: len(edge.gateway.reports) == 1)
        for number in range(1, 4):
            await edge.attach(f"t-{number}")
            await edge.until(lambda: len(edge.gateway.connected) == number)  # noqa: B023


async def test_a_gateway_that_comes_back_is_told_everything(folder: Path) -> None:
    async with reporting(folder) as edge, edge.gateway.serving(folder / "gateway.sock"):
        await edge.attach("t-1")
        await edge.until(lambda: set(edge.gateway.connected) == {"t-1"})
        edge.gateway.connected.clear()
        edge.reports.gateway_changed()
        await edge.until(lambda: set(edge.gateway.connected) == {"t-1"})


async def test_whose_certificate_the_edge_shows_is_told_at_once(folder: Path) -> None:
    async with reporting(folder) as edge, edge.gateway.serving(folder / "gateway.sock"):
        await edge.until(lambda: len(edge.gateway.reports) == 1)
        edge.reports.certified_by("1f")
        await edge.until(lambda: edge.gateway.reports[-1].get("server_ca") == "1f")
        assert set(edge.gateway.reports[-1]) == WHOLE


async def test_no_list_is_longer_than_the_gateway_takes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MAX_ENTRIES", 2)
    async with reporting(folder) as edge, edge.gateway.serving(folder / "gateway.sock"):
        endpoints = [await edge.attach(f"t-{number}") for number in range(5)]
        edge.reports.gateway_changed()
        await edge.until(lambda: len(edge.gateway.connected) == 5)
        for endpoint in endpoints:
            edge.table.detach(endpoint)
        await edge.until(lambda: not edge.gateway.connected)
        lists = [one for sent in edge.gateway.reports for one in sent.values()]
        assert max(len(one) for one in lists if isinstance(one, list)) == 2
