"""Rules that take long to make keep nothing else from edges, and are told when they are made."""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from idp_gateway import pending_rules, rule_making
from idp_gateway.address_rules import AddressRules
from idp_gateway.composition import Gateway
from idp_gateway.feed import Feed
from idp_gateway.records import AccountRecord, SocketRecord
from policy.native import SourceRule
from policy.types import SocketType
from tests.idp_gateway.test_feed import FakeEdge
from tests.support import rows

OFFICE, HOME = "192.0.2.0/24", "198.51.100.0/24"
EVERYWHERE = ["0.0.0.0/0", "::/0"]
LONG = AddressRules(
    rule=SourceRule(allow=None, deny=tuple(ip_network((at << 8, 32)) for at in range(800)))
)
"""Ten thousand characters."""


@dataclass(slots=True)
class Slow:
    """Rules of sockets, of which some wait for a sign."""

    allowed: str = OFFICE
    heavy: set[str] = field(default_factory=set)
    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    made: list[str] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    long: set[str] = field(default_factory=set)
    seconds: float = 0
    """How long each making takes."""

    def __call__(self, sockets: Sequence[SocketRecord]) -> Mapping[str, AddressRules]:
        rules = AddressRules(rule=SourceRule(allow=(ip_network(self.allowed),)))
        if self.heavy.intersection(one.socket_id for one in sockets):
            self.begun.set()
            assert self.gate.wait(30)
        if self.failures:
            raise self.failures.pop()
        time.sleep(self.seconds)
        self.made += [one.socket_id for one in sockets]
        return {one.socket_id: LONG if one.socket_id in self.long else rules for one in sockets}


class Edges:
    """A feed with such rules, and an edge that follows it."""

    def __init__(self, gateway: Gateway, slow: Slow) -> None:
        self.gateway, self.slow, self.store = gateway, slow, gateway.store
        self.feed = Feed(
            store=self.store, trust=gateway.trust, http_ports=(80,), clock=gateway.clock,
            address_rules=slow,
        )  # fmt: skip
        self.edge = FakeEdge(gateway)
        self.edge.follow(self.feed)

    def publish(self, owner: AccountRecord, name: str, **fields: Any) -> SocketRecord:
        made = {"socket_type": SocketType.TLS, "cloud_authentication_enabled": True, **fields}
        socket = rows.socket(owner, socket_id=name, dns_name=f"{name}.edge.test", **made)
        return self.store.add_socket(socket, ports=range(30_000, 30_100))

    def change(self, socket: SocketRecord, **changes: Any) -> None:
        """Its epoch goes up."""
        self.store.update_socket(
            socket.account_id, socket.socket_id, changes,
            bump_epoch=True, ports=range(30_000, 30_100), now=rows.NOW,
        )  # fmt: skip

    def acknowledge(self) -> None:
        """The edge serves what it knows."""
        self.feed.serving.acknowledge("e1", self.edge.revision, self.edge.late)

    async def told(self, socket: SocketRecord) -> dict[str, Any]:
        """What the edge knows of a socket when it has everything."""
        async with asyncio.timeout(5):
            while self.edge.revision < self.store.revision():
                await self.edge.next()
        found: dict[str, Any] = self.edge.state["sockets"][socket.socket_id]
        return found


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def edges(gateway: Gateway, slow: Slow) -> Iterator[Edges]:
    made = Edges(gateway, slow)
    yield made
    slow.gate.set()
    made.feed.close()
    made.feed.join()


@pytest.fixture
def owners(gateway: Gateway) -> tuple[AccountRecord, AccountRecord]:
    one, other = rows.account(), rows.account()
    for owner in (one, other):
        gateway.store.add_account(owner)
    return one, other


@contextmanager
def making(slow: Slow, socket: SocketRecord) -> Iterator[None]:
    """The rules of this socket take long; at the end they are made."""
    slow.heavy.add(socket.socket_id)
    yield
    slow.gate.set()


async def test_ones_rules_keep_no_change_of_others_from_edges(
    edges: Edges, slow: Slow, owners: tuple[AccountRecord, AccountRecord]
) -> None:
    heavy, light = edges.publish(owners[0], "heavy"), edges.publish(owners[1], "light")
    assert (await edges.told(heavy))["source_rule"]["allow"] == [OFFICE]
    slow.allowed = HOME
    with making(slow, heavy):
        edges.change(heavy)
        edges.change(light)
        known = await edges.told(light)
        assert (known["epoch"], known["source_rule"]["allow"]) == (2, [HOME])
        # What ends its grants is not late, and its rules are those of before.
        known = await edges.told(heavy)
        assert (known["epoch"], known["source_rule"]["allow"]) == (2, [OFFICE])
        edges.acknowledge()
        assert await edges.feed.serving.settled(0.2, account_id=owners[1].account_id)
        assert not await edges.feed.serving.settled(0.2, account_id=owners[0].account_id)
        assert not await edges.feed.serving.settled(0.2)
    async with asyncio.timeout(5):
        while (await edges.told(heavy))["source_rule"]["allow"] != [HOME]:
            await edges.edge.next()
    edges.acknowledge()
    assert await edges.feed.serving.settled(5, account_id=owners[0].account_id)


