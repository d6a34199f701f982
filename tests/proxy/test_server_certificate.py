"""The edge's certificate: asked for in time, kept with its key, kept when nobody answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from proxy.errors import GatewayUnavailable
from proxy.server_certificate import CertificateKeeper, KeyAndChain, load_pair, new_request
from tests.support.edge_gateway import EDGE_KEY, GatewayStandIn, SmallAuthority
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


async def told(gateway: GatewayStandIn, renewed: list[KeyAndChain], times: int) -> None:
    """Until a keeper has told so many new pairs."""
    await gateway.until(lambda: gateway.certificates >= times)
    for _ in range(200):
        if len(renewed) == times:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{len(renewed)} instead of {times}")


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


async def test_another_ca_that_signs_is_a_reason_to_renew(
    gateway: GatewayStandIn, tmp_path: Path
) -> None:
    renewed: list[KeyAndChain] = []
    before, after = gateway.authority, SmallAuthority()
    async with keeper(gateway, tmp_path, renewed) as it:
        it.follow(before.root_pem)
        running = asyncio.create_task(it.run())
        await told(gateway, renewed, 1)
        # Published, and not in use yet; then it signs.
        it.follow(before.root_pem + after.root_pem)
        await asyncio.sleep(0.05)
        assert gateway.certificates == 1
        gateway.authority = after
        it.follow(after.root_pem + before.root_pem)
        await told(gateway, renewed, 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    serial = x509.load_pem_x509_certificate(after.root_pem.encode()).serial_number
    assert int(renewed[-1].issuer, 16) == serial


async def test_what_a_ca_signed_that_is_trusted_no_more_is_renewed_though_it_was_asked_for(
    gateway: GatewayStandIn, tmp_path: Path
) -> None:
    """A gateway that had yet to hear of the other one signed with the old one once more."""
    renewed: list[KeyAndChain] = []
    before, after = gateway.authority, SmallAuthority()
    async with keeper(gateway, tmp_path, renewed) as it:
        it.follow(after.root_pem + before.root_pem)
        running = asyncio.create_task(it.run())
        await told(gateway, renewed, 1)
        await asyncio.sleep(0.05)
        assert gateway.certificates == 1
        gateway.authority = after
        it.follow(after.root_pem)
        await told(gateway, renewed, 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    serial = x509.load_pem_x509_certificate(after.root_pem.encode()).serial_number
    assert int(renewed[-1].issuer, 16) == serial


async def test_a_gateway_that_names_another_ca_first_is_asked_once(
    gateway: GatewayStandIn, tmp_path: Path
) -> None:
    """One of an earlier version does, while a key drains."""
    renewed: list[KeyAndChain] = []
    async with keeper(gateway, tmp_path, renewed) as it:
        running = asyncio.create_task(it.run())
        await told(gateway, renewed, 1)
        for pem in (SmallAuthority().root_pem, "", "nonsense", "\u00fc"):
            it.follow(pem + gateway.authority.root_pem)
            await asyncio.sleep(0.1)
        assert gateway.certificates == 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_gateway_that_is_away_when_another_ca_signs_is_asked_again(
    gateway: GatewayStandIn, tmp_path: Path
) -> None:
    renewed: list[KeyAndChain] = []
    async with keeper(gateway, tmp_path, renewed) as it:
        await it.renew()
        names, gateway.names = gateway.names, ["elsewhere.localhost"]
        it.follow(SmallAuthority().root_pem)
        running = asyncio.create_task(it.run())
        await gateway.until(lambda: gateway.certificates == 2)
        gateway.names = names
        await told(gateway, renewed, 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


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
