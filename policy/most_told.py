"""The most that edges are told of rules, whichever of them are taken away again.

Taking a rule away may multiply what is told: of sixteen deny rules each is told apart, of
seventeen none is; and an allowing policy for everywhere spares the rule of all others. Nobody is to
be kept from taking something away, so it is this that counts when something is added.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Self

from policy.address_sets import (
    EVERYWHERE,
    NOWHERE,
    AddressSet,
    most_split,
    networks_within,
    union,
)
from policy.reach import MAX_CUTS_APART, MAX_LISTED, Reaches
from policy.steps import Steps

_BLOCKS_A_STEP = 4
"""Networks that are counted in the time of one interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldOf:
    """The address conditions of all rules of one socket: all that what is told depends on."""

    allowed: frozenset[AddressSet] = frozenset()
    """Of policies that let somebody in."""
    denied: frozenset[AddressSet] = frozenset()
    """Of deny rules that say nothing else."""
    cuts: frozenset[AddressSet] = frozenset()
    """Of all other deny rules."""

    @classmethod
    def together(cls, parts: Collection[Self]) -> Self:
        """All rules of ``parts``."""
        return cls(
            allowed=frozenset[AddressSet]().union(*(one.allowed for one in parts)),
            denied=frozenset[AddressSet]().union(*(one.denied for one in parts)),
            cuts=frozenset[AddressSet]().union(*(one.cuts for one in parts)),
        )

    def exactly(self, steps: Steps) -> int | None:
        """How many networks edges are told; ``None`` if it is more than they take.

        Raises:
            OutOfSteps: it takes more steps to say.
        """
        steps.take(*self.allowed, *self.denied, *self.cuts)
        return Reaches.of(self.allowed, self.denied, self.cuts).count_told(steps)

    def at_most(self, steps: Steps) -> int:
        """No fewer networks than edges are told of these rules, or of any of them; beyond
        ``MAX_LISTED`` it is not counted further.

        Raises:
            OutOfSteps: it takes more steps to say.
        """
        steps.take(*self.allowed, *self.denied, *self.cuts)
        # The rule says what the sets say once more, if nobody is allowed in from everywhere.
        count = 2 * sum(one.size() for one in self.allowed - {EVERYWHERE}) + self._denied()
        taking: dict[AddressSet, list[AddressSet]] = {one: [] for one in self.allowed}
        if count <= MAX_LISTED:
            count += self._apart(taking, MAX_LISTED - count, steps)
        if count <= MAX_LISTED:
            count += _together(taking, steps)
        # Where nobody is allowed in, all that is denied to anybody is told.
        return max(count, sum(one.size() for one in self.denied))

    def _denied(self) -> int:
        """What is denied to anybody, as far as it is allowed to somebody."""
        reached = EVERYWHERE if EVERYWHERE in self.allowed else union(self.allowed)
        denied = union(self.denied)
        named = self.allowed - {EVERYWHERE}
        return sum(networks_within(one, reached) for one in self.denied) + sum(
            networks_within(one, denied) for one in named
        )

    def _apart(self, taking: dict[AddressSet, list[AddressSet]], enough: int, steps: Steps) -> int:
        """What each cut leaves of each condition; of as many cuts as are told apart, those that
        leave most. ``taking`` is filled with those that take something away. It stops beyond
        ``enough``.
        """
        known = {NOWHERE, EVERYWHERE, *self.allowed}
        all_apart = len(self.cuts) <= MAX_CUTS_APART
        most, count = list[int](), 0
        for cut in self.cuts:
            total = 0
            for one in self.allowed:
                left = one - cut
                steps.take(one, left)
                if left == one:
                    continue
                taking[one].append(cut)
                # Where some cuts are left out it is not known which set is there already.
                if not all_apart or left not in known:
                    total += _size(left, enough - total, steps)
                    if all_apart:
                        known.add(left)
                if total > enough:
                    return total  # those that leave most leave no less
            heappush(most, total)
            count += total - (heappop(most) if len(most) > MAX_CUTS_APART else 0)
            if count > enough:
                break
        return count


def _size(made: AddressSet, most: int, steps: Steps) -> int:
    """How many networks it takes, counted until they are more than ``most``: few intervals may make
    very many.
    """
    size = made.size(most)
    steps.take(more=size // _BLOCKS_A_STEP)
    return size


def _together(taking: Mapping[AddressSet, Sequence[AddressSet]], steps: Steps) -> int:
    """What several cuts leave at most of each condition, taken away together."""
    count = 0
    for one, cuts in taking.items():
        if len(cuts) > 1 and count <= MAX_LISTED:
            steps.take(one, *cuts)
            count += one.size() + most_split(one, cuts)
    return count