async def test_a_new_socket_and_one_of_another_kind_are_closed_until_theirs_are_made(
    edges: Edges, slow: Slow, owners: tuple[AccountRecord, AccountRecord]
) -> None:
    """Rules of a web socket are none, and those for people name what others do not ask for."""
    web = edges.publish(owners[0], "web", socket_type=SocketType.HTTP)
    open_to_all = edges.publish(owners[0], "open", cloud_authentication_enabled=False)
    assert "source_rule" not in await edges.told(web)
    new = edges.publish(owners[0], "new")
    slow.heavy |= {"web", "open", "new"}
    edges.change(web, socket_type=SocketType.TCP)
    edges.change(open_to_all, cloud_authentication_enabled=True)
    for socket in (web, open_to_all, new):
        assert (await edges.told(socket))["source_rule"]["deny"] == EVERYWHERE, socket.name
    slow.gate.set()
    async with asyncio.timeout(5):
        for socket in (web, open_to_all, new):
            while (await edges.told(socket)).get("source_rule", {}).get("allow") != [OFFICE]:
                await edges.edge.next()


async def test_what_changed_again_is_made_as_it_is_now(
    edges: Edges, slow: Slow, owners: tuple[AccountRecord, AccountRecord]
) -> None:
    heavy = edges.publish(owners[0], "heavy")
    await edges.told(heavy)
    slow.made.clear()
    with making(slow, heavy):
        for epoch in range(2, 7):
            edges.change(heavy)
            assert (await edges.told(heavy))["epoch"] == epoch
        slow.allowed = HOME
    async with asyncio.timeout(5):
        while (await edges.told(heavy))["source_rule"]["allow"] != [HOME]:
            await edges.edge.next()
    assert len(slow.made) <= 3  # the first, the last, and maybe what the feed asked for again


