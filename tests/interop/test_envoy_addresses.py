"""Rules about addresses in the real Envoy: a grant for one place does not work from another.

The whole of 127.0.0.0/8 is this machine, so a client picks its own address.
"""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import pytest_asyncio

from policy.types import IPNetwork, SocketType
from proxy.envoy.access_log import NO_CHAIN, FlowRecord
from proxy.state import EdgeSocket, SourceRule
from tests.support.envoy import DOMAIN, GATEWAY, Edge, a_socket, running_edge
from tests.support.processes import free_port
from tests.support.tiny_http import Answer, Message, read_message, request_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")

BANNER = b"SSH-2.0-first\r\n"
INSIDE, OUTSIDE, DENIED, ELSEWHERE = "127.0.1.7", "127.0.0.2", "127.0.1.200", "127.3.0.1"
OFFICE, LAB = "0123456789abcdef", "fedcba9876543210"
LOGIN = Answer(status=302, headers=(("location", f"https://{GATEWAY}/login/socket"),), body=b"go")


def networks(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(text) for text in texts)


SETS = {OFFICE: networks("127.0.1.0/25"), LAB: networks("127.0.0.0/23", "::1/128")}


def tls_socket(name: str, **changes: object) -> EdgeSocket:
    return a_socket(name, socket_type=SocketType.TLS, ports=(free_port(),), **changes)


def tcp_socket(name: str, **changes: object) -> EdgeSocket:
    changes = {"identity_required": False, **changes}
    return a_socket(name, socket_type=SocketType.TCP, ports=(free_port(),), **changes)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    folder: Path = tmp_path_factory.mktemp("e")
    office = networks("127.0.1.0/24")
    near = SourceRule(allow=office, deny=networks(f"{DENIED}/32"))
    async with running_edge(folder) as running:
        await running.add(tls_socket("sets", source_sets=SETS), greeting=BANNER)
        await running.add(
            tls_socket("near", source_rule=near, source_sets={OFFICE: SETS[OFFICE]}),
            greeting=BANNER,
        )
        deny = SourceRule(deny=networks(f"{DENIED}/32"))
        await running.add(
            tls_socket("anon", identity_required=False, source_rule=deny), greeting=BANNER
        )
        await running.add(
            tls_socket(
                "six", source_sets={OFFICE: networks("::/0"), LAB: networks("127.0.1.7/32")}
            ),
            greeting=BANNER,
        )
        await running.add(tcp_socket("raw", source_rule=near), greeting=BANNER)
        await running.add(a_socket("app"))
        running.answers[f"app.{DOMAIN}"] = LOGIN
        yield running


def uri(name: str, source_id: str = "") -> str:
    plain = f"urn:mysocket:socket:{name}:1"
    return f"{plain}:from:{source_id}" if source_id else plain


async def talk(
    edge: Edge, name: str, address: str, uris: Sequence[str] | None, host: str = "127.0.0.1"
) -> bytes:
    """The banner and an echo for a client at ``address``, or what came before it was refused."""
    tls = None
    if edge.sockets[name].socket_type is SocketType.TLS:
        tls = edge.client_tls()
        if uris:
            tls.load_cert_chain(edge.authority.client(edge.folder, *uris))
    received = b""
    try:
        reader, writer = await asyncio.open_connection(
            host,
            edge.sockets[name].ports[0],
            ssl=tls,
            server_hostname=f"{name}.{DOMAIN}" if tls else None,
            local_addr=(address, 0),
        )
        try:
            async with asyncio.timeout(5):
                received = await reader.read(100)
                if received:
                    writer.write(b"ping")
                    received += await reader.readexactly(4)
        finally:
            writer.close()
    except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
        pass
    return received


