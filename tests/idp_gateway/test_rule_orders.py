"""Makings that end in other orders than they began: what is told is right in the end."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from idp_gateway.address_rules import AddressRules
from idp_gateway.feed import Feed
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.rule_making import RuleMaking
from idp_gateway.told_rules import Known, Told, key_of
from policy.native import SourceRule
from policy.types import SocketType
from tests.idp_gateway.test_rule_making import HOME, OFFICE, Edges, Slow, edges, owners, slow
from tests.support import rows

__all__ = ["edges", "owners", "slow"]

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
END = BEGIN + timedelta(seconds=1)


def rules(allowed: str, *ends: datetime) -> AddressRules:
    return AddressRules(rule=SourceRule(allow=(ip_network(allowed),)), ends=ends)


class Bench:
    """Rules that are made when a test says so."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.gate, self.begun = threading.Event(), threading.Event()
        self.next_gate: threading.Event | None = None
        self.made, self.ready = rules(OFFICE), dict[tuple[object, ...], AddressRules]()
        self.told: list[str] = []
        self.making = RuleMaking(self.make, self.find, self.tell, lambda: self.now)

    def make(self, sockets: Sequence[SocketRecord]) -> Mapping[str, AddressRules]:
        found = {one.socket_id: self.made for one in sockets}
        self.begun.set()
        gate, self.gate = self.gate, self.next_gate or self.gate
        assert gate.wait(10)
        return found

    def find(self, sockets: Sequence[SocketRecord]) -> Mapping[str, AddressRules]:
        found = {one.socket_id: self.ready.get(key_of(one)) for one in sockets}
        return {key: one for key, one in found.items() if one is not None}

    def tell(self, socket_ids: object, _at: datetime) -> None:
        self.told += list(socket_ids)  # type: ignore[call-overload]

    def ask(self, socket: SocketRecord, known: Known | None) -> Told | None:
        found = self.making.of([socket], {} if known is None else {socket.socket_id: known})
        return found.get(socket.socket_id)

    def begin(self, socket: SocketRecord, known: Known | None) -> None:
        """Its rules are asked for, and being made."""
        assert self.ask(socket, known) is None
        assert self.begun.wait(5)
        self.begun.clear()

    def until(self, condition: Callable[[], bool]) -> None:
        ends = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < ends
            time.sleep(0.01)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def socket() -> SocketRecord:
    return rows.socket(
        rows.account(), socket_id="x", socket_type=SocketType.TLS,
        cloud_authentication_enabled=True,
    )  # fmt: skip


def known(socket: SocketRecord, found: AddressRules, number: int = 0) -> Known:
    return Known(key_of(socket), found.members(socket), number)


def after(socket: SocketRecord, epochs: int = 1) -> SocketRecord:
    return replace(socket, epoch=socket.epoch + epochs)


def test_what_ended_meanwhile_is_made_again_though_the_socket_is_the_same(
    bench: Bench, socket: SocketRecord
) -> None:
    before = known(socket, rules("10.0.0.0/8"))
    changed = after(socket)
    bench.made = rules(OFFICE, END)
    bench.begin(changed, before)
    bench.now = END
    bench.made = rules(HOME)
    renamed = replace(changed, name="other")
    assert bench.ask(renamed, before) is None
    bench.gate.set()
    bench.until(lambda: bench.told != [])
    told = bench.ask(renamed, before)
    if told is not None and told.rules.ends:  # older than what is right, but newer than before
        bench.until(lambda: len(bench.told) > 1)
        told = bench.ask(renamed, known(renamed, told.rules, told.number))
    assert told is not None
    assert told.rules.rule.allow == (ip_network(HOME),)
    bench.making.close()


def test_nothing_older_is_told_after_something_newer(bench: Bench, socket: SocketRecord) -> None:
    first, bench.next_gate = bench.gate, threading.Event()
    bench.begin(after(socket), known(socket, rules("10.0.0.0/8")))
    newer = bench.ready[key_of(after(socket, 2))] = rules(HOME)
    told = bench.ask(after(socket, 2), known(socket, rules("10.0.0.0/8")))
    assert told is not None
    assert told.rules is newer
    now = known(after(socket, 2), newer, told.number)
    bench.made = rules("203.0.113.0/24")
    assert bench.ask(after(socket, 3), now) is None
    first.set()
    assert bench.begun.wait(5)  # the next, so the first has ended
    assert bench.ask(after(socket, 3), now) is None
    bench.next_gate.set()
    bench.until(lambda: bench.told != [])
    told = bench.ask(after(socket, 3), now)
    assert told is not None
    assert told.rules is bench.made
    bench.making.close()


def test_rules_for_people_are_not_told_of_a_socket_that_asks_nobody_any_more(
    bench: Bench, socket: SocketRecord
) -> None:
    bench.begin(after(socket), known(socket, rules("10.0.0.0/8")))
    public = replace(after(socket, 2), cloud_authentication_enabled=False)
    people, bench.made = bench.made, rules(HOME)
    assert bench.ask(public, None) is None
    bench.gate.set()
    bench.until(lambda: bench.told != [])
    told = bench.ask(public, None)
    assert told is not None
    assert told.rules is not people
    bench.making.close()


def test_what_turns_out_to_be_known_while_another_is_waited_for(
    bench: Bench, socket: SocketRecord
) -> None:
    now = known(socket, bench.made)
    bench.begin(socket, now)
    bench.ready[key_of(socket)] = rules(HOME)
    other = rows.socket(rows.account(), socket_id="y", socket_type=SocketType.TCP)
    threading.Timer(0.03, bench.gate.set).start()
    told = bench.making.of([socket, other], {"x": now})
    assert told["x"].rules.rule.allow == (ip_network(HOME),)
    bench.making.close()


async def test_an_edge_of_before_hears_what_a_gateway_that_ended_was_to_tell(
    edges: Edges, slow: Slow, owners: tuple[AccountRecord, AccountRecord]
) -> None:
    heavy = edges.publish(owners[0], "heavy")
    await edges.told(heavy)
    slow.heavy.add("heavy")
    edges.change(heavy)
    assert (await edges.told(heavy))["source_rule"]["allow"] == [OFFICE]
    edges.feed.close()
    another = Feed(
        store=edges.store, trust=edges.gateway.trust, http_ports=(80,),
        clock=edges.gateway.clock, address_rules=Slow(allowed=HOME),
    )  # fmt: skip
    edges.edge.follow(another)
    async with asyncio.timeout(5):
        while edges.edge.state["sockets"]["heavy"]["source_rule"]["allow"] != [HOME]:
            await edges.edge.next()
    another.close()
