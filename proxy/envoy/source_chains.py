"""Address rules of a socket as filter chains, each with what is accepted from its networks.

Envoy picks the chain with the most specific source prefix, and closes a connection that no chain
wants. Networks nest or are apart, so each that the rules name is written once, with what holds in
it and all around it: the most specific one that has an address is right about it, and nothing
between them is spelled out. A chain of networks that are taken out of others accepts nobody. IPv4
addresses that were written as IPv6 (``::ffff:192.0.2.1``) are IPv4 here, as they are to the kernel.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Self

from policy.native import MAX_NETWORKS, MAX_SETS
from policy.networks import network_key
from policy.types import IPNetwork
from proxy.state import EdgeSocket, SourceRule

MAX_SAID = MAX_NETWORKS
"""Networks one socket's rules may name in all, one in several places counted there each."""
MAX_PARTS = 256
"""Filter chains of one listener; each has a TLS context of its own, about 100 kB of Envoy."""

_MAPPED = IPv6Network("::ffff:0:0/96")
_EVERYTHING: tuple[IPNetwork, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
_ALLOWED, _DENIED = "allow", "deny"
"""Labels beside the ids of the sets, which are hexadecimal."""
_NOTHING: frozenset[str] = frozenset()
_Labelled = tuple[IPNetwork, set[str]]
_Ids = tuple[str, ...] | None
"""The sets that hold an address; ``None`` if nobody may come from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Networks from which the same is accepted."""

    source_ids: tuple[str, ...]
    """The sets that hold all of it, in order."""
    prefixes: tuple[IPNetwork, ...]
    """None at all stands for every address that is in no more specific network of another part."""
    closed: bool = False
    """Whether nobody may come from there: networks taken out of those of other parts."""

    def match(self) -> dict[str, Any]:
        """As members of Envoy's ``FilterChainMatch``."""
        if not self.prefixes:
            return {}
        ranges = [
            {"address_prefix": str(one.network_address), "prefix_len": one.prefixlen}
            for one in self.prefixes
        ]
        return {"source_prefix_ranges": ranges}


def parts_of(socket: EdgeSocket) -> tuple[Part, ...] | None:
    """From where a TCP or TLS socket may be reached, by what is accepted from there.

    Not a single part if nobody may come from anywhere; ``None`` if the rules are too large.
    """
    if socket.source_rules_too_large:
        return None
    # A socket that asks for no certificate has nothing to tell its sets apart by.
    sets = socket.source_sets if socket.identity_required else {}
    said = (socket.source_rule.allow or (), socket.source_rule.deny, *sets.values())
    if len(sets) > MAX_SETS or sum(map(len, said)) > MAX_SAID:
        return None
    found = _parts(_Said.of(socket.source_rule, sets))
    return found if len(found) <= MAX_PARTS else None


@dataclass(frozen=True, slots=True)
class _Said:
    """The networks of a socket's rules by label; told apart by bytes, which have a salted hash."""

    key: tuple[tuple[str, bytes], ...]
    networks: Mapping[str, tuple[IPNetwork, ...]] = field(compare=False)

    @classmethod
    def of(cls, rule: SourceRule, sets: Mapping[str, tuple[IPNetwork, ...]]) -> Self:
        allowed = _EVERYTHING if rule.allow is None else rule.allow
        said = {_ALLOWED: allowed, _DENIED: rule.deny, **dict(sorted(sets.items()))}
        keys = ((label, b"".join(map(network_key, few))) for label, few in said.items())
        return cls(tuple(keys), said)


@lru_cache(maxsize=16)
def _parts(said: _Said) -> tuple[Part, ...]:
    """Remembered, as a socket is looked at once to see whether it can be built, then per port."""
    labels = _labels(said.networks)
    found: dict[_Ids, list[IPNetwork]] = {}
    for network, ids in _written(labels):
        found.setdefault(ids, []).append(network)
    if found.get(()) == list(_EVERYTHING):
        found[()] = []
    parts = [
        Part(source_ids=ids or (), prefixes=tuple(prefixes), closed=ids is None)
        for ids, prefixes in found.items()
    ]
    return tuple(sorted(parts, key=lambda part: (part.closed, part.source_ids)))


def _labels(named: Mapping[str, Iterable[IPNetwork]]) -> list[_Labelled]:
    """Every network once, with the rules that name it; those of one version in order."""
    found: dict[bytes, _Labelled] = {}
    for label, networks in named.items():
        for one in networks:
            network = _unmapped(one)
            key = network_key(network)
            if key not in found:
                found[key] = network, set()
            found[key][1].add(label)
    return [found[key] for key in sorted(found)]


def _written(labelled: Iterable[_Labelled]) -> Iterator[tuple[IPNetwork, _Ids]]:
    """The networks in which something else holds than around them."""
    # The version and the last address, and what holds up to it.
    around: list[tuple[tuple[int, int], frozenset[str]]] = []
    for network, labels in labelled:
        first = int(network.network_address)
        while around and around[-1][0] < (network.version, first):
            around.pop()
        outside = around[-1][1] if around else _NOTHING
        inside = outside | labels
        around.append(((network.version, first | int(network.hostmask)), inside))
        if _ids(inside) != _ids(outside):
            yield network, _ids(inside)


def _ids(labels: frozenset[str]) -> _Ids:
    if _ALLOWED not in labels or _DENIED in labels:
        return None
    return tuple(sorted(labels - {_ALLOWED}))


def _unmapped(network: IPNetwork) -> IPNetwork:
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        inside = int(network.network_address) & 0xFFFFFFFF
        return IPv4Network((inside, network.prefixlen - _MAPPED.prefixlen))
    return network
