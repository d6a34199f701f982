"""Rules that are not made yet, or cannot be made now: who waits for them, and what edges hear."""

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from idp_gateway import feed as feed_module
from idp_gateway import pending_rules, rule_making
from idp_gateway.address_rules import RememberedRules
from idp_gateway.composition import Gateway
from idp_gateway.feed import Feed
from idp_gateway.making_turns import MAKERS, SLOW_FOR_SECONDS, MakingTurns
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.told_rules import key_of
from policy.policy_set import PolicySet
from policy.types import SocketType
from tests.idp_gateway.test_feed import FakeEdge
from tests.idp_gateway.test_rule_making import (
    EVERYWHERE,
    HOME,
    OFFICE,
    Edges,
    Slow,
    edges,
    owners,
    slow,
)
from tests.idp_gateway.test_rule_orders import END, Bench, after, bench, known, rules, socket
from tests.support import rows
from tests.support.rows import owner_with_socket

__all__ = ["bench", "edges", "owners", "slow", "socket"]

Owners = tuple[AccountRecord, AccountRecord]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again, is so soon; a start waits as long as anything else."""
    monkeypatch.setattr(pending_rules, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(rule_making, "PATIENCE_AT_FIRST_SECONDS", 0.1)


def feed_of(edges: Edges, slow: Slow) -> Feed:
    return Feed(
        store=edges.store, trust=edges.gateway.trust, http_ports=(80,), clock=edges.gateway.clock,
        address_rules=slow,
    )  # fmt: skip


@pytest.mark.usefixtures("quick")
async def test_a_start_waits_for_nobodys_rules(edges: Edges, slow: Slow, owners: Owners) -> None:
    """An edge that has newer rules than none keeps them; those that are made are told."""
    heavy, light = edges.publish(owners[0], "heavy"), edges.publish(owners[1], "light")
    await edges.told(heavy)
    started = Slow(allowed=HOME, heavy={"heavy"})
    another = feed_of(edges, started)
    edges.edge.follow(another)
    await edges.edge.next()
    sockets = edges.edge.state["sockets"]
    assert sockets["light"]["source_rule"]["allow"] == [HOME]
    assert sockets["heavy"]["source_rule"]["deny"] == EVERYWHERE
    assert edges.edge.late == ("heavy",)
    assert "rules_version" not in sockets["heavy"]
    assert sockets["heavy"]["rules_wanted"] == key_of(heavy).version
    edges.change(light)
    assert (await edges.told(light))["epoch"] == 2
    started.gate.set()
    async with asyncio.timeout(5):
        while edges.edge.late:
            await edges.edge.next()
    assert edges.edge.state["sockets"]["heavy"]["source_rule"]["allow"] == [HOME]
    another.close()


@pytest.mark.usefixtures("quick")
async def test_a_look_that_failed_makes_nobodys_rules_of_before_unknown(
    edges: Edges, slow: Slow, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy = edges.publish(owners[0], "heavy")
    await edges.told(heavy)
    slow.heavy.add("heavy")
    edges.change(heavy)
    with monkeypatch.context() as broken:
        broken.setattr(feed_module.FeedState, "digest", lambda _state: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await edges.edge.next()
    edges.edge.follow(edges.feed)
    assert (await edges.told(heavy))["source_rule"]["allow"] == [OFFICE]
    assert edges.edge.late == ("heavy",)


async def test_edges_that_come_again_during_a_long_look_take_nobodys_threads(
    edges: Edges, slow: Slow, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And they hear that the gateway lives."""
    monkeypatch.setattr(feed_module, "HEARTBEAT_SECONDS", 0.05)
    edges.publish(owners[0], "heavy")
    looking, real = threading.Event(), edges.store.read_feed

    def read_slowly(since: int | None) -> object:
        assert looking.wait(20)
        return real(since)

    monkeypatch.setattr(edges.store, "read_feed", read_slowly)
    for _ in range((os.cpu_count() or 1) + 6):
        lines = edges.feed.stream(0, None)
        assert b"heartbeat" in await anext(lines)
        await lines.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        assert await edges.feed.serving.settled(2, account_id=owners[1].account_id)
    looking.set()


@pytest.mark.usefixtures("quick")
async def test_an_error_of_a_moment_closes_a_socket_for_a_moment(
    edges: Edges, slow: Slow, owners: Owners
) -> None:
    socket = edges.publish(owners[0], "one")
    await edges.told(socket)
    # Each time ``apart`` has one socket it fails with the one that is asked for.
    slow.failures = [MemoryError("for a moment")] * 3
    edges.change(socket)
    seen = []
    async with asyncio.timeout(5):
        while not seen or seen[-1] != [OFFICE]:
            await edges.edge.next()
            seen.append(edges.edge.state["sockets"]["one"]["source_rule"]["allow"])
    assert seen.count([]) == 1  # closed once, and not told so at each try
    assert not edges.feed._rules._pending