@pytest.mark.parametrize(
    ("name", "address", "uris", "enters"),
    [
        ("sets", INSIDE, (uri("sets", OFFICE),), True),
        ("sets", INSIDE, (uri("sets", LAB),), True),
        ("sets", INSIDE, (uri("sets"),), True),
        ("sets", OUTSIDE, (uri("sets"),), True),
        ("sets", ELSEWHERE, (uri("sets"),), True),
        ("sets", OUTSIDE, (uri("sets", LAB),), True),
        ("sets", OUTSIDE, (uri("sets", OFFICE),), False),
        ("sets", DENIED, (uri("sets", OFFICE),), False),
        ("sets", OUTSIDE, (uri("sets", OFFICE), uri("sets", LAB)), True),
        ("sets", ELSEWHERE, (uri("sets", OFFICE), uri("sets", LAB)), False),
        ("sets", INSIDE, (uri("sets", "0" * 16),), False),
        ("sets", INSIDE, (uri("near", OFFICE),), False),
        ("near", INSIDE, (uri("near", OFFICE),), True),
        ("near", INSIDE, (uri("near"),), True),
        ("near", "127.0.1.130", (uri("near", OFFICE),), False),
        ("near", "127.0.1.130", (uri("near"),), True),
        ("near", DENIED, (uri("near"),), False),
        ("near", OUTSIDE, (uri("near"),), False),
        ("six", INSIDE, (uri("six", OFFICE),), False),
        ("six", INSIDE, (uri("six", LAB),), True),
        ("six", OUTSIDE, (uri("six", LAB),), False),
        ("six", OUTSIDE, (uri("six"),), True),
        ("anon", INSIDE, None, True),
        ("anon", DENIED, None, False),
        ("raw", INSIDE, None, True),
        ("raw", OUTSIDE, None, False),
        ("raw", DENIED, None, False),
    ],
)
async def test_who_may_enter_from_where(
    edge: Edge, name: str, address: str, uris: Sequence[str] | None, *, enters: bool
) -> None:
    """The origin speaks first, so one connection too many would be a banner too many."""
    origin = edge.origins[name]
    before = origin.connections
    assert await talk(edge, name, address, uris) == (BANNER + b"ping" if enters else b"")
    assert origin.connections == before + enters


async def test_without_a_network_nobody_enters_and_one_day_somebody_does(edge: Edge) -> None:
    shut = tls_socket("shut", source_rule=SourceRule(allow=()))
    await edge.add(shut, greeting=BANNER)
    assert await talk(edge, "shut", INSIDE, (uri("shut"),)) == b""
    edge.sockets["shut"] = replace(shut, source_rule=SourceRule(allow=networks("127.0.1.7/32")))
    await edge.apply()
    assert await talk(edge, "shut", OUTSIDE, (uri("shut"),)) == b""
    assert edge.origins["shut"].connections == 0
    assert await talk(edge, "shut", INSIDE, (uri("shut"),)) == BANNER + b"ping"


@pytest.mark.parametrize("name", ["raw", "anon"])
async def test_who_comes_from_where_nobody_may_is_on_record(edge: Edge, name: str) -> None:
    beginning = dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=1)
    assert await talk(edge, name, DENIED, None) == b""
    while (record := await edge.record()).started_at < beginning or record.socket_id != name:
        pass
    assert (record.client, record.refused, record.upstream) == (DENIED, NO_CHAIN, "")


async def test_rules_too_large_close_the_socket_and_say_so(edge: Edge) -> None:
    single = tuple(ip_network((0x0A000000 + 2 * at, 32)) for at in range(20_001))
    made = tcp_socket("vast", source_rule=SourceRule(allow=single))
    await edge.add(made, greeting=BANNER)
    assert edge.resources
    assert edge.resources.refused["vast"] == "source-rules-too-large"
    assert await talk(edge, "vast", INSIDE, None) == b""
    fits = SourceRule(allow=(*single[:19_999], *networks("127.0.1.7/32")))
    edge.sockets["vast"] = replace(made, source_rule=fits)
    await edge.apply()
    assert await talk(edge, "vast", INSIDE, None) == BANNER + b"ping"
    assert await talk(edge, "vast", OUTSIDE, None) == b""


async def test_who_was_kept_out_is_on_record(edge: Edge) -> None:
    beginning = dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=1)
    await talk(edge, "raw", OUTSIDE, None)
    await talk(edge, "near", "127.0.1.130", (uri("near", OFFICE),))
    found: dict[str, FlowRecord] = {}
    while len(found) < 2:
        record = await edge.record()
        if record.started_at >= beginning:
            found[record.socket_id] = record
    raw, near = found["raw"], found["near"]
    assert (raw.client, raw.refused, raw.email) == (OUTSIDE, NO_CHAIN, "")
    assert (near.client, near.email) == ("127.0.1.130", "alice@example.com")
    assert uri("near", OFFICE) in near.refused


