"""From policies to filter chains: the edge and the evaluator agree on every generated address.

What the gateway tells of a socket is built into chains as Envoy gets them; the chain Envoy would
choose then has to take exactly the certificates the policies make out for a client there.
"""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ca.specs import ClientCertSpec
from idp_gateway.address_rules import AddressRules
from policy.address_sets import AddressSet
from policy.addresses import EmailAddress
from policy.evaluate import evaluate
from policy.native import source_rule, source_sets
from policy.networks import Networks
from policy.policy_set import PolicySet
from policy.types import (
    AccessRequest,
    Action,
    Assurance,
    DenyRule,
    Identity,
    IPAddress,
    IPNetwork,
    Policy,
    Socket,
    SocketType,
    Where,
    Who,
)
from proxy.envoy.build import build_socket, refusal
from proxy.envoy.protos import LISTENER, decode
from tests.contracts.test_feed import fed
from tests.support.envoy_inputs import SETTINGS, TRUST

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ANN, BOB = (EmailAddress.parse(f"{name}@corp.test") for name in ("ann", "bob"))
MAPPED = int(IPv6Address("::ffff:10.0.0.0"))
HIGH = 0x20010DB8 << 96


def near(base: int, length: int) -> st.SearchStrategy[IPNetwork]:
    """Networks of at most 32 addresses, near ``base``."""
    kind: type[IPv4Network | IPv6Network] = IPv4Network if length == 32 else IPv6Network
    return st.builds(
        lambda low, bits: kind((base + low, length - bits), strict=False),
        st.integers(0, 31),
        st.integers(0, 5),
    )


NETWORKS = st.lists(
    st.one_of(
        near(0x0A000000, 32),
        near(HIGH, 128),
        near(MAPPED, 128),
        st.sampled_from([ip_network("0.0.0.0/0"), ip_network("::/0")]),
    ),
    max_size=3,
).map(Networks.of)
SOME = st.frozensets(st.sampled_from([ANN, BOB]), min_size=1)
WHERE = st.builds(Where, prefixes=NETWORKS)
DENIES = st.lists(
    st.builds(
        DenyRule,
        where=st.builds(Where, prefixes=NETWORKS.filter(bool)),
        who=st.one_of(st.none(), st.builds(Who, emails=SOME)),
    ),
    max_size=2,
).map(tuple)
POLICIES = st.lists(
    st.tuples(st.builds(Who, emails=SOME), WHERE, DENIES), min_size=1, max_size=3
).map(
    lambda parts: PolicySet.build(
        Policy(policy_id=f"p{at}", who=who, where=where, denies=denies)
        for at, (who, where, denies) in enumerate(parts)
    )
)
ADDRESSES: tuple[IPAddress, ...] = (
    *(IPv4Address(0x0A000000 + low) for low in (-1, 0, 1, 7, 8, 15, 16, 17, 24, 30, 31, 32)),
    *(IPv6Address(HIGH + low) for low in (-1, 0, 1, 7, 8, 15, 16, 17, 24, 30, 31, 32)),
    IPv4Address("192.0.2.1"),
)
SOCKET = Socket(
    socket_id="s-1",
    dns_name="s.edge.localhost",
    socket_type=SocketType.TLS,
    epoch=1,
    identity_required=True,
)


def ask(email: EmailAddress, source_ip: IPAddress) -> AccessRequest:
    person = Identity(
        issuer="https://idp.test",
        subject=str(email),
        email=email,
        name="",
        assurance=Assurance.PROVIDER_VERIFIED,
        authenticated_at=NOW,
    )
    return AccessRequest(
        identity=person, socket=SOCKET, action=Action.TLS, source_ip=source_ip, at=NOW
    )


def chains(policies: PolicySet) -> list[dict[str, Any]]:
    """The filter chains of the socket's listener, by way of the feed."""
    told = fed(AddressRules.of(policies), SocketType.TLS, identity=True)
    socket = replace(told, epoch=1, dns_name="s.edge.localhost")
    assert refusal(socket, TRUST, SETTINGS) is None
    group = build_socket(socket, (), SETTINGS)
    listeners = [decode(url, one.content) for (url, _), one in group.items() if url == LISTENER]
    return [chain for listener in listeners for chain in listener["filter_chains"]]


def accepted(found: list[dict[str, Any]], address: IPAddress) -> frozenset[str]:
    """The URIs of the chain Envoy chooses for a client: the one with the most specific prefix."""
    best, uris = -1, frozenset[str]()
    for chain in found:
        ranges: list[tuple[int, IPNetwork | None]] = [
            (network.prefixlen, network)
            for one in chain["filter_chain_match"].get("source_prefix_ranges", ())
            for network in [ip_network((one["address_prefix"], one.get("prefix_len", 0)))]
        ] or [(0, None)]
        for length, network in ranges:
            here = network is None or (network.version == address.version and address in network)
            if here and length >= best:
                assert length > best, "two chains for one address"
                best, uris = length, _uris(chain)
    return uris


def _uris(chain: dict[str, Any]) -> frozenset[str]:
    if not chain.get("filters"):
        return frozenset()
    common = chain["transport_socket"]["typed_config"]["common_tls_context"]
    context = common["combined_validation_context"]["default_validation_context"]
    return frozenset(one["matcher"]["exact"] for one in context["match_typed_subject_alt_names"])


def names(source_ids: tuple[str, ...] | None) -> tuple[str, ...]:
    """The URIs of a certificate, as the authority writes them."""
    spec = ClientCertSpec.__new__(ClientCertSpec)
    for name, value in {"socket_id": "s-1", "epoch": 1, "source_ids": source_ids}.items():
        object.__setattr__(spec, name, value)
    return spec.socket_uris


@settings(max_examples=60, deadline=None)
@given(POLICIES)
def test_each_chain_takes_what_the_rules_say(policies: PolicySet) -> None:
    found, rule, sets = chains(policies), source_rule(policies), source_sets(policies) or {}
    for address in ADDRESSES:
        uris = accepted(found, address)
        assert bool(uris) is rule.admits(address), address
        for source_id, networks in sets.items():
            taken = not uris.isdisjoint(names((source_id,)))
            assert taken is (rule.admits(address) and address in AddressSet.of(networks)), address


@settings(max_examples=60, deadline=None)
@given(POLICIES, st.sampled_from([ANN, BOB]), st.sampled_from(ADDRESSES))
def test_a_certificate_goes_nowhere_its_holder_would_not_be_let_in(
    policies: PolicySet, who: EmailAddress, source_ip: IPAddress
) -> None:
    decision = evaluate(policies, ask(who, source_ip))
    assume(decision.allowed)
    certificate = names(decision.source_ids)
    found = chains(policies)
    several = sum(bool(rule.who) for policy in policies.policies for rule in policy.denies) > 0
    for address in ADDRESSES:
        enters = not accepted(found, address).isdisjoint(certificate)
        allowed = evaluate(policies, ask(who, address)).allowed
        assert allowed or not enters, address
        # A deny rule for some people may take a little more of a certificate than of a decision.
        assert enters or not allowed or several, address