def test_a_set_that_cannot_be_made_now_is_told_as_a_stopgap(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"socket_type": SocketType.TLS, "cloud_authentication_enabled": True}
    _, socket = owner_with_socket(gateway.store, **fields)
    remembered, real = RememberedRules(gateway.rules), gateway.store.rules_of

    def fail(_sockets: Sequence[SocketRecord]) -> Mapping[str, PolicySet]:
        raise MemoryError

    monkeypatch.setattr(gateway.store, "rules_of", fail)
    made = rule_making.RuleMaking(remembered, remembered.ready, lambda *_: None, gateway.clock)
    assert made._made_in(rule_making._Turn([socket], gateway.clock(), 1), socket).is_stopgap
    monkeypatch.setattr(gateway.store, "rules_of", real)
    assert not made._made_in(rule_making._Turn([socket], gateway.clock(), 2), socket).is_stopgap


def test_what_ends_while_another_is_waited_for_is_made_again(
    bench: Bench, socket: SocketRecord
) -> None:
    changed, before = after(socket), known(socket, rules("10.0.0.0/8"))
    bench.ready[key_of(changed)] = rules(OFFICE, END)
    other = rows.socket(rows.account(), socket_id="y", socket_type=SocketType.TCP)

    def end() -> None:
        bench.now = END

    threading.Timer(0.03, end).start()
    told = bench.making.of([changed, other], {"x": before})
    assert "x" not in told
    bench.made = rules(HOME)
    bench.gate.set()
    bench.until(lambda: "x" in bench.told)
    bench.making.close()


def test_a_making_is_as_old_as_the_row_it_is_made_of(
    bench: Bench, socket: SocketRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Own lists come from that row: what is made of it must not pass for newer than what is told
    of a later one while its maker had yet to begin.
    """
    monkeypatch.setattr(rule_making.RuleMaking, "_start", lambda _making: None)
    before = known(socket, rules("10.0.0.0/8"))
    assert bench.ask(after(socket), before) is None
    turn = bench.making._next_to_make()
    assert turn is not None
    bench.ready[key_of(after(socket, 2))] = rules(HOME)
    told = bench.ask(after(socket, 2), before)
    assert told is not None
    bench.gate.set()
    made = bench.making._made_in(turn, turn.sockets[0])
    assert made.number < told.number
    assert bench.ask(after(socket, 3), known(after(socket, 2), told.rules, told.number)) is None
    bench.making._pending.finish(socket.account_id, {"x": made})
    assert bench.making._pending.next_to_tell(1.0) == []


def test_one_maker_is_for_those_that_are_known_to_be_quick() -> None:
    """Slow is for an hour: what was made before takes nothing, and says nothing."""
    now = 0.0
    turns = MakingTurns(lambda: now)
    for name, *took in (("slow", 5.0, 0.01), ("quick", 0.01)):
        for seconds in took:
            turns.begin(name)
            turns.end(name, seconds)
    turns.begin("new")
    turns.begin("newer")
    assert not turns.may_begin("newest")
    assert not turns.may_begin("slow")
    assert turns.may_begin("quick")
    turns.begin("quick")
    assert not turns.may_begin("quick")  # it is having one
    now = SLOW_FOR_SECONDS
    turns.end("slow", 0.01)
    assert turns.may_begin("slow")
    assert MAKERS == 3


def test_whoever_was_quick_and_is_slow_keeps_a_maker_for_one_socket(
    bench: Bench, socket: SocketRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_making.RuleMaking, "_start", lambda _making: None)
    monkeypatch.setattr(rule_making, "TURN_SECONDS", 0.0)
    sockets = [replace(socket, socket_id=f"s{at}") for at in range(5)]
    bench.gate.set()
    assert bench.making.of(sockets, {}) == {}
    turn = bench.making._next_to_make()
    assert turn is not None
    assert len(turn.sockets) == 5
    assert bench.making._make_in(turn) > 0
    bench.making._turns.end(socket.account_id, 1.0)
    again = bench.making._next_to_make()
    assert again is not None
    assert [one.socket_id for one in again.sockets] == ["s1", "s2", "s3", "s4"]


async def test_an_edge_keeps_what_another_gateway_told_it(
    edges: Edges, slow: Slow, owners: Owners
) -> None:
    """As far as a gateway goes: it says that what it tells is of before (``test_held_rules``)."""
    heavy = edges.publish(owners[0], "heavy")
    await edges.told(heavy)
    busy = Slow()
    another = feed_of(edges, busy)
    there = FakeEdge(edges.gateway)
    there.follow(another)
    await there.next()
    busy.heavy.add("heavy")
    slow.allowed = busy.allowed = HOME
    edges.change(heavy)
    told = await edges.told(heavy)
    assert (told["source_rule"]["allow"], edges.edge.late) == ([HOME], ())
    edges.edge.follow(another)
    await edges.edge.next()
    assert edges.edge.seen[-1] == "snapshot"
    of_before = edges.edge.state["sockets"]["heavy"]
    assert of_before["source_rule"]["allow"] == [OFFICE]
    assert of_before["rules_version"] < of_before["rules_wanted"] == told["rules_version"]
    busy.gate.set()
    another.close()
