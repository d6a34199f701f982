"""From where else the same request would be allowed, and the names edges know those places by.

A policy reaches its addresses, or everywhere if it asks for none, without what deny rules take away
from anybody. A deny rule that also says something else (whom, when, a country) takes its addresses
away only where the rest of it matches; each has a reach of its own beside it. Edges keep what is
denied to anybody out by themselves, so the places they know by name are said without it: a list of
a thousand addresses leaves ten times as many networks.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from policy.address_sets import EVERYWHERE, NOWHERE, AddressSet, most_between, source_id, union
from policy.steps import OutOfSteps, Steps
from policy.types import IPNetwork

MAX_LISTED = 20_000
"""Networks of all address conditions together, beyond which no edge could hold anybody to them."""
MAX_SETS = 256
"""Sets of networks by name that edges take for one socket."""
MAX_CUTS_APART = 16
"""Deny rules with addresses and something else that are told apart in source ids."""
MAX_BETWEEN = 20_000
"""Networks that may lie between the addresses that deny rules take away: as many as an edge holds.
A list of 2,000 addresses of IPv6 leaves ten times that, which would be made for every condition.
"""
MAX_STEPS = 600_000
"""Steps in which what edges are told must be found: all that may be listed, beside as many deny
rules as are told apart, takes two thirds of them."""
_REMEMBERED = 1024
_FEW_HELD = 32
"""Networks that every set may remember beside those that are prepared or have names."""
_MOST_PREPARED = 50_000
"""Networks that may be made before somebody asks for them."""


class Reach(NamedTuple):
    """Some addresses, and the fewest networks that hold them."""

    addresses: AddressSet
    networks: tuple[IPNetwork, ...]


class Said(NamedTuple):
    """What a decision says of the addresses it rests on."""

    sources: tuple[IPNetwork, ...] | None
    """``None`` if it holds everywhere, or there is too much to be said."""
    names: tuple[str, ...] | None


_Key = tuple[frozenset[AddressSet], frozenset[AddressSet]]


class Reaches:
    """What the policies of one set reach. Only what it remembers of its own results changes."""

    def __init__(
        self,
        allowed: frozenset[AddressSet],
        denied: AddressSet,
        cuts: frozenset[AddressSet],
    ) -> None:
        self.allowed, self.cuts = allowed, cuts
        self._most_known = _REMEMBERED + 2 * len(allowed)
        self.unbounded = not (denied or cuts or self.allowed - {EVERYWHERE})
        """Whether no decision can rest on the address."""
        self.reached = EVERYWHERE if EVERYWHERE in allowed else union(allowed)
        # Where nobody is allowed in, what asks nobody who he is may still be open.
        within = self.reached or EVERYWHERE
        self.denied = denied - (EVERYWHERE - within)
        """What is denied to anybody, as far as it is allowed to somebody, if anything is."""
        listed = sum(one.size() for one in allowed)
        self.nameless = listed > MAX_LISTED or _too_much_between(cuts, within)
        """Whether what is allowed, or what is left beside the deny rules that say more than
        addresses, is too much to be named: nothing else is to be asked of it then."""
        self.too_large = self.nameless or _too_much_between([self.denied, *cuts], within)
        """Whether what is left beside all deny rules is too much to be said: ``together`` is not to
        be asked then."""
        self._all_cuts = union(sorted(cuts, key=_order))
        self.most_held = 0
        """Networks that are remembered of all results together; none before ``prepare``, and then
        those that were prepared and as many as have names."""
        self._held = 0
        self._taken: dict[frozenset[AddressSet], AddressSet] = {}
        self._known: dict[_Key, Reach] = {}
        self._said: dict[_Key, Said] = {}
        self._ids: dict[AddressSet, str] = {}
        self._told: tuple[int | None] | None = None

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

    def prepare(self) -> Self:
        """Make what decisions ask for most, so that none of them has to wait for it."""
        if self.unbounded or self.nameless:
            return self
        self.most_held = _MOST_PREPARED
        for one in self.allowed:
            if self._held > _MOST_PREPARED // 2:
                break
            self.names([one], frozenset())
            if not self.too_large:
                self.together([one], frozenset())
        self.most_held = self._held + (self.told() or 0) + _FEW_HELD
        return self

    def rule_size(self) -> int:
        """How many networks it takes to say what is ``reached``, and what of it is ``denied``."""
        anywhere = self.reached == EVERYWHERE
        return self.denied.size() + (0 if anywhere else self.reached.size())

    def told(self) -> int | None:
        """How many networks edges are told: those of the rule, and those of all ``sources``;
        ``None`` if it is more than an edge takes, or takes more than ``MAX_STEPS`` to find.
        """
        if self._told is None:
            try:
                self._told = (self.count_told(Steps(MAX_STEPS)),)
            except OutOfSteps:
                self._told = (None,)
        return self._told[0]

    def count_told(self, steps: Steps) -> int | None:
        """As ``told``, in so many ``steps``.

        Raises:
            OutOfSteps: it takes more.
        """
        if self.nameless:
            return None
        count = self.rule_size()
        for number, size in enumerate(self._sizes(steps), 1):
            count += size
            if count > MAX_LISTED or number > MAX_SETS:
                return None
        return None if count > MAX_LISTED else count

    def said(self, allowed: frozenset[AddressSet], cuts: frozenset[AddressSet]) -> Said:
        """``together`` and ``names`` of the same, where they may be asked for."""
        key = allowed, cuts
        said = self._said.get(key)
        if said is None:
            reach = None if self.too_large else self.together(allowed, cuts)
            everywhere = reach is None or reach.addresses == EVERYWHERE
            said = Said(
                None if reach is None or everywhere else reach.networks, self.names(allowed, cuts)
            )
            if len(self._said) >= self._most_known:
                self._said.clear()
            # Networks that are not remembered are not kept here either.
            if everywhere or (allowed, cuts | {self.denied}) in self._known:
                self._said[key] = said
        return said

    def together(self, allowed: Iterable[AddressSet], cuts: Iterable[AddressSet]) -> Reach:
        """What policies with these conditions reach, ``cuts`` taken away."""
        return self._reach(frozenset(allowed), frozenset([*cuts, self.denied]))

    def names(
        self, allowed: Iterable[AddressSet], cuts: frozenset[AddressSet]
    ) -> tuple[str, ...] | None:
        """The ids of those of ``sources`` that make up ``together`` where edges keep out what is
        denied to anybody; ``None`` if nothing else has to be kept out. Where several deny rules
        take away, or too many could, they make up less: without all that any could take.
        """
        conditions = frozenset(allowed)
        conditions = frozenset({EVERYWHERE}) if EVERYWHERE in conditions else conditions
        taken = cuts if self._apart(cuts) else frozenset({self._all_cuts})
        reaches = [self._reach(frozenset({one}), taken) for one in conditions]
        if any(reach.addresses == EVERYWHERE for reach in reaches):
            return None
        return tuple(sorted({self.name(reach) for reach in reaches if reach.networks}))

    def name(self, reach: Reach) -> str:
        """The id of one of ``sources``. It takes milliseconds to find, and is found once."""
        known = self._ids.get(reach.addresses)
        if known is None:
            if len(self._ids) >= _REMEMBERED + len(self.allowed):
                self._ids.clear()
            known = self._ids[reach.addresses] = source_id(reach.networks)
        return known

    def _reach(self, allowed: frozenset[AddressSet], taken: frozenset[AddressSet]) -> Reach:
        key = allowed, taken
        known = self._known.get(key)
        if known is None:
            left = (EVERYWHERE if EVERYWHERE in allowed else union(allowed)) - self._union(taken)
            known = Reach(left, left.networks())
            self._remember(key, known)
        return known

    def _remember(self, key: _Key, known: Reach) -> None:
        if len(known.networks) > self.most_held:
            return
        self._held += len(known.networks)
        if len(self._known) >= self._most_known or self._held > self.most_held:
            self._known.clear()
            self._said.clear()
            self._held = len(known.networks)
        self._known[key] = known

    def _union(self, taken: frozenset[AddressSet]) -> AddressSet:
        if taken not in self._taken:
            if len(self._taken) > 4 * MAX_CUTS_APART:
                self._taken.clear()
            self._taken[taken] = union(taken)
        return self._taken[taken]

    def sources(self) -> Iterator[Reach]:
        """Everything an id may stand for."""
        for allowed, cuts in self._named():
            reach = self._reach(frozenset({allowed}), cuts)
            if reach.addresses and reach.addresses != EVERYWHERE:
                yield reach

    def _sizes(self, steps: Steps) -> Iterator[int]:
        """How many networks each of ``sources`` has, equal ones once. None of them is made."""
        seen = {NOWHERE, EVERYWHERE}
        for allowed, cuts in self._named():
            left = allowed - self._union(cuts)
            steps.take(allowed, left)
            if left not in seen:
                seen.add(left)
                yield left.size()

    def _named(self) -> Iterator[tuple[AddressSet, frozenset[AddressSet]]]:
        """What is allowed by what is taken away from it, wherever that has a name."""
        choices = [frozenset[AddressSet]()]
        if self.cuts:
            choices.append(frozenset({self._all_cuts}))
            if len(self.cuts) <= MAX_CUTS_APART:
                choices += [frozenset({cut}) for cut in self.cuts]
        return ((allowed, cuts) for allowed in self.allowed for cuts in choices)

    def _apart(self, cuts: frozenset[AddressSet]) -> bool:
        return not cuts or (len(cuts) == 1 and len(self.cuts) <= MAX_CUTS_APART)


def _too_much_between(taken: Iterable[AddressSet], within: AddressSet) -> bool:
    return most_between(taken, within) > MAX_BETWEEN


def _order(addresses: AddressSet) -> tuple[object, ...]:
    return addresses.v4, addresses.v6
