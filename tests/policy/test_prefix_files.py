"""Published range files: every format, filters, and what aggregation says of itself."""

import contextlib
import json
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import prefix_files
from policy.errors import PrefixFileError
from policy.prefix_files import MAX_PREFIXES, aggregated, read_prefixes
from tests.support.policies import NETWORKS, RELAXED

AWS = {
    "syncToken": "1",
    "createDate": "2026-01-01-00-00-00",
    "prefixes": [
        {"ip_prefix": "192.0.2.0/25", "region": "eu-west-1", "service": "AMAZON"},
        {"ip_prefix": "192.0.2.0/25", "region": "eu-west-1", "service": "EC2"},
        {"ip_prefix": "192.0.2.128/25", "region": "eu-west-1", "service": "S3"},
        {"ip_prefix": "198.51.100.0/24", "region": "us-east-1", "service": "EC2"},
    ],
    "ipv6_prefixes": [{"ipv6_prefix": "2001:db8::/32", "region": "eu-west-1", "service": "EC2"}],
}
GOOGLE = {
    "prefixes": [
        {"ipv4Prefix": "192.0.2.0/24", "service": "Google Cloud", "scope": "europe-west4"},
        {"ipv6Prefix": "2001:db8::/32", "service": "Google Cloud", "scope": "us-east1"},
    ]
}
AZURE = {
    "changeNumber": 1,
    "values": [
        {
            "name": "Storage.WestEurope",
            "properties": {
                "region": "westeurope",
                "systemService": "AzureStorage",
                "addressPrefixes": ["192.0.2.0/24", "2001:db8::/32"],
            },
        },
        {
            "name": "ActionGroup",
            "properties": {"region": "", "addressPrefixes": ["203.0.113.7/32"]},
        },
    ],
}
GITHUB = {
    "verifiable_password_authentication": False,
    "ssh_keys": ["ssh-ed25519 AAAA"],
    "domains": {"website": ["*.github.test"]},
    "hooks": ["192.0.2.0/24", "2001:db8::/32"],
    "actions": ["198.51.100.0/24"],
}
FASTLY = {"addresses": ["192.0.2.0/24"], "ipv6_addresses": ["2001:db8::/32"]}
LINES = "# ours\n192.0.2.0/24   # office\n\n2001:db8::1\r\n"


@pytest.mark.parametrize(
    ("file", "filters", "networks"),
    [
        (AWS, {}, "192.0.2.0/24 198.51.100.0/24 2001:db8::/32"),
        (AWS, {"region": "EU-WEST-1"}, "192.0.2.0/24 2001:db8::/32"),
        (AWS, {"service": "ec2", "region": "eu-west-1"}, "192.0.2.0/25 2001:db8::/32"),
        (GOOGLE, {}, "192.0.2.0/24 2001:db8::/32"),
        (GOOGLE, {"region": "us-east1"}, "2001:db8::/32"),
        (AZURE, {}, "192.0.2.0/24 203.0.113.7/32 2001:db8::/32"),
        (AZURE, {"service": "AzureStorage"}, "192.0.2.0/24 2001:db8::/32"),
        (AZURE, {"service": "ActionGroup"}, "203.0.113.7/32"),
        (GITHUB, {}, "192.0.2.0/24 198.51.100.0/24 2001:db8::/32"),
        (GITHUB, {"service": "hooks"}, "192.0.2.0/24 2001:db8::/32"),
        (FASTLY, {}, "192.0.2.0/24 2001:db8::/32"),
        (["192.0.2.0/24"], {}, "192.0.2.0/24"),
        (LINES, {}, "192.0.2.0/24 2001:db8::1/128"),
    ],
)
def test_the_known_formats(file: Any, filters: dict[str, str], networks: str) -> None:
    text = file if isinstance(file, str) else json.dumps(file)
    assert " ".join(map(str, read_prefixes(text, **filters).networks)) == networks


