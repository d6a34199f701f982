"""Address rules of a socket as parts of the address space, each with what is accepted from there.

Envoy picks the filter chain with the most specific source prefix, and closes a connection that no
chain wants. So the parts are made disjoint here, and no order and no overlap can matter: an address
is in the one part that holds it, or in none. IPv4 addresses that were written as IPv6
(``::ffff:192.0.2.1``) are IPv4 here, as they are to the kernel.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from itertools import groupby, pairwise
from typing import Any

from policy.types import IPNetwork
from proxy.state import ANYWHERE, EdgeSocket, SourceRule

MAX_SAID = 100_000
"""Networks one socket's rules may name in all, one in several places counted there each."""
MAX_PREFIXES = 20_000
"""Prefixes they may come to when they are made disjoint."""
MAX_SETS = 256
"""Address conditions of one socket."""
MAX_PARTS = 256
"""Filter chains of one listener; each has a TLS context of its own, about 100 kB of Envoy."""

_MAPPED = IPv6Network("::ffff:0:0/96")
_EVERYTHING: tuple[IPNetwork, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
_ALLOWED, _DENIED = "allow", "deny"
"""Labels beside the ids of the sets, which are hexadecimal."""
_Range = tuple[int, int]
"""First address, and the one after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the address space."""

    source_ids: tuple[str, ...]
    """The sets that hold all of it, in order."""
    prefixes: tuple[IPNetwork, ...]
    """Disjoint and aggregated; none at all stands for every address that is in no other part."""

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
    if socket.source_rule == ANYWHERE and not sets:
        return (Part(source_ids=(), prefixes=()),)
    said = (socket.source_rule.allow or (), socket.source_rule.deny, *sets.values())
    if len(sets) > MAX_SETS or sum(map(len, said)) > MAX_SAID:
        return None
    found = _parts(socket.source_rule, tuple(sorted(sets.items())))
    few = len(found) <= MAX_PARTS and sum(len(part.prefixes) for part in found) <= MAX_PREFIXES
    return found if few else None


@lru_cache(maxsize=16)
def _parts(
    rule: SourceRule, sets: tuple[tuple[str, tuple[IPNetwork, ...]], ...]
) -> tuple[Part, ...]:
    """Remembered, as a socket is looked at once to see whether it can be built, then per port."""
    allowed = _EVERYTHING if rule.allow is None else rule.allow
    networks = {_ALLOWED: allowed, _DENIED: rule.deny, **dict(sets)}
    found: dict[tuple[str, ...], list[IPNetwork]] = {}
    for version in (4, 6):
        ranges = {label: _ranges(said, version) for label, said in networks.items()}
        for first, end, ids in _stretches(ranges):
            found.setdefault(ids, []).extend(_prefixes(first, end, version))
    rest = found.get(())
    others = (one for ids, prefixes in found.items() if ids for one in prefixes)
    if rest and rule == ANYWHERE and all(one.prefixlen for one in others):
        # What lies between a thousand networks is thousands more; Envoy need not be told, unless
        # another part has all of IPv4 or IPv6, than which no condition at all is no less specific.
        rest.clear()
    return tuple(
        Part(source_ids=ids, prefixes=tuple(prefixes)) for ids, prefixes in sorted(found.items())
    )


def _ranges(networks: Iterable[IPNetwork], version: int) -> list[_Range]:
    """Those of one version, joined where they touch or overlap, in order."""
    joined: list[_Range] = []
    for first, end in sorted(
        (int(one.network_address), int(one.broadcast_address) + 1)
        for one in map(_unmapped, networks)
        if one.version == version
    ):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return joined


def _unmapped(network: IPNetwork) -> IPNetwork:
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        inside = int(network.network_address) & 0xFFFFFFFF
        return IPv4Network((inside, network.prefixlen - _MAPPED.prefixlen))
    return network


def _stretches(
    ranges: dict[str, list[_Range]],
) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """What is allowed and not denied, cut wherever another collection of sets begins."""
    turns = sorted(
        (point, begins, label)
        for label, of_label in ranges.items()
        for first, end in of_label
        for point, begins in ((first, True), (end, False))
    )
    inside: set[str] = set()
    pieces: list[tuple[int, tuple[str, ...] | None]] = []
    for point, group in groupby(turns, key=lambda turn: turn[0]):
        for _, begins, label in group:
            # A label's own ranges neither touch nor overlap.
            (inside.add if begins else inside.discard)(label)
        open_here = _ALLOWED in inside and _DENIED not in inside
        ids = tuple(sorted(inside - {_ALLOWED})) if open_here else None
        if not pieces or pieces[-1][1] != ids:
            pieces.append((point, ids))
    for (first, ids), (end, _) in pairwise(pieces):
        if ids is not None:
            yield first, end, ids


def _prefixes(first: int, end: int, version: int) -> Iterator[IPNetwork]:
    """The fewest that hold the range: each the largest aligned one that fits."""
    while first < end:
        bits = (end - first).bit_length() - 1
        if first:
            bits = min(bits, (first & -first).bit_length() - 1)
        yield IPv4Network((first, 32 - bits)) if version == 4 else IPv6Network((first, 128 - bits))
        first += 1 << bits