async def test_a_database_that_is_away_for_a_moment_is_asked_again(
    edges: Edges, slow: Slow, owners: tuple[AccountRecord, AccountRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(rule_making, "_PAUSE_SECONDS", 0.01)
    socket = edges.publish(owners[0], "one")
    await edges.told(socket)
    slow.failures = [OperationalError("locked", None, Exception())] * 3
    slow.allowed = HOME
    edges.change(socket)
    async with asyncio.timeout(5):
        while (await edges.told(socket))["source_rule"]["allow"] != [HOME]:
            await edges.edge.next()


async def test_a_socket_that_is_gone_is_forgotten(
    edges: Edges, slow: Slow, owners: tuple[AccountRecord, AccountRecord]
) -> None:
    heavy, light = edges.publish(owners[0], "heavy"), edges.publish(owners[0], "light")
    await edges.told(heavy)
    with making(slow, heavy):
        edges.change(heavy)
        await edges.told(heavy)
        assert await asyncio.to_thread(slow.begun.wait, 5)
        edges.store.delete_socket(heavy.account_id, heavy.socket_id, rows.NOW)
        await edges.told(light)
        assert "heavy" not in edges.edge.state["sockets"]
        assert not edges.feed._rules._pending
    async with asyncio.timeout(5):
        while edges.feed._rules._turns:  # noqa: ASYNC110 - in another thread
            await asyncio.sleep(0.01)
    assert not edges.feed._rules._pending
    edges.change(light)
    assert (await edges.told(light))["epoch"] == 2
    assert "heavy" not in edges.edge.state["sockets"]


async def test_in_force_means_the_rules_too_however_late_the_edge_says_so(
    edges: Edges, slow: Slow, owners: tuple[AccountRecord, AccountRecord]
) -> None:
    """It takes a while to serve the line with the old rules; the new ones are told meanwhile."""
    heavy = edges.publish(owners[0], "heavy")
    await edges.told(heavy)
    with making(slow, heavy):
        slow.allowed = HOME
        edges.change(heavy)
        first = edges.store.revision()
        waiting = asyncio.create_task(
            edges.feed.serving.settled(5, account_id=owners[0].account_id)
        )
        assert (await edges.told(heavy))["source_rule"]["allow"] == [OFFICE]
        late = edges.edge.late
    async with asyncio.timeout(5):
        while (await edges.told(heavy))["source_rule"]["allow"] != [HOME]:
            await edges.edge.next()
    edges.feed.serving.acknowledge("e1", first, late)
    await asyncio.sleep(0.3)
    assert not waiting.done()
    edges.acknowledge()
    assert await waiting


async def test_another_gateway_knows_what_this_ones_edges_have_yet_to_hear(
    edges: Edges, slow: Slow, owners: tuple[AccountRecord, AccountRecord]
) -> None:
    heavy = edges.publish(owners[0], "heavy")
    await edges.told(heavy)
    gateway = edges.gateway
    other = Feed(store=edges.store, trust=gateway.trust, http_ports=(80,), clock=gateway.clock)
    with making(slow, heavy):
        edges.change(heavy)
        await edges.told(heavy)
        edges.acknowledge()
        assert not await other.serving.settled(0.2, account_id=owners[0].account_id)
        assert await other.serving.settled(0.2, account_id=owners[1].account_id)
    async with asyncio.timeout(5):
        while not await other.serving.settled(0, account_id=owners[0].account_id):
            await edges.edge.next()
            edges.acknowledge()
    other.close()


class Following(Edges):
    """An edge that takes what there is for a while."""

    async def follow(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                # Not for ever: ``wait_for`` of 3.11 may lose the timeout.
                while time.monotonic() < ends:
                    await self.edge.next()
        except TimeoutError:
            self.edge.follow(self.feed)


async def test_rules_that_change_faster_than_they_are_made_are_told_all_the_same(
    gateway: Gateway, owners: tuple[AccountRecord, AccountRecord]
) -> None:
    slow = Slow(seconds=0.3)
    edges = Following(gateway, slow)
    heavy = edges.publish(owners[0], "heavy")
    await edges.told(heavy)
    slow.allowed = HOME
    for _ in range(8):
        edges.change(heavy)
        await edges.follow(0.2)
    assert edges.edge.state["sockets"]["heavy"]["source_rule"]["allow"] == [HOME]
    edges.feed.close()


async def test_two_gateways_do_not_make_each_other_make_rules(
    gateway: Gateway, owners: tuple[AccountRecord, AccountRecord]
) -> None:
    one, other = Slow(seconds=0.2), Slow(seconds=0.2)
    first, second = Following(gateway, one), Following(gateway, other)
    heavy = first.publish(owners[0], "heavy")
    await first.told(heavy)
    await second.told(heavy)
    one.made.clear()
    other.made.clear()
    first.change(heavy)
    for _ in range(15):
        await first.follow(0.1)
        await second.follow(0.1)
    assert 1 <= len(one.made) <= 2
    assert 1 <= len(other.made) <= 2
    assert not first.feed._rules._pending
    for each in (first, second):
        each.feed.close()


async def test_long_rules_are_told_one_after_the_other_and_short_ones_between(
    edges: Edges, slow: Slow, owners: tuple[AccountRecord, AccountRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An edge reads thousands of networks for as long as everything else waits."""
    long = [edges.publish(owners[0], f"long{at}") for at in range(3)]
    short = edges.publish(owners[1], "short")
    for socket in (*long, short):
        await edges.told(socket)
    slow.long = {socket.socket_id for socket in long}
    slow.allowed = HOME
    monkeypatch.setattr(rule_making, "CHARACTERS_A_SECOND", 5_000)  # two seconds for each

    def told() -> int:
        known = [edges.edge.state["sockets"][one.socket_id] for one in long]
        return sum(len(one["source_rule"]["deny"]) > 0 for one in known)

    for socket in long:
        edges.change(socket)
    async with asyncio.timeout(5):
        while not told():
            await edges.edge.next()
    assert told() == 1
    edges.change(short)
    assert (await edges.told(short))["source_rule"]["allow"] == [HOME]
    assert told() == 1
    assert edges.edge.state["sockets"]["long2"]["epoch"] == 2
    monkeypatch.setattr(rule_making, "CHARACTERS_A_SECOND", 10**9)
    async with asyncio.timeout(10):
        while told() < 3:
            await edges.edge.next()
    assert not edges.feed._rules._pending


async def test_many_short_rules_are_not_one_long_line(
    edges: Edges, slow: Slow, owners: tuple[AccountRecord, AccountRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(pending_rules, "TEXT_AT_ONCE", 100)
    sockets = [edges.publish(owners[0], f"s{at}") for at in range(6)]
    for socket in sockets:
        await edges.told(socket)
    slow.allowed = HOME
    for socket in sockets:
        edges.change(socket)
    message = await edges.edge.next()
    told = [one["source_rule"]["allow"] for one in message["upsert"]["sockets"]]
    assert told.count([HOME]) <= 2
    async with asyncio.timeout(5):
        for socket in sockets:
            while (await edges.told(socket))["source_rule"]["allow"] != [HOME]:
                await edges.edge.next()
    assert not edges.feed._rules._pending
