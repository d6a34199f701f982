"""Published files of address ranges, read into one aggregated list.

| who | what it looks like |
|---|---|
| AWS ``ip-ranges.json`` | ``{"prefixes": [{"ip_prefix", "region", "service"}], "ipv6_prefixes": [{"ipv6_prefix", …}]}`` |
| Google ``cloud.json``, ``goog.json`` | ``{"prefixes": [{"ipv4Prefix" or "ipv6Prefix", "scope", "service"}]}`` |
| Azure ``ServiceTags_*.json`` | ``{"values": [{"name", "properties": {"addressPrefixes", "region", "systemService"}}]}`` |
| GitHub ``/meta`` | ``{"hooks": [CIDR…], "web": [CIDR…], …}``; the keys are its services |
| Fastly ``public-ip-list`` | ``{"addresses": [CIDR…], "ipv6_addresses": [CIDR…]}`` |
| Cloudflare ``ips-v4``, lists by hand | one CIDR or address a line, ``#`` begins a comment |
"""  # noqa: E501 - a table

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from policy.address_sets import AddressSet
from policy.errors import PrefixFileError
from policy.networks import Networks
from policy.texts import TextError, network
from policy.types import IPNetwork

MAX_BYTES = 32 * 1024 * 1024
MAX_PREFIXES = 200_000
MAX_VALUES = 1_000_000
"""Values in a file of JSON: the largest published ones have a tenth of that."""
_PREFIX_KEYS = ("ip_prefix", "ipv6_prefix", "ipv4Prefix", "ipv6Prefix")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixList:
    """What was in a file."""

    networks: tuple[IPNetwork, ...]
    """The fewest that hold the same addresses, in order."""
    read: int
    """Prefixes that were taken, before aggregation."""
    duplicates: int
    """Prefixes that stood there before."""
    overlaps: int
    """Prefixes that lie within another, wider one."""
    by_size: Mapping[str, int]
    """How many of ``networks`` there are of each size: ``IPv4 /24``."""

    def summary(self) -> str:
        """Two lines for people."""
        sizes = ", ".join(f"{count} {size}" for size, count in self.by_size.items())
        return (
            f"{self.read} prefixes read, {self.duplicates} twice, {self.overlaps} within others; "
            f"{len(self.networks)} kept\n{sizes}"
        )


class _Entry(NamedTuple):
    text: Any
    region: str
    service: str
    line: int | None = None
    """Where it stands, from 1, in a file of lines."""


def read_prefixes(text: str, *, region: str = "", service: str = "") -> PrefixList:
    """Read a file in any of the formats above; only what is of ``region`` and of ``service``, if
    given, letter case aside.

    Raises:
        PrefixFileError: in none of the formats, a prefix that cannot be read, nothing left to take.
    """
    if len(text) > MAX_BYTES:
        raise PrefixFileError(f"larger than {MAX_BYTES // 1024 // 1024} MiB")
    entries = _json_entries(text) if text.lstrip()[:1] in {"{", "["} else _line_entries(text)
    wanted = [
        entry for entry in entries if _is(entry.region, region) and _is(entry.service, service)
    ]
    if not wanted:
        raise PrefixFileError("the file has no prefixes of that kind")
    if len(wanted) > MAX_PREFIXES:
        raise PrefixFileError(f"more than {MAX_PREFIXES} prefixes")
    return aggregated(list(map(_network, wanted)))


def aggregated(networks: list[IPNetwork]) -> PrefixList:
    """The fewest networks that hold the same addresses, and what became of the rest."""
    distinct = Networks.of(networks)
    kept = AddressSet.of(distinct).networks()
    sizes = Counter((one.version, one.prefixlen) for one in kept)
    return PrefixList(
        networks=kept,
        read=len(networks),
        duplicates=len(networks) - len(distinct),
        overlaps=_nested(distinct),
        by_size={f"IPv{version} /{size}": sizes[version, size] for version, size in sorted(sizes)},
    )


def _nested(networks: Networks) -> int:
    """How many lie within another; two networks never overlap otherwise."""
    nested, last, version = 0, -1, 0
    for one in networks:
        if one.version != version:
            version, last = one.version, -1
        end = int(one.broadcast_address)
        nested += end <= last
        last = max(last, end)
    return nested


def _is(found: str, wanted: str) -> bool:
    return not wanted or found.lower() == wanted.lower()


def _network(entry: _Entry) -> IPNetwork:
    if not isinstance(entry.text, str):
        raise PrefixFileError("a prefix is not text")
    try:
        return network(entry.text)
    except TextError as error:
        where = "" if entry.line is None else f"line {entry.line}: "
        raise PrefixFileError(f"{where}{error}") from error


def _line_entries(text: str) -> Iterator[_Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        said = line.partition("#")[0].strip()
        if said:
            yield _Entry(said, "", "", number)


def _json_entries(text: str) -> list[_Entry]:
    if sum(map(text.count, ",[{")) > MAX_VALUES:  # the parser lets nothing else be done meanwhile
        raise PrefixFileError(f"more than {MAX_VALUES} values")
    try:
        value = json.loads(text, object_pairs_hook=_each_key_once)
    except PrefixFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise PrefixFileError("not JSON, though it begins like it") from error
    if isinstance(value, list):
        return [_Entry(one, "", "") for one in value]
    if any(isinstance(value.get(key), list) for key in ("prefixes", "ipv6_prefixes")):
        return list(_cloud(value))
    if isinstance(value.get("values"), list):
        return list(_azure(value["values"]))
    return list(_by_purpose(value))


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise PrefixFileError("a key is there twice, and one of its values would be left out")
    return found


def _cloud(value: dict[str, Any]) -> Iterator[_Entry]:
    """AWS and Google: one mapping for each prefix."""
    for one in [*_list(value.get("prefixes")), *_list(value.get("ipv6_prefixes"))]:
        if not isinstance(one, dict):
            raise PrefixFileError("a prefix is not a mapping")
        region = str(one.get("region") or one.get("scope") or "")
        prefixes = [one[key] for key in _PREFIX_KEYS if key in one]
        if not prefixes:
            raise PrefixFileError(f"an entry has no prefix: none of {', '.join(_PREFIX_KEYS)}")
        for prefix in prefixes:
            yield _Entry(prefix, region, str(one.get("service") or ""))


def _azure(values: list[Any]) -> Iterator[_Entry]:
    """Azure: one mapping for each service in each region; its own name counts as a service too."""
    for one in values:
        properties = one.get("properties") if isinstance(one, dict) else None
        if not isinstance(properties, dict):
            raise PrefixFileError("a value is without properties")
        region = str(properties.get("region") or "")
        service = str(properties.get("systemService") or one.get("name") or "")
        for prefix in _list(properties.get("addressPrefixes")):
            yield _Entry(prefix, region, service)


def _by_purpose(value: dict[str, Any]) -> Iterator[_Entry]:
    """GitHub and Fastly: lists of prefixes by what they are for; other members are no prefixes. A
    list in which one entry looks like a prefix is read whole: without the odd ones, or without all
    of it, a deny rule would have a hole.
    """
    for service, listed in value.items():
        if isinstance(listed, list) and any(_looks_like_one(one) for one in listed):
            for one in listed:
                yield _Entry(one, "", service)


def _looks_like_one(value: Any) -> bool:
    return (
        isinstance(value, str)
        and ("." in value or ":" in value)
        and value[:1] in ("0123456789abcdefABCDEF:")
        and ("/" in value or value.replace(".", "").isdigit() or ":" in value)
    )


def _list(value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise PrefixFileError("prefixes are not in a list")
    return value or []