def test_what_was_read_twice_or_within_another_is_counted() -> None:
    found = read_prefixes(
        "192.0.2.0/24 \n192.0.2.0/24\n192.0.2.0/25\n192.0.3.0/24\n198.51.100.1\n2001:db8::/32"
    )
    assert (found.read, found.duplicates, found.overlaps) == (6, 1, 1)
    assert found.by_size == {"IPv4 /23": 1, "IPv4 /32": 1, "IPv6 /32": 1}
    assert found.summary() == (
        "6 prefixes read, 1 twice, 1 within others; 3 kept\n1 IPv4 /23, 1 IPv4 /32, 1 IPv6 /32"
    )


@pytest.mark.parametrize(
    "text",
    ["", "# none", "<html>", "{}", "{", "[" * 100_000, "[1]", '{"prefixes": [1]}', "192.0.2.1/24",
     '{"prefixes": [{"ip_prefix": 1}]}', '{"hooks": ["192.0.2.0/24", null], "web": ["192.0.2.9"]}',
     '{"hooks": ["192.0.2.0/24", "[2001:db8::]/32"], "web": ["192.0.2.9"]}',
     '{"prefixes": [{"ip_prefix": "192.0.2.0/24"}, {"ipPrefix": "192.0.2.0/24"}]}',
     '{"prefixes": [{"ip_prefix": "192.0.2.0/24"}], "ipv6_prefixes": {"a": 1}}',
     '{"hooks": ["192.0.2.0/24"], "hooks": ["198.51.100.0/24"]}',
     '{"values": [{"properties": {"addressPrefixes": "192.0.2.0/24"}}]}',
     '{"values": [{}]}', "192.0.2.0/24\n192.0.2.256", "null",
     "192.0.2.1\n" * (MAX_PREFIXES + 1)],
)  # fmt: skip
def test_what_is_no_list_of_prefixes_is_refused(text: str) -> None:
    with pytest.raises(PrefixFileError):
        read_prefixes(text)


def test_a_fault_in_a_file_of_lines_says_which() -> None:
    with pytest.raises(PrefixFileError, match=r"^line 4: .*203\.0\.113\.0/33"):
        read_prefixes("# ours\n192.0.2.0/24\n\n203.0.113.0/33 # too long\n")


@pytest.mark.parametrize("value", ["1", "{}", "[]", '{"ip_prefix":"192.0.2.1"}'])
def test_a_file_of_very_many_values_is_not_parsed(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_files, "json", None)
    text = ",".join([value] * prefix_files.MAX_VALUES)
    with pytest.raises(PrefixFileError, match="more than 1000000 values"):
        read_prefixes(f'{{"prefixes":[{text}]}}')


def test_a_filter_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(PrefixFileError):
        read_prefixes(json.dumps(AWS), region="mars-1")


@RELAXED
@given(st.lists(NETWORKS, min_size=1, max_size=8))
def test_aggregation_neither_adds_nor_loses_an_address(networks: list[Any]) -> None:
    made = aggregated(networks)
    for network in networks:
        assert any(
            network.version == one.version and network.subnet_of(one) for one in made.networks
        )
    for one in made.networks:
        first, last = one.network_address, one.broadcast_address
        assert any(first in network for network in networks)
        assert any(last in network for network in networks)
    assert sum(made.by_size.values()) == len(made.networks)
    assert made.duplicates == len(networks) - len(set(networks))
    assert aggregated(list(made.networks)).networks == made.networks
    assert ip_network("0.0.0.0/0") not in networks or ip_network("0.0.0.0/0") in made.networks


@RELAXED
@given(st.text(max_size=80) | st.recursive(
    st.none() | st.text(max_size=5) | st.just("192.0.2.1"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["prefixes", "values", "properties", "addressPrefixes", "ip_prefix", "a"]),
        inner, max_size=3), max_leaves=8).map(json.dumps))  # fmt: skip
def test_every_text_is_a_list_or_refused_as_one(text: str) -> None:
    with contextlib.suppress(PrefixFileError):
        assert read_prefixes(text).networks
