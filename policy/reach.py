"""From where else the same request would be allowed, and the names edges know those places by.

A policy reaches its addresses, or everywhere if it asks for none, without what deny rules take away
from anybody. A deny rule that also says something else (whom, when, a country) takes its addresses
away only where the rest of it matches; each has a reach of its own beside it.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from policy.address_sets import EVERYWHERE, AddressSet, most_between, source_id, union
from policy.types import IPNetwork

MAX_CUTS_APART = 16
"""Deny rules with addresses and something else that are told apart in source ids."""
MAX_BETWEEN = 20_000
"""Networks that may lie between the addresses that deny rules take away: as many as an edge holds.
A list of 2,000 addresses of IPv6 leaves ten times that, which would be made for every condition.
"""
_REMEMBERED = 1024
_MOST_HELD = 200_000
"""Networks that are remembered of all results together."""


class Reach(NamedTuple):
    """Some addresses, and the fewest networks that hold them."""

    addresses: AddressSet
    networks: tuple[IPNetwork, ...]


_Key = tuple[frozenset[AddressSet], frozenset[AddressSet]]


class Reaches:
    """What the policies of one set reach. Only what it remembers of its own results changes."""

    def __init__(
        self,
        allowed: frozenset[AddressSet],
        denied: AddressSet,
        cuts: frozenset[AddressSet],
    ) -> None:
        self.allowed, self.denied, self.cuts = allowed, denied, cuts
        self.unbounded = not (denied or cuts or self.allowed - {EVERYWHERE})
        """Whether no decision can rest on the address."""
        reached = EVERYWHERE if EVERYWHERE in allowed else union(allowed)
        elsewhere = EVERYWHERE - reached
        taken = [one - elsewhere for one in (denied, *cuts)]
        self.too_large = most_between(taken) > MAX_BETWEEN
        """Whether what is left beside the deny rules is too much to be said: nothing else is to be
        asked of it then."""
        self._all_cuts = union(sorted(cuts, key=_order))
        self._held = 0
        self._taken: dict[frozenset[AddressSet], AddressSet] = {}
        self._known: dict[_Key, Reach] = {}
        self._decided: dict[_Key, tuple[Reach, tuple[str, ...]]] = {}
        for one in () if self.unbounded or self.too_large else allowed:
            if self._held > _MOST_HELD // 2:
                break
            self.decided([one], frozenset())  # so that no decision has to wait for it

    @classmethod
    def of(
        cls,
        allowed: Iterable[AddressSet | None],
        denied: Iterable[AddressSet | None],
        cuts: Iterable[AddressSet | None],
    ) -> Self:
        """From the address conditions of allowing policies, of deny rules that say nothing else,
        and of all other deny rules; ``None`` is one that asks for no address.
        """
        return cls(
            frozenset(EVERYWHERE if one is None else one for one in set(allowed)),
            union(one for one in set(denied) if one is not None),
            frozenset(one for one in set(cuts) if one is not None),
        )

    def together(self, allowed: Iterable[AddressSet], cuts: Iterable[AddressSet]) -> Reach:
        """What policies with these conditions reach, ``cuts`` taken away."""
        key = frozenset(allowed), frozenset(cuts)
        known = self._known.get(key)
        if known is None:
            wanted = EVERYWHERE if EVERYWHERE in key[0] else union(key[0])
            taken = self._taken_by(key[1])
            left = wanted - taken if taken else wanted
            known = Reach(left, left.networks())
            self._held += len(known.networks)
            if len(self._known) >= _REMEMBERED + len(self.allowed) or self._held > _MOST_HELD:
                self._known.clear()
                self._decided.clear()
                self._held = len(known.networks)
            self._known[key] = known
        return known

    def _taken_by(self, cuts: frozenset[AddressSet]) -> AddressSet:
        if not cuts:
            return self.denied
        if cuts not in self._taken:
            if len(self._taken) > 2 * MAX_CUTS_APART:
                self._taken.clear()
            self._taken[cuts] = union([self.denied, *cuts])
        return self._taken[cuts]

    def decided(
        self, allowed: Iterable[AddressSet], cuts: frozenset[AddressSet]
    ) -> tuple[Reach, tuple[str, ...]]:
        """``together``, and the ids of those of ``sources`` that make it up. Where several deny
        rules take away, or too many could, they make up less: without all that any could take.
        """
        key = frozenset(allowed), cuts
        known = self._decided.get(key)
        if known is None:
            known = self.together(*key), self._ids(*key)
            if len(self._decided) >= _REMEMBERED + len(self.allowed):
                self._decided.clear()
            self._decided[key] = known
        return known

    def _ids(
        self, conditions: frozenset[AddressSet], cuts: frozenset[AddressSet]
    ) -> tuple[str, ...]:
        conditions = frozenset({EVERYWHERE}) if EVERYWHERE in conditions else conditions
        taken = cuts if self._apart(cuts) else frozenset({self._all_cuts})
        reaches = [self.together([one], taken) for one in conditions]
        return tuple(sorted({source_id(reach.networks) for reach in reaches if reach.networks}))

    def sources(self) -> Iterator[Reach]:
        """Everything an id may stand for."""
        choices: list[list[AddressSet]] = [[]]
        if self.cuts:
            choices.append([self._all_cuts])
            if len(self.cuts) <= MAX_CUTS_APART:
                choices += [[cut] for cut in self.cuts]
        for allowed in self.allowed:
            for cuts in choices:
                reach = self.together([allowed], cuts)
                if reach.addresses and reach.addresses != EVERYWHERE:
                    yield reach

    def _apart(self, cuts: frozenset[AddressSet]) -> bool:
        return not cuts or (len(cuts) == 1 and len(self.cuts) <= MAX_CUTS_APART)


def _order(addresses: AddressSet) -> tuple[object, ...]:
    return addresses.v4, addresses.v6
