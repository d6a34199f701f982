"""Which address rules an edge serves where a gateway has those of before."""

from dataclasses import replace
from ipaddress import ip_network
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.types import SocketType
from proxy.feed import Snapshot, apply, parse_message, snapshot_line
from proxy.held_rules import MAX_NAMED, in_effect, late_sockets
from proxy.state import EdgeSocket, EdgeState, SourceRule
from tests.support.edge_state import Edge, edge_socket

OFFICE = SourceRule(allow=(ip_network("192.0.2.0/24"),))
HOME = SourceRule(allow=(ip_network("198.51.100.0/24"),))
CLOSED = SourceRule(allow=(), deny=(ip_network("0.0.0.0/0"), ip_network("::/0")))


def db(rule: SourceRule, version: int, wanted: int | None = None, **changes: object) -> EdgeSocket:
    fields = {"socket_type": SocketType.TLS, "ports": (20000,), "source_rule": rule} | changes
    return edge_socket("db", rules_version=version, rules_wanted=wanted, **fields)


def told(*sockets: EdgeSocket) -> EdgeState:
    return Edge(sockets=[edge_socket(), *sockets]).state()


def served(held: EdgeSocket | None, now: EdgeSocket) -> EdgeSocket:
    before = None if held is None else told(held)
    return in_effect(before, told(now)).sockets["db-id"]


def test_what_is_not_late_is_served_as_it_is_told() -> None:
    state = told(db(OFFICE, 3))
    assert in_effect(told(db(HOME, 7)), state) is state
    assert late_sockets(state) == ()


def test_newer_rules_stay_where_a_gateway_has_those_of_before() -> None:
    """Its owner was told that they are in force."""
    found = served(db(HOME, 7), db(OFFICE, 3, wanted=7, epoch=5))
    assert (found.source_rule, found.rules_version, found.epoch) == (HOME, 7, 5)
    assert found.rules_wanted is None


def test_all_that_is_held_stays() -> None:
    sets = MappingProxyType({"0123456789abcdef": (ip_network("192.0.2.0/24"),)})
    held = db(HOME, 7, source_sets=sets)
    assert served(held, db(OFFICE, 3, wanted=8)).source_sets == sets
    large = db(SourceRule(), 7, source_rules_too_large=True)
    assert served(large, db(OFFICE, 3, wanted=8)).source_rules_too_large


def test_what_an_edge_closed_is_opened_by_what_was_wanted_then() -> None:
    closed = served(None, db(OFFICE, 3, wanted=7))
    assert closed.source_rule == CLOSED
    found = served(closed, db(HOME, 7, wanted=8))
    assert (found.source_rule, found.rules_wanted) == (HOME, 8)
    assert served(found, db(CLOSED, 0, wanted=8)).source_rule == HOME


def test_what_is_newer_than_held_and_older_than_wanted_is_late() -> None:
    state = in_effect(told(db(OFFICE, 3)), told(db(HOME, 5, wanted=7)))
    assert state.sockets["db-id"].source_rule == HOME
    assert late_sockets(state) == ("db-id",)
    held = in_effect(told(db(HOME, 5)), told(db(OFFICE, 3, wanted=7)))
    assert held.sockets["db-id"].source_rule == HOME
    assert late_sockets(held) == ("db-id",)


@pytest.mark.parametrize(
    "held",
    [
        None,
        db(OFFICE, 3, socket_type=SocketType.TCP),
        db(OFFICE, 3, identity_required=False),
        db(OFFICE, 9),
    ],
    ids=["nothing", "another type", "another kind of caller", "of another database"],
)
def test_an_edge_that_cannot_know_closes_until_it_hears_of_now(held: EdgeSocket | None) -> None:
    """It may have had newer ones before it forgot them."""
    late = db(OFFICE, 5, wanted=7, source_rules_too_large=True)
    before = in_effect(None if held is None else told(held), told(late))
    assert before.sockets["db-id"].source_rule == CLOSED
    assert not before.sockets["db-id"].source_rules_too_large
    for _ in range(2):  # told once more, as another socket changed
        before = in_effect(before, told(late))
        assert before.sockets["db-id"].source_rule == CLOSED
        assert late_sockets(before) == ("db-id",)
    newer = in_effect(before, told(db(HOME, 8, wanted=9)))
    assert newer.sockets["db-id"].source_rule == HOME
    assert in_effect(before, told(db(HOME, 7))).sockets["db-id"].source_rule == HOME


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.just(0)),
        st.tuples(st.sampled_from(["make", "start", "hear"]), st.sampled_from([0, 1])),
        st.tuples(st.just("forget"), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_two_gateways_tell_no_edge_goes_back(steps: list[tuple[str, int]]) -> None:
    """Of a change, of which version ``told`` has the rules; an edge may lose what it has."""
    wanted, told, acknowledged = 1, [1, 1], 0
    held: EdgeState | None = None
    for step, gateway in steps:
        if step == "change":
            wanted += 1
        elif step == "make":
            told[gateway] = wanted
        elif step == "start":
            told[gateway] = 0
        elif step == "forget":
            held = None
        else:
            held = in_effect(held, of_version(told[gateway], wanted))
            served = held.sockets["db-id"]
            is_closed = served.source_rule == CLOSED
            assert is_closed or served.source_rule == rule_of(served.rules_version)
            assert is_closed or served.rules_version >= acknowledged
            if not late_sockets(held):
                assert (served.rules_version, is_closed) == (wanted, False)
                acknowledged = wanted


def rule_of(version: int) -> SourceRule:
    return SourceRule(allow=(ip_network((version, 32)),))


def of_version(version: int, wanted: int) -> EdgeState:
    rule = rule_of(version) if version else CLOSED
    return told(db(rule, version, None if version == wanted else wanted))


def test_a_socket_whose_rules_did_not_change_is_the_same_object() -> None:
    held = in_effect(told(db(OFFICE, 3)), told(db(HOME, 2, wanted=4)))
    again = in_effect(held, told(db(HOME, 2, wanted=4)))
    assert again.sockets["db-id"] is held.sockets["db-id"]


def test_what_is_served_is_what_is_kept_on_disk() -> None:
    state = in_effect(told(db(OFFICE, 5)), told(db(HOME, 3, wanted=7)))
    message = parse_message(snapshot_line(state))
    assert isinstance(message, Snapshot)
    assert apply(None, message).sockets["db-id"] == state.sockets["db-id"]


def test_too_many_are_not_named() -> None:
    many = [replace(db(OFFICE, 1, wanted=2), socket_id=f"s{at}") for at in range(MAX_NAMED + 1)]
    assert late_sockets(told(*many)) is None
    assert len(late_sockets(told(*many[1:])) or ()) == MAX_NAMED
