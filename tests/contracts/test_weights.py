"""What is kept ready is weighed as the memory it takes, whatever its documents look like."""

import random
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network

import pytest

from idp_gateway.address_rules import AddressRules
from policy.evaluate import evaluate
from policy.networks import Networks
from policy.policy_set import PolicySet
from policy.types import DenyRule, Policy, Where
from tests.support import rows
from tests.support.policies import policy, request, who

UNIT = 250
"""Bytes."""
SOCKET = rows.socket(rows.account(), socket_type="tls", cloud_authentication_enabled=True)


def scattered(count: int, kind: type[IPv4Network | IPv6Network]) -> Networks:
    chance, width = random.Random(count), kind(0).max_prefixlen
    made = (kind(chance.getrandbits(width - 3) | 2 << (width - 4)) for _ in range(count))
    return Networks.of(made)


def denying(person: str | None, *places: Networks) -> tuple[DenyRule, ...]:
    who_is_denied = None if person is None else who(emails=person)
    return tuple(DenyRule(who=who_is_denied, where=Where(prefixes=place)) for place in places)


EVE = "eve@corp.test"
CASES = {
    "allowed": policy(where=Where(prefixes=scattered(700, IPv6Network))),
    "allowed in IPv4": policy(where=Where(prefixes=scattered(700, IPv4Network))),
    "denied to all": policy(denies=denying(None, scattered(100, IPv6Network))),
    "denied to all, a long list": policy(denies=denying(None, scattered(3000, IPv4Network))),
    "denied to one": policy(denies=denying(EVE, scattered(160, IPv6Network))),
    "denied to one in many rules": policy(
        where=Where(prefixes=scattered(500, IPv6Network)),
        denies=denying(EVE, *(scattered(at, IPv6Network) for at in range(1, 9))),
    ),
}


@contextmanager
def traced() -> Iterator[list[int]]:
    found: list[int] = []
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield found
        found.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("one", CASES.values(), ids=CASES)
def test_a_set_weighs_what_it_takes_with_all_that_edges_are_told(one: Policy) -> None:
    with traced() as taken:
        ready = PolicySet.build([one])
        rules = AddressRules.of(ready)
        rules.members(SOCKET)
    assert 0.7 * taken[0] < UNIT * ready.weight < 2.5 * taken[0]


def test_what_decisions_add_stays_within_the_weight() -> None:
    """Everybody may have another combination of policies, and each has places of its own."""
    places = [Networks.of([network]) for network in scattered(60, IPv6Network)]
    policies = [
        policy(str(at), who=who(emails=f"p{at}@a.test p{at * 7 % 60}@a.test"),
               where=Where(prefixes=place), denies=denying(f"p{at * 11 % 60}@a.test", place))
        for at, place in enumerate(places)
    ]  # fmt: skip
    ready = PolicySet.build(policies)
    address = next(iter(places[0])).network_address
    with traced() as taken:
        for at in range(60):
            evaluate(ready, request(email=f"p{at}@a.test", source=address))
    assert taken[0] < UNIT * ready.weight


def test_a_set_without_addresses_weighs_as_much_as_is_said() -> None:
    ready = PolicySet.build([policy(who=who(emails="a@b.test c@d.test"))])
    assert ready.weight == 2 * ready.size == 6
