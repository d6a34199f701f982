"""Whether a decision may fall otherwise for another address of the same kind."""

from ipaddress import ip_network

import pytest

from policy.networks import Networks
from policy.policy_set import PolicySet
from policy.types import DenyRule, Policy, Where

POLICY = Policy(policy_id="p")
PLACES = [
    Where(countries=frozenset({"NL"})),
    Where(countries_not=frozenset({"NL"})),
    Where(asns=frozenset({64500})),
    Where(asns_not=frozenset({64500})),
]


@pytest.mark.parametrize("where", PLACES)
def test_a_country_or_network_in_any_rule_counts(where: Where) -> None:
    allowing = Policy(policy_id="q", where=where)
    denying = Policy(policy_id="q", denies=(DenyRule(where=where),))
    assert PolicySet.build([POLICY, allowing]).place_counts
    assert PolicySet.build([POLICY, denying]).place_counts


def test_addresses_alone_do_not() -> None:
    where = Where(prefixes=Networks.of([ip_network("192.0.2.0/24")]), prefix_lists=frozenset({"a"}))
    rules = Policy(policy_id="q", where=where, denies=(DenyRule(where=where),))
    assert not PolicySet.build([POLICY, rules]).place_counts
