"""What is kept ready: by weight, and no account at the expense of others."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

from idp_gateway.ready_rules import SOCKET_WEIGHT, ReadyRules
from idp_gateway.records import SocketRecord
from policy.networks import Networks
from policy.policy_set import PolicySet
from policy.types import DenyRule, Policy, When, Where
from tests.support import rows
from tests.support.rows import NOW


def sockets(count: int) -> list[SocketRecord]:
    owner = rows.account()
    return [rows.socket(owner) for _ in range(count)]


def weighing(networks: int) -> PolicySet:
    """A set of that many networks, a rule and a policy."""
    named = Networks.of(ip_network(f"10.0.{number}.0/24") for number in range(networks))
    return PolicySet.build([Policy(policy_id="p", denies=(DenyRule(where=Where(prefixes=named)),))])


def kept(ready: ReadyRules, asked: list[SocketRecord]) -> list[bool]:
    return [ready.find(socket, NOW) is not None for socket in asked]


def keep(ready: ReadyRules, policies: PolicySet, *given: SocketRecord) -> None:
    for socket in given:
        ready.keep(socket, policies, made_at=NOW)


def test_whoever_has_most_gives_up_what_was_used_longest_ago() -> None:
    few, many = weighing(1).weight, weighing(98).weight
    ready = ReadyRules(3 * SOCKET_WEIGHT + few + 5 * (SOCKET_WEIGHT + many) - 1)
    small, large = sockets(3), sockets(9)
    keep(ready, weighing(1), *small)
    for socket in large:
        keep(ready, weighing(98), socket)
    assert kept(ready, small) == [True] * 3
    assert kept(ready, large) == [False] * 5 + [True] * 4
    ready.find(large[5], NOW)
    keep(ready, weighing(98), large[0])
    assert kept(ready, [large[0], *large[5:]]) == [True, True, False, True, True]


def test_one_set_of_many_sockets_weighs_once() -> None:
    same = weighing(98)
    ready = ReadyRules(9 * SOCKET_WEIGHT + 2 * same.weight)
    asked = sockets(8)
    keep(ready, same, *asked, *asked)
    assert kept(ready, asked) == [True] * 8
    keep(ready, weighing(98), *asked)
    keep(ready, weighing(98), *asked)
    assert kept(ready, asked) == [True] * 8


def test_what_is_kept_is_good_for_the_row_as_it_was_and_until_a_policy_ends() -> None:
    ready, (socket,) = ReadyRules(), sockets(1)
    end = NOW + timedelta(minutes=5)
    policies = PolicySet.build([Policy(policy_id="p", when=When(before=end))])
    keep(ready, policies, socket)
    assert ready.find(socket, NOW) is policies
    assert ready.find(socket, end) is None
    assert ready.find(replace(socket, rules_version=socket.rules_version + 1), NOW) is None
    assert ready.find(replace(socket, emails=("ann@corp.test",)), NOW) is None
    assert ready.find(rows.socket(rows.account()), NOW) is None
