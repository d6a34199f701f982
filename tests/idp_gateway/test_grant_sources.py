"""How a grant that rests on an address says so, in the words of each place that holds it."""

from ipaddress import ip_address, ip_network

import pytest

from ca.specs import MAX_SOURCE_IDS
from idp_gateway.errors import Forbidden
from idp_gateway.grant_sources import (
    MAX_NETWORKS,
    session_address,
    source_addresses,
    source_ids,
)
from policy.types import IPNetwork
from tests.support.grants import grant

OFFICE = ip_network("192.0.2.0/24")
LOOPBACK = ("127.0.0.1/32", "::1/128")


def texts(networks: tuple[IPNetwork, ...] | None) -> list[str] | None:
    return None if networks is None else list(map(str, networks))


def test_a_grant_from_anywhere_names_no_address() -> None:
    free = grant()
    assert session_address(free) is None
    assert source_ids(free) is None
    assert source_addresses(free, LOOPBACK) is None


def test_a_grant_from_some_networks_is_held_to_them() -> None:
    bound = grant(sources=(OFFICE,), source_ids=("0" * 16,))
    assert session_address(bound) == "192.0.2.1:"
    assert source_ids(bound) == ("0" * 16,)
    assert texts(source_addresses(bound, LOOPBACK)) == ["192.0.2.0/24", *LOOPBACK]


@pytest.mark.parametrize("sources", [None, (OFFICE,)])
def test_where_a_country_counts_the_callers_own_address_is_all_there_is(
    sources: tuple[IPNetwork, ...] | None,
) -> None:
    """Nobody can list the addresses of a country: another address may be in another."""
    bound = grant(sources=sources, place_counts=True)
    assert session_address(bound) == "192.0.2.1:"
    assert texts(source_addresses(bound, LOOPBACK)) == ["192.0.2.1/32", *LOOPBACK]


def test_more_networks_than_fit_become_the_callers_own_address() -> None:
    many = tuple(ip_network((3221225984 + 2 * n, 32)) for n in range(MAX_NETWORKS + 1))
    assert texts(source_addresses(grant(sources=many), ())) == ["192.0.2.1/32"]


@pytest.mark.parametrize("count", [0, MAX_SOURCE_IDS + 1])
def test_addresses_no_edge_could_check_make_no_certificate(count: int) -> None:
    ids = tuple(f"{n:016x}" for n in range(count))
    with pytest.raises(Forbidden) as refused:
        source_ids(grant(sources=(OFFICE,), source_ids=ids))
    assert refused.value.reason == "addresses-not-enforceable"


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("2001:db8::1", "[2001:db8::1]:"),
        ("2001:DB8:0:0:1:0:0:1", "[2001:db8::1:0:0:1]:"),
        ("::1", "[::1]:"),
    ],
)
def test_an_address_is_written_as_envoy_writes_it(address: str, written: str) -> None:
    assert session_address(grant(source_ip=ip_address(address), place_counts=True)) == written
