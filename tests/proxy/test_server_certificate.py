"""The edge's certificate: asked for in time, kept with its key, kept when nobody answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from proxy.errors import GatewayUnavailable
from proxy.server_certificate import CertificateKeeper, KeyAndChain, load_pair, new_request
from tests.support.edge_gateway import EDGE_KEY, GatewayStandIn
from tests.support.edge_state import Edge

NAMES = ("gateway.localhost", "*.edge.localhost")


@asynccontextmanager
async def keeper(
    gateway: GatewayStandIn, folder: Path, renewed: list[KeyAndChain], at: timedelta = timedelta()
) -> AsyncIterator[CertificateKeeper]:
    """A keeper whose clock is ``at`` ahead."""
    transport = httpx.ASGITransport(gateway.app())
    headers = {"authorization": f"Bearer {EDGE_KEY}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers=headers
    ) as client:
        yield CertificateKeeper(
            client, folder, NAMES, lambda: datetime.now(UTC) + at, renewed.append
        )


@pytest.fixture
def gateway() -> GatewayStandIn:
    return GatewayStandIn(Edge().state())


async def test_a_certificate_is_kept_with_its_key(gateway: GatewayStandIn, tmp_path: Path) -> None:
    renewed: list[KeyAndChain] = []
    async with keeper(gateway, tmp_path, renewed) as it:
        assert it.pair is None
        await it.renew()
    assert load_pair(tmp_path) == renewed[0] == it.pair
    assert renewed[0].names == frozenset(NAMES)
    assert (tmp_path / "server.pem").stat().st_mode & 0o777 == 0o600
    assert renewed[0].key_pem not in repr(renewed[0])


async def test_each_renewal_has_a_new_key(gateway: GatewayStandIn, tmp_path: Path) -> None:
    renewed: list[KeyAndChain] = []
    async with keeper(gateway, tmp_path, renewed) as it:
        await it.renew()
        await it.renew()
    assert renewed[0].key_pem != renewed[1].key_pem


@pytest.mark.parametrize(
    ("ahead", "asked"), [(timedelta(minutes=70), 1), (timedelta(minutes=90), 2)]
)
async def test_renewal_comes_after_two_thirds(
    gateway: GatewayStandIn, tmp_path: Path, ahead: timedelta, asked: int
) -> None:
    """The test's certificates live two hours and a minute."""
    renewed: list[KeyAndChain] = []
    async with keeper(gateway, tmp_path, renewed) as it:
        await it.renew()
    gateway.certificate_life = timedelta(days=30)
    async with keeper(gateway, tmp_path, renewed, ahead) as it:
        running = asyncio.create_task(it.run())
        if asked == 2:
            await gateway.until(lambda: gateway.certificates == 2)
        else:
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert gateway.certificates == asked


async def test_other_names_are_a_reason_to_renew(gateway: GatewayStandIn, tmp_path: Path) -> None:
    renewed: list[KeyAndChain] = []
    gateway.names = [*NAMES, "more.localhost"]
    async with keeper(gateway, tmp_path, renewed) as it:
        await it.renew()
    gateway.names = ["elsewhere.localhost"]
    async with keeper(gateway, tmp_path, renewed) as it:
        with pytest.raises(GatewayUnavailable):
            await it.renew()
    assert load_pair(tmp_path) == renewed[0]


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
async def test_a_damaged_file_is_not_used(
    gateway: GatewayStandIn, tmp_path: Path, content: str
) -> None:
    (tmp_path / "server.pem").write_text(content)
    assert load_pair(tmp_path) is None


async def test_a_certificate_for_another_key_is_refused(gateway: GatewayStandIn) -> None:
    key, _ = new_request(NAMES)
    _, request = new_request(NAMES)
    with pytest.raises(ValueError, match="another key"):
        KeyAndChain.read(key, gateway.authority.sign(request, list(NAMES)))
