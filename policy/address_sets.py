"""Sets of addresses of both families, exact and fast to ask.

An IPv4 address written as IPv6 (``::ffff:192.0.2.1``, RFC 4291 §2.5.5.2) is the IPv4 address
everywhere here, so that no rule is passed by in the other spelling. Scope ids mean nothing.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from typing import Self, cast

from policy.types import IPAddress, IPNetwork

Interval = tuple[int, int]
"""First and last address, both included."""
_Block = tuple[int, int]
"""First address of an aligned power of two, and which power."""

_MAPPED = int(IPv6Address("::ffff:0:0"))
_TOP = 1 << 128
SOURCE_ID_LENGTH = 16
"""Hex digits of a source id."""


def unmapped(address: IPAddress) -> IPAddress:
    """The IPv4 address inside an IPv4-mapped one; any other as it is."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


@dataclass(frozen=True, slots=True)
class AddressSet:
    """Immutable; equal sets hold the same addresses. Intervals are sorted and never touch."""

    v4: tuple[Interval, ...] = ()
    v6: tuple[Interval, ...] = ()
    _hash: int | None = field(default=None, init=False, repr=False, compare=False)

    def __hash__(self) -> int:
        if self._hash is None:
            # Kept, for a set may have thousands of intervals and is looked up at every decision;
            # of bytes, as anybody can write addresses whose numbers all have the same hash.
            object.__setattr__(self, "_hash", hash((_packed(self.v4, 4), _packed(self.v6, 16))))
        return cast("int", self._hash)

    @classmethod
    def of(cls, networks: Iterable[IPNetwork]) -> Self:
        """All addresses of ``networks``, in whatever order and however they overlap."""
        v4: list[Interval] = []
        v6: list[Interval] = []
        for network in networks:
            first = int(network.network_address)
            # Said by its length: asked for its last address, a network keeps that for good.
            last = first | (1 << (network.max_prefixlen - network.prefixlen)) - 1
            if isinstance(network, IPv4Network):
                v4.append((first, last))
            elif network.prefixlen >= 96 and first >> 32 == _MAPPED >> 32:
                v4.append((first - _MAPPED, last - _MAPPED))
            else:
                v6.append((first, last))
        return cls(_joined(v4), _joined(v6))

    def __contains__(self, address: IPAddress) -> bool:
        address = unmapped(address)
        intervals = self.v4 if address.version == 4 else self.v6
        number = int(address)
        place = bisect_right(intervals, (number, _TOP))
        return place > 0 and number <= intervals[place - 1][1]

    def __bool__(self) -> bool:
        return bool(self.v4 or self.v6)

    def __or__(self, other: "AddressSet") -> "AddressSet":
        return AddressSet(_joined([*self.v4, *other.v4]), _joined([*self.v6, *other.v6]))

    def __sub__(self, other: "AddressSet") -> "AddressSet":
        if not other:
            return self
        return AddressSet(
            tuple(_without(self.v4, other.v4)),
            tuple(_without(self.v6, other.v6)),
        )

    def size(self, most: int | None = None) -> int:
        """How many ``networks`` there are; none of them is made for it. Of more than ``most`` it
        says one more than that: an interval may be a hundred networks.
        """
        blocks = (block for of_one in (self.v4, self.v6) for block in _blocks(of_one))
        return sum(1 for _ in islice(blocks, None if most is None else most + 1))

    def blocks(self) -> Iterator[tuple[int, int, int]]:
        """As ``networks``, in no time: version, first address, and bits after the prefix."""
        for version, intervals in ((4, self.v4), (6, self.v6)):
            for first, bits in _blocks(intervals):
                yield version, first, bits

    def networks(self) -> tuple[IPNetwork, ...]:
        """The fewest networks that hold the same addresses: IPv4 first, in order."""
        return (
            *(IPv4Network((first, 32 - bits)) for first, bits in _blocks(self.v4)),
            *(IPv6Network((first, 128 - bits)) for first, bits in _blocks(self.v6)),
        )


NOWHERE = AddressSet()
EVERYWHERE = AddressSet(((0, (1 << 32) - 1),), ((0, (1 << 128) - 1),))


def union(sets: Iterable[AddressSet]) -> AddressSet:
    """All addresses of all ``sets``."""
    listed = [one for one in sets if one]
    if len(listed) < 2:
        return listed[0] if listed else NOWHERE
    v4 = [interval for one in listed for interval in one.v4]
    v6 = [interval for one in listed for interval in one.v6]
    return AddressSet(_joined(v4), _joined(v6))


