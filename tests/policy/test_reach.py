"""Addresses that come to too many networks to be named."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import address_sets, reach
from policy.address_sets import EVERYWHERE, AddressSet, most_between, union
from policy.evaluate import evaluate
from policy.native import MAX_NETWORKS, SourceRule, source_rule, source_sets
from policy.policy_set import PolicySet
from policy.reach import MAX_BETWEEN, MAX_LISTED
from policy.types import DenyRule, IPNetwork, Where
from tests.support.policies import NETWORKS, RELAXED, policy, request, where, who

SCATTERED = tuple(
    ip_network(
        int(IPv6Address("2001:db8::")) + (number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**96
    )
    for number in range(2000)
)
LISTS = {"scattered": SCATTERED}
NOT_THERE = Where(prefix_lists=frozenset({"scattered"}))
ANY_NETWORK: st.SearchStrategy[IPNetwork] = NETWORKS | st.builds(
    lambda address, length: ip_network((address, length), strict=False),
    st.ip_addresses(v=4),
    st.integers(0, 32),
)


@RELAXED
@given(st.lists(st.lists(ANY_NETWORK, max_size=4), max_size=4), st.data())
def test_never_more_is_left_than_was_counted(
    networks: list[list[IPNetwork]], data: st.DataObject
) -> None:
    sets = list(map(AddressSet.of, networks))
    most = most_between(sets)
    some = data.draw(st.lists(st.sampled_from(sets), unique=True)) if sets else []
    assert len((EVERYWHERE - union(some)).networks()) <= most + 2


@RELAXED
@given(st.lists(st.lists(ANY_NETWORK, max_size=4), max_size=4), st.lists(ANY_NETWORK, max_size=4))
def test_what_lies_within_is_counted_as_if_it_had_been_made(
    networks: list[list[IPNetwork]], allowed: list[IPNetwork]
) -> None:
    sets, within = list(map(AddressSet.of, networks)), AddressSet.of(allowed)
    made = [one - (EVERYWHERE - within) for one in sets]
    assert most_between(sets, within) == most_between(made)


@pytest.mark.parametrize("rules", [10, 100])
def test_rules_are_not_multiplied_by_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, rules: int
) -> None:
    """A hundred rules for everywhere and one address more each, beside a list of 2,000."""
    looked_at = 0
    blocks = address_sets._blocks

    def counted(intervals: tuple[address_sets.Interval, ...]) -> Iterator[tuple[int, int]]:
        nonlocal looked_at
        for block in blocks(intervals):
            looked_at += 1
            yield block

    monkeypatch.setattr(address_sets, "_blocks", counted)
    cuts = [AddressSet.of([ip_network("::/0"), ip_network((at << 8, 32))]) for at in range(rules)]
    first = int(IPv6Address("2001:db8::"))
    allowed = AddressSet.of(ip_network((first + 2 * at, 128)) for at in range(2000))
    made = reach.Reaches.of([allowed], [], cuts)
    assert not made.nameless
    assert looked_at < 4 * (2000 + 2 * rules)


def test_what_would_take_too_long_to_say_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    denies = (DenyRule(who=who(emails="c@d.test"), where=where("192.0.2.0/24")),)
    policies = [policy(where=NOT_THERE), policy("q", denies=denies)]
    assert source_sets(PolicySet.build(policies, LISTS)) is not None
    monkeypatch.setattr(reach, "MAX_STEPS", 3 * len(SCATTERED))
    ready = PolicySet.build(policies, LISTS)
    assert (ready.told, source_sets(ready)) == (None, None)


def test_the_count_is_near_to_what_is_left() -> None:
    one = AddressSet.of([ip_network("192.0.2.1/32"), ip_network("2001:db8::1/128")])
    assert most_between([one]) == 32 + 128 == len((EVERYWHERE - one).networks())
    scattered = AddressSet.of(SCATTERED[:200])
    left = len((EVERYWHERE - scattered).networks())
    assert left - 1 <= most_between([scattered]) <= left + 2 * 200


@pytest.mark.parametrize("named", [None, who(emails="c@d.test")])
def test_what_cannot_be_said_is_held_to_the_callers_own_address(named: object) -> None:
    """Whether the rule is for everybody or for somebody."""
    denies = (DenyRule(who=named, where=NOT_THERE),)  # type: ignore[arg-type]
    ready = PolicySet.build([policy(denies=denies)], LISTS)
    assert ready.too_large
    decision = evaluate(ready, request())
    assert decision.allowed
    assert decision.place_counts
    assert (decision.sources, decision.source_ids, decision.sources_until) == (None, None, None)


def test_edges_themselves_keep_out_what_is_denied_to_everybody() -> None:
    """However much lies between: not even a certificate has to say so."""
    office = policy("office", where=where("192.0.2.0/24"))
    denying = policy("q", denies=(DenyRule(where=NOT_THERE),))
    ready = PolicySet.build([office, denying], LISTS)
    assert not evaluate(ready, request(source=ip_address(SCATTERED[7].network_address))).allowed
    rule, sets = source_rule(ready), source_sets(ready)
    assert not rule.too_large
    assert (rule.allow, set(rule.deny)) == (None, set(SCATTERED))
    assert sets is not None
    assert list(sets.values()) == [(ip_network("192.0.2.0/24"),)]
    alone = PolicySet.build([office], LISTS)
    assert evaluate(alone, request()).source_ids == tuple(sets)


def test_what_edges_cannot_keep_apart_closes_what_asks_for_certificates() -> None:
    denies = (DenyRule(who=who(emails="c@d.test"), where=NOT_THERE),)
    ready = PolicySet.build([policy(denies=denies)], LISTS)
    assert source_rule(ready) == SourceRule(allow=None)
    assert source_sets(ready) is None


@pytest.mark.parametrize("way", ["allowed", "denied"])
def test_a_rule_of_too_many_networks_names_none_and_admits_nobody(way: str) -> None:
    many = {"many": tuple(IPv4Network((number << 8, 32)) for number in range(MAX_NETWORKS + 1))}
    listed = Where(prefix_lists=frozenset({"many"}))
    one = policy(where=listed) if way == "allowed" else policy(denies=(DenyRule(where=listed),))
    ready = PolicySet.build([one], many)
    rule = source_rule(ready)
    assert (rule.allow, rule.deny, rule.too_large) == ((), (), True)
    assert not rule.admits(ip_address("192.0.2.1"))
    assert source_sets(ready) is None


def test_what_can_be_named_is() -> None:
    ready = PolicySet.build([policy(denies=(DenyRule(where=where("192.0.2.128/25")),))], LISTS)
    assert not ready.too_large
    assert not source_rule(ready).too_large
    assert not evaluate(ready, request()).place_counts
    long_list = PolicySet.build([policy(where=NOT_THERE)], LISTS)
    assert not long_list.too_large
    (listed,) = (source_sets(long_list) or {}).values()
    assert set(listed) == set(SCATTERED)


def test_sets_that_are_too_much_together_are_not_told() -> None:
    """A hundred conditions, each of them everywhere but for a few thousand networks."""
    holes = [f"10.{number >> 8}.{number & 255}.1/32" for number in range(0, 2400, 2)]
    denies = (DenyRule(who=who(emails="c@d.test"), where=where(" ".join(holes))),)
    wide = [policy(f"p{number}", where=where(f"0.0.0.0/0 2001:db8::{number:x}/128"))
            for number in range(100)]  # fmt: skip
    ready = PolicySet.build([*wide, policy("q", denies=denies)])
    assert most_between([AddressSet.of(denies[0].where.prefixes)]) <= MAX_BETWEEN  # type: ignore[union-attr]
    assert not ready.too_large
    assert not source_rule(ready).too_large
    assert source_sets(ready) is None


@pytest.mark.parametrize("named", [None, who(emails="c@d.test")])
def test_only_what_lies_within_the_allowed_addresses_counts(named: object) -> None:
    """A list of strangers' addresses beside a rule for one's own network takes nothing away."""
    strangers = " ".join(f"{number}.{number * 7 % 256}.1.1/32" for number in range(11, 200))
    inside = " ".join(f"10.{number}.1.1/32" for number in range(3))
    denies = (DenyRule(who=named, where=where(f"{strangers} {inside}")),)  # type: ignore[arg-type]
    more = (DenyRule(where=NOT_THERE),)
    ready = PolicySet.build([policy(where=where("10.0.0.0/8"), denies=(*denies, *more))], LISTS)
    assert not ready.too_large
    assert not source_rule(ready).too_large
    asked = request(source=ip_address("10.200.0.1"))
    decision = evaluate(ready, asked)
    assert decision.allowed
    assert decision.sources is not None
    assert not evaluate(ready, request(source=ip_address("11.77.1.1"))).allowed
    inside_one = evaluate(ready, request(source=ip_address("10.1.1.1")))
    assert inside_one.allowed == (named is not None)


def test_a_decision_finds_the_names_of_its_places_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a digest of thousands of networks: milliseconds, at every login."""
    made: list[int] = []
    digest = reach.source_id

    def counted(networks: tuple[IPNetwork, ...]) -> str:
        made.append(len(networks))
        return digest(networks)

    monkeypatch.setattr(reach, "source_id", counted)
    two = [policy("p", where=NOT_THERE), policy("q", where=where("192.0.2.0/24"))]
    ready = PolicySet.build(two, LISTS)
    for _ in range(3):
        assert evaluate(ready, request(source=ip_address("192.0.2.1"))).source_ids
        source_sets(ready)
    assert len(made) == len(two)


def test_addresses_that_no_edge_could_hold_anybody_to_are_not_named() -> None:
    lists = {
        name: tuple(IPv4Network(((place << 28) + 2 * at, 32)) for at in range(MAX_LISTED // 2 + 1))
        for place, name in enumerate(("one", "two"))
    }
    ready = PolicySet.build(
        [policy(name, where=Where(prefix_lists=frozenset({name}))) for name in lists], lists
    )
    decision = evaluate(ready, request(source=ip_address("0.0.0.2")))
    assert decision.allowed
    assert (decision.sources, decision.source_ids, decision.place_counts) == (None, None, True)
    assert source_sets(ready) is None
