"""The most that edges are told of rules, whichever of them are taken away again."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import address_sets
from policy.address_sets import EVERYWHERE, AddressSet, Interval
from policy.most_told import ToldOf
from policy.reach import MAX_LISTED
from policy.steps import OutOfSteps, Steps
from tests.support.policies import NETWORKS, RELAXED

PLENTY = 10_000_000
SETS = st.lists(NETWORKS, max_size=4).map(AddressSet.of) | st.just(EVERYWHERE)
SOME = st.frozensets(SETS, max_size=3)
RULES = st.builds(lambda a, d, c: ToldOf(allowed=a, denied=d, cuts=c), SOME, SOME, SOME)


def singles(first: int, count: int) -> AddressSet:
    return AddressSet.of(IPv4Network((first + 2 * at, 32)) for at in range(count))


def told(rules: ToldOf) -> int | None:
    return rules.exactly(Steps(PLENTY))


@RELAXED
@given(RULES, st.data())
def test_no_part_of_the_rules_is_told_with_more_than_was_counted(
    rules: ToldOf, data: st.DataObject
) -> None:
    def some(sets: frozenset[AddressSet]) -> frozenset[AddressSet]:
        drawn = data.draw(st.sets(st.sampled_from(sorted(sets, key=repr)))) if sets else ()
        return frozenset(drawn)

    left = ToldOf(allowed=some(rules.allowed), denied=some(rules.denied), cuts=some(rules.cuts))
    most = rules.at_most(Steps(PLENTY))
    assert (told(rules) or 0) <= most
    assert (told(left) or 0) <= most


def test_of_more_cuts_than_are_told_apart_those_count_that_may_be_left() -> None:
    """Of seventeen none has a name, of sixteen each."""
    allowed = singles(10 << 24, 100)
    cuts = [singles((10 << 24) + 2 * at, 1) for at in range(17)]
    all_of_them = ToldOf(allowed=frozenset({allowed}), cuts=frozenset(cuts))
    less = ToldOf(allowed=frozenset({allowed}), cuts=frozenset(cuts[1:]))
    of_all, of_less = told(all_of_them), told(less)
    assert of_all is not None
    assert of_less is not None
    assert 6 * of_all < of_less <= all_of_them.at_most(Steps(PLENTY)) < 2 * of_less


def test_an_allowing_rule_for_everywhere_does_not_count_as_lasting() -> None:
    """Without it the rule of all others is told as well."""
    office = frozenset({singles(10 << 24, 100)})
    both = ToldOf(allowed=office | {EVERYWHERE})
    assert (told(both), told(ToldOf(allowed=office))) == (100, 200)
    assert both.at_most(Steps(PLENTY)) == 200


def test_where_one_rule_takes_away_nothing_is_counted_twice() -> None:
    cut = frozenset({singles(10 << 24, 20)})
    rules = ToldOf(allowed=frozenset({EVERYWHERE}), cuts=cut)
    assert rules.at_most(Steps(PLENTY)) == told(rules)


@pytest.mark.parametrize("way", ["at_most", "exactly"])
def test_no_more_is_looked_at_than_there_are_steps(way: str) -> None:
    cuts = frozenset(singles(10 << 24, 900 + at) for at in range(16))
    rules = ToldOf(allowed=frozenset({EVERYWHERE}), cuts=cuts)
    steps = Steps(20_000)
    with pytest.raises(OutOfSteps):
        getattr(rules, way)(steps)
    assert steps.left > -20_000


def test_networks_that_few_intervals_make_are_steps_too() -> None:
    """A thousand addresses of IPv6 leave a thousand intervals, and a hundred networks of each."""
    addresses = AddressSet.of(IPv6Network((at * 0x1234567 << 64 | at, 128)) for at in range(1, 9))
    left = (EVERYWHERE - addresses).size()
    steps = Steps(PLENTY)
    ToldOf(allowed=frozenset({EVERYWHERE}), cuts=frozenset({addresses})).at_most(steps)
    assert PLENTY - steps.left > left // 4 > 8 * 8


def test_networks_are_counted_no_further_than_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one list leaves may be millions of networks, and whoever writes waits for the count."""
    walked = 0
    blocks_of = address_sets._blocks

    def counted(intervals: tuple[Interval, ...]) -> Iterator[tuple[int, int]]:
        nonlocal walked
        for block in blocks_of(intervals):
            walked += 1
            yield block

    monkeypatch.setattr(address_sets, "_blocks", counted)
    scattered = AddressSet.of(
        IPv6Network(((0x20010DB8 << 96) | (at * 0x9E3779B97F4A7C15F39CC060) % 2**96, 128))
        for at in range(5_000)
    )
    cuts = ToldOf(allowed=frozenset({EVERYWHERE}), cuts=frozenset({scattered}))
    assert cuts.at_most(Steps(PLENTY)) > MAX_LISTED
    assert walked < 2 * MAX_LISTED