def most_between(sets: Iterable[AddressSet], within: AddressSet = EVERYWHERE) -> int:
    """The most networks that can be left of all addresses when some of ``sets`` are taken away, as
    far as they lie ``within``: each branch of the tree of prefixes that leads to one of them leaves
    one, or none. Counted, not made, for there may be a hundred for a single address.

    It looks at each network of ``sets`` and of ``within`` once: what lies within is not made for
    each of ``sets``, where a thousand that hold everything would have all of ``within`` each.
    """
    listed = list(sets)
    count = 0
    for width, whole, each in (
        (32, within.v4, [one.v4 for one in listed]),
        (128, within.v6, [one.v6 for one in listed]),
    ):
        count += _branches(_met([block for one in each for block in _blocks(one)], whole), width)
    return count


def most_split(whole: AddressSet, sets: Iterable[AddressSet]) -> int:
    """How many networks more than ``whole`` there can be at most, when some of ``sets`` are taken
    away from it.
    """
    listed = list(sets)
    count = 0
    for width, kept, each in (
        (32, whole.v4, [one.v4 for one in listed]),
        (128, whole.v6, [one.v6 for one in listed]),
    ):
        own = list(_blocks(kept))
        split = [block for one in each for block in _blocks(one) if _lies_in(block, kept)]
        count += _branches([*own, *split], width) - _branches(own, width)
    return count


def networks_within(one: AddressSet, other: AddressSet) -> int:
    """How many of the networks of ``one`` lie in ``other``."""
    pairs = (one.v4, other.v4), (one.v6, other.v6)
    return sum(_lies_in(block, by) for of_one, by in pairs for block in _blocks(of_one))


def _met(blocks: list[_Block], whole: tuple[Interval, ...]) -> Iterator[_Block]:
    """The smaller of each two that overlap, one of ``blocks`` and one of ``whole``: those networks
    that there are of what the two have in common. No set of them, for anybody can choose blocks
    that have the same hash; some come several times.
    """
    outermost = tuple(_outermost(blocks))
    yield from (block for block in blocks if _lies_in(block, whole))
    yield from (block for block in _blocks(whole) if _lies_in(block, outermost))


def _outermost(blocks: Iterable[_Block]) -> Iterator[Interval]:
    """Those that lie in no other; they are not joined."""
    reached = -1
    for first, bits in sorted(blocks, key=_place):
        if first > reached:
            reached = first + (1 << bits) - 1
            yield first, reached


def _lies_in(block: _Block, intervals: tuple[Interval, ...]) -> bool:
    first, bits = block
    place = bisect_right(intervals, (first, _TOP))
    return place > 0 and first + (1 << bits) - 1 <= intervals[place - 1][1]


def _place(block: _Block) -> _Block:
    """By the first address, the largest before those in it."""
    return block[0], -block[1]


def _branches(blocks: Iterable[_Block], width: int) -> int:
    """One that comes again has no further branch."""
    count, before, reached = 0, 0, 0
    for first, bits in sorted(blocks, key=_place):
        depth = width - bits
        shared = min(width - (first ^ before).bit_length(), reached, depth)
        count += depth - shared
        before, reached = first, depth
    return count


def source_id(networks: tuple[IPNetwork, ...]) -> str:
    """The name by which an edge knows exactly these addresses: 16 hex digits of SHA-256 over the
    networks of ``AddressSet.networks`` as text, joined by commas.
    """
    text = ",".join(map(str, networks))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:SOURCE_ID_LENGTH]


def _packed(intervals: tuple[Interval, ...], width: int) -> bytes:
    return b"".join(number.to_bytes(width, "big") for one in intervals for number in one)


def _joined(intervals: list[Interval]) -> tuple[Interval, ...]:
    joined: list[Interval] = []
    for interval in sorted(intervals):
        first, last = interval
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append(interval)  # the very one, which other sets may have as well
    return tuple(joined)


def _without(kept: tuple[Interval, ...], removed: tuple[Interval, ...]) -> Iterator[Interval]:
    for start, last in kept:
        first = start
        ahead = max(bisect_right(removed, (first, _TOP)) - 1, 0)
        if ahead < len(removed) and removed[ahead][1] < first:
            ahead += 1
        while ahead < len(removed) and removed[ahead][0] <= last:
            if first < removed[ahead][0]:
                yield first, removed[ahead][0] - 1
            first = removed[ahead][1] + 1
            ahead += 1
        if first <= last:
            yield first, last


def _blocks(intervals: tuple[Interval, ...]) -> Iterator[_Block]:
    """The aligned powers of two that make up ``intervals``."""
    for start, last in intervals:
        first = start
        while first <= last:
            room = (last - first + 1).bit_length() - 1
            bits = min(room, (first & -first).bit_length() - 1) if first else room
            yield first, bits
            first += 1 << bits