async def get(
    edge: Edge, address: str, *headers: tuple[str, str], host: str = "127.0.0.1"
) -> Message:
    """A request to ``app`` from one of our own addresses."""
    reader, writer = await asyncio.open_connection(
        host,
        edge.settings.https_port,
        ssl=edge.client_tls(),
        server_hostname=f"app.{DOMAIN}",
        local_addr=(address, 0),
    )
    try:
        writer.write(request_bytes(f"app.{DOMAIN}", "/", headers))
        async with asyncio.timeout(15):
            return await read_message(reader)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("claim", "passes"),
    [
        (f"{INSIDE}:", True),
        ("127.0.1.70:", False),
        ("127.0.1.77:", False),
        ("[::1]:", False),
        (f"[::ffff:{INSIDE}]:", False),
        (1270, False),
        ([f"{INSIDE}:"], False),
    ],
)
async def test_a_session_for_one_address_is_asked_about_at_another(
    edge: Edge, claim: object, *, passes: bool
) -> None:
    origin, asked = edge.origins["app"], len(edge.gateway.requests)
    served = len(origin.requests)
    session = ("cookie", edge.session("app", addr=claim))
    assert (await get(edge, INSIDE, session)).status == (200 if passes else 302)
    assert len(origin.requests) == served + passes
    assert len(edge.gateway.requests) == asked + (not passes)


async def test_a_session_that_moves_is_asked_about_with_its_new_address(edge: Edge) -> None:
    session = ("cookie", edge.session("app", addr=f"{INSIDE}:"))
    served = len(edge.origins["app"].requests)
    for address in (OUTSIDE, "127.0.1.70", ELSEWHERE):
        forged = ("x-forwarded-for", INSIDE)
        assert (await get(edge, address, session, forged)).status == 302
        assert edge.gateway.requests[-1].one("x-forwarded-for") == address
    assert len(edge.origins["app"].requests) == served


@pytest.mark.parametrize("hops", [1, 2])
async def test_behind_a_proxy_of_ours_both_see_the_address_it_names(
    tmp_path: Path, hops: int
) -> None:
    """The claim is compared with what the gateway is told, whoever is at the other end."""
    client, proxies = "198.51.100.7", ["203.0.113.1"] * (hops - 1)
    async with running_edge(tmp_path, trusted_hops=hops) as edge:
        origin = await edge.add(a_socket("app"))
        edge.answers[f"app.{DOMAIN}"] = LOGIN
        forwarded = ("x-forwarded-for", ", ".join(["10.9.9.9", client, *proxies]))
        there = ("cookie", edge.session("app", addr=f"{client}:"))
        assert (await get(edge, INSIDE, there, forwarded)).status == 200
        assert edge.gateway.requests == []
        for claim in (f"{INSIDE}:", "10.9.9.9:", "198.51.100.70:"):
            session = ("cookie", edge.session("app", addr=claim))
            assert (await get(edge, INSIDE, session, forwarded)).status == 302
            assert edge.gateway.requests[-1].one("x-forwarded-for") == client
        # An IPv6 client is written in one way only, however the proxy wrote it.
        long = ("x-forwarded-for", ", ".join(["2001:0DB8:0:0::0001", *proxies]))
        six = ("cookie", edge.session("app", addr="[2001:db8::1]:"))
        assert (await get(edge, INSIDE, six, long)).status == 200
        assert (await get(edge, INSIDE, there, long)).status == 302
        assert edge.gateway.requests[-1].one("x-forwarded-for") == "2001:db8::1"
        assert len(origin.requests) == 2


async def test_the_same_holds_for_ipv6(tmp_path: Path) -> None:
    async with running_edge(tmp_path, listen_address="::1") as edge:
        await edge.add(tls_socket("sets", source_sets=SETS), greeting=BANNER)
        await edge.add(a_socket("app"))
        edge.answers[f"app.{DOMAIN}"] = LOGIN
        entered = BANNER + b"ping"
        assert await talk(edge, "sets", "::1", (uri("sets", LAB),), "::1") == entered
        assert await talk(edge, "sets", "::1", (uri("sets"),), "::1") == entered
        assert await talk(edge, "sets", "::1", (uri("sets", OFFICE),), "::1") == b""
        assert edge.origins["sets"].connections == 2
        for claim, status in (("[::1]:", 200), ("127.0.0.1:", 302), ("::1:", 302)):
            session = ("cookie", edge.session("app", addr=claim))
            assert (await get(edge, "::1", session, host="::1")).status == status, claim
