"""Networks that somebody chose so that Python has one and the same hash for all of them."""

import json
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest

from idp_gateway.address_rules import AddressRules
from policy.address_sets import AddressSet, most_between
from policy.document import read_document
from policy.evaluate import evaluate
from policy.index import PrefixTable
from policy.networks import Networks
from policy.policy_set import PolicySet
from policy.prefix_files import aggregated, read_prefixes
from policy.types import DenyRule, IPNetwork, SocketType, Where
from proxy.envoy.source_chains import parts_of
from proxy.state import EdgeSocket, SourceRule
from tests.support.envoy_inputs import socket
from tests.support.policies import policy, request, where

MODULUS = (1 << 61) - 1
"""Numbers that differ by multiples of it have one hash."""
FIRST = int(IPv6Address("2000::"))
MANY = 20_000
SOME = 500
LISTED = Where(prefix_lists=frozenset({"many"}))
NOT_THERE = DenyRule(where=LISTED)


def alike(count: int, apart: int = MODULUS) -> tuple[IPNetwork, ...]:
    return tuple(IPv6Network((FIRST + at * apart, 128)) for at in range(count))


@pytest.fixture
def _no_network_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(network: IPv6Network) -> int:
        raise AssertionError(f"{network} is looked up by a hash anybody can foretell")

    monkeypatch.setattr(IPv6Network, "__hash__", refuse)


def test_python_has_one_hash_for_all_of_them() -> None:
    assert len(set(map(hash, alike(SOME)))) == 1


def document(**rules: Any) -> str:
    condition = {"who": {"email": ["a@b.test"]}, **rules.pop("condition", {})}
    return json.dumps({"version": "v2", "action": ["tls"], "condition": condition, **rules})


@pytest.mark.usefixtures("_no_network_is_hashed")
def test_reading_a_document_hashes_none() -> None:
    texts = list(map(str, alike(SOME)))
    read = read_document(
        document(
            condition={"where": {"allowed_ip": texts[:3], "prefix_list": ["own"]}},
            deny=[{"where": {"allowed_ip": texts}}, {"where": {"prefix_list": ["own"]}}],
            prefix_lists={"own": texts[::-1]},
        )
    )
    one, other = read.policy("p"), read.policy("q")
    assert one.where.prefixes is other.where.prefixes
    assert one.where.prefixes.listed == alike(SOME)
    assert one.denies == other.denies
    assert hash(one.denies[0].where) == hash(one.denies[1].where)


@pytest.mark.usefixtures("_no_network_is_hashed")
def test_importing_a_list_hashes_none() -> None:
    networks = [*alike(SOME), *alike(2)]
    read = read_prefixes("\n".join(map(str, networks)))
    assert (read.networks, read.duplicates) == (alike(SOME), 2)


@pytest.mark.usefixtures("_no_network_is_hashed")
def test_from_policies_to_the_edge_none_is_hashed() -> None:
    lists = {"many": alike(SOME)}
    own = policy("own", where=where("2000::/16 192.0.2.0/24"))
    admitting = policy("listed", where=LISTED)
    for denied in (LISTED, Where(prefixes=Networks.of(alike(SOME)))):
        denying = policy("d", denies=(DenyRule(where=denied),))
        ready = PolicySet.build([own, admitting, denying], lists)
        assert not evaluate(ready, request(source=IPv6Address(FIRST + MODULUS))).allowed
        assert evaluate(ready, request(source=IPv6Address(FIRST + 1))).allowed
        rules = AddressRules.of(ready)
        assert rules.rule.deny == alike(SOME)
        told = on_edge(SourceRule(allow=rules.rule.allow, deny=rules.rule.deny), rules.sets)
        assert sum(len(part.prefixes) for part in parts_of(told) or ()) == SOME + 2


Sets = Mapping[str, tuple[IPNetwork, ...]]


def on_edge(rule: SourceRule, sets: Sets | None = None) -> EdgeSocket:
    return socket("s", SocketType.TLS, source_rule=rule, source_sets=sets or {})


def test_what_stands_for_them_has_many_hashes() -> None:
    """Numbers stand for addresses inside, and have the hashes of the networks."""
    networks = alike(SOME)
    assert len({hash(AddressSet.of([one])) for one in networks}) == SOME
    assert len({hash(Networks.of([one])) for one in networks}) == SOME
    ready = PolicySet.build([policy(denies=(NOT_THERE,))], {"many": networks})
    table = ready.index.denied_at
    assert isinstance(table, PrefixTable)
    ((_, _, by_prefix),) = table.by_length
    assert len(set(map(hash, by_prefix))) == SOME


@pytest.mark.parametrize(
    "work",
    [
        Networks.of,
        lambda networks: aggregated(list(networks)),
        lambda networks: most_between([AddressSet.of(networks)]),
        lambda networks: PolicySet.build([policy(denies=(NOT_THERE,))], {"many": networks}),
        lambda networks: parts_of(on_edge(SourceRule(allow=networks))),
    ],
    ids=["networks", "import", "between", "set", "edge"],
)
def test_they_take_about_as_long_as_others(work: Callable[[tuple[IPNetwork, ...]], Any]) -> None:
    """Where each is compared with each, hundreds of times as long."""

    def seconds(networks: tuple[IPNetwork, ...]) -> float:
        start = time.process_time()
        assert work(networks)
        return time.process_time() - start

    ordinary = seconds(alike(MANY, apart=MODULUS + 12345))
    assert seconds(alike(MANY)) < 4 * ordinary + 0.5
