"""Rules about addresses cut into filter chains: every address is in the part it belongs to."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.types import IPAddress, IPNetwork, SocketType
from proxy.envoy.source_chains import MAX_PARTS, MAX_SAID, MAX_SETS, Part, parts_of
from proxy.state import EdgeSocket, SourceRule
from tests.support.envoy_inputs import socket

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))
MAPPED = int(IPv6Address("::ffff:10.0.0.0"))


def a_socket(
    rule: SourceRule, sets: dict[str, tuple[IPNetwork, ...]] | None = None, **changes: object
) -> EdgeSocket:
    return socket("s", SocketType.TLS, source_rule=rule, source_sets=sets or {}, **changes)


def networks(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(text) for text in texts)


def chosen(parts: tuple[Part, ...], address: IPAddress) -> Part | None:
    """As Envoy chooses: the most specific prefix; a chain that says nothing of sources has /0."""
    holding = [
        (network.prefixlen, part)
        for part in parts
        for network in part.prefixes or EVERYTHING
        if network.version == address.version and address in network
    ]
    assert len({length for length, _ in holding}) == len(holding), "no part is more specific"
    return max(holding, key=lambda found: found[0])[1] if holding else None


def inside(address: IPAddress, said: Iterable[IPNetwork]) -> bool:
    """By the definition, with the mapped spelling of a network being its IPv4 one."""
    spellings: list[IPAddress] = [address]
    if isinstance(address, IPv4Address):
        spellings.append(IPv6Address(f"::ffff:{address}"))
    return any(
        one.version == network.version
        and one in network
        and (one.version == address.version or network.prefixlen >= 96)
        for network in said
        for one in spellings
    )


V4 = st.builds(
    lambda low, bits: IPv4Network((0x0A000000 + low, bits), strict=False),
    st.integers(0, 31),
    st.integers(26, 32),
)
V6 = st.builds(
    lambda low, bits: IPv6Network(((0x20010DB8 << 96) + low, bits), strict=False),
    st.integers(0, 31),
    st.integers(122, 128),
)
WRITTEN_AS_V6 = st.builds(
    lambda low, bits: IPv6Network((MAPPED + low, bits), strict=False),
    st.integers(0, 31),
    st.integers(122, 128),
)
WIDE = st.sampled_from(networks("0.0.0.0/0", "::/0", "10.0.0.0/8", "128.0.0.0/1", "2001:db8::/32"))
NETWORKS = st.lists(st.one_of(V4, V6, WRITTEN_AS_V6, WIDE), max_size=5).map(tuple)
RULES = st.builds(SourceRule, allow=st.one_of(st.none(), NETWORKS), deny=NETWORKS)
SETS = st.dictionaries(st.sampled_from("abcd"), NETWORKS, max_size=4)
ADDRESSES = (
    *(IPv4Address(0x0A000000 + low) for low in range(-1, 66)),
    *(IPv6Address((0x20010DB8 << 96) + low) for low in range(-1, 66)),
    *map(ip_address, ("0.0.0.0", "255.255.255.255", "127.255.255.255", "128.0.0.0", "::")),
    ip_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
)


@settings(max_examples=150, deadline=None)
@given(RULES, SETS)
def test_every_address_is_in_the_part_it_belongs_to(
    rule: SourceRule, sets: dict[str, tuple[IPNetwork, ...]]
) -> None:
    parts = parts_of(a_socket(rule, sets))
    assert parts is not None
    for address in ADDRESSES:
        allowed = rule.allow is None or inside(address, rule.allow)
        if not allowed or inside(address, rule.deny):
            wanted = None
        else:
            wanted = tuple(key for key in sorted(sets) if inside(address, sets[key]))
        part = chosen(parts, address)
        found = None if part is None or part.closed else part.source_ids
        assert found == wanted, address
    said = len({*(rule.allow or ()), *rule.deny, *(one for few in sets.values() for one in few)})
    assert sum(len(part.prefixes) for part in parts) <= said + len(EVERYTHING)


@settings(max_examples=50, deadline=None)
@given(RULES, SETS)
def test_one_part_for_each_collection_of_sets(
    rule: SourceRule, sets: dict[str, tuple[IPNetwork, ...]]
) -> None:
    parts = parts_of(a_socket(rule, sets)) or ()
    assert len({(part.source_ids, part.closed) for part in parts}) == len(parts)
    for part in parts:
        families: tuple[list[IPNetwork], list[IPNetwork]] = ([], [])
        for network in part.prefixes:
            families[network.version == 6].append(network)
        for family in families:
            assert family == sorted(family)


def test_without_rules_there_is_one_part_without_a_condition() -> None:
    (part,) = parts_of(a_socket(SourceRule())) or ()
    assert (part.match(), part.source_ids) == ({}, ())


def test_without_a_network_there_is_no_part() -> None:
    assert parts_of(a_socket(SourceRule(allow=()))) == ()
    assert parts_of(a_socket(SourceRule(deny=networks("0.0.0.0/0", "::/0")))) == ()
    both = networks("192.0.2.0/24")
    assert parts_of(a_socket(SourceRule(allow=both, deny=both))) == ()


def test_a_socket_without_certificates_has_no_use_for_sets() -> None:
    rule, sets = SourceRule(allow=networks("192.0.2.0/24")), {"a": networks("192.0.2.1/32")}
    (part,) = parts_of(a_socket(rule, sets, identity_required=False)) or ()
    assert part == Part(source_ids=(), prefixes=networks("192.0.2.0/24"))


def test_what_lies_between_many_networks_is_not_spelled_out() -> None:
    sets = {"a": singles(MAX_SAID)}
    rest, part = parts_of(a_socket(SourceRule(), sets)) or ()
    assert rest == Part(source_ids=(), prefixes=())
    assert len(part.prefixes) == MAX_SAID


def test_what_is_taken_out_is_a_part_of_its_own_that_lets_nobody_in() -> None:
    """Everywhere but many scattered addresses is ten times as many networks."""
    taken = singles(MAX_SAID, apart=1 << 12)
    rest, closed = parts_of(a_socket(SourceRule(deny=taken))) or ()
    assert rest == Part(source_ids=(), prefixes=())
    assert closed == Part(source_ids=(), prefixes=taken, closed=True)


def singles(count: int, apart: int = 2) -> tuple[IPNetwork, ...]:
    return tuple(IPv4Network((0x0A000000 + apart * at, 32)) for at in range(count))


@pytest.mark.parametrize(
    ("rule", "sets"),
    [
        (SourceRule(allow=singles(MAX_SAID + 1)), {}),
        (SourceRule(allow=singles(1) * (MAX_SAID + 1)), {}),
        (SourceRule(deny=singles(MAX_SAID + 1)), {}),
        (SourceRule(), {f"{at:x}": singles(1) for at in range(MAX_SETS + 1)}),
        (
            SourceRule(),
            {f"{bit:x}": tuple(one for at, one in enumerate(singles(512)) if at >> bit & 1)
             for bit in range(9)},
        ),
    ],
    ids=["allowed", "said", "denied", "sets", "parts"],
)  # fmt: skip
def test_what_is_too_large_is_said_to_be(
    rule: SourceRule, sets: dict[str, tuple[IPNetwork, ...]]
) -> None:
    assert parts_of(a_socket(rule, sets)) is None
    assert MAX_PARTS < 512


def test_no_condition_stands_beside_a_part_with_all_of_ipv6() -> None:
    """To Envoy, a chain without a range is as specific as one for ``::/0``."""
    rest, part = parts_of(a_socket(SourceRule(), {"a": networks("::/0")})) or ()
    assert (rest.prefixes, part.prefixes) == (networks("0.0.0.0/0"), networks("::/0"))
