"""The policies that bear on one socket, made ready to be decided on many times."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from types import MappingProxyType
from typing import Self

from policy.conditions import entries
from policy.index import ListSets, PolicyIndex
from policy.reach import MAX_LISTED
from policy.types import IPNetwork, Policy, Where

NO_LISTS: Mapping[str, tuple[IPNetwork, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, weakref_slot=True)
class PolicySet:
    """Immutable; equal sets decide alike. The order of the policies means nothing."""

    policies: tuple[Policy, ...]
    prefix_lists: Mapping[str, tuple[IPNetwork, ...]]
    index: PolicyIndex = field(init=False, repr=False, compare=False)
    place_counts: bool = field(init=False, repr=False, compare=False)
    """Whether any of them looks at countries or networks, or they are ``too_large``."""
    too_large: bool = field(init=False, repr=False, compare=False)
    """Whether the addresses they allow are too many networks to be said. No decision names any
    then, and each is to be held to the very address it was made for."""

    size: int = field(init=False, repr=False, compare=False)
    """How much there is to it: policies, deny rules, and the entries of all their lists."""
    weight: int = field(init=False, repr=False, compare=False)
    """The memory it takes with all that it remembers and all that edges are told of it, in units of
    some 250 bytes: as much as a network takes, or an entry of a list."""

    told: int | None = field(init=False, repr=False, compare=False)
    """How many networks edges are told of a socket with these policies; ``None`` if it is more than
    they take, and they close the socket."""

    lists: InitVar[ListSets | None] = None
    """For ``for_cases``: lists that are sorted already."""

    def __post_init__(self, lists: ListSets | None) -> None:
        given = lists or ListSets(self.prefix_lists)
        index = PolicyIndex.build(self.policies, given, for_cases=lists is not None)
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "too_large", index.reaches.too_large)
        object.__setattr__(self, "size", self._size())
        object.__setattr__(self, "told", index.reaches.told())
        object.__setattr__(self, "weight", self._weight())
        wheres = (where for policy in self.policies for where in places(policy))
        object.__setattr__(
            self, "place_counts", self.too_large or any(map(_looks_at_place, wheres))
        )

    @classmethod
    def build(
        cls,
        policies: Iterable[Policy],
        prefix_lists: Mapping[str, tuple[IPNetwork, ...]] = NO_LISTS,
    ) -> Self:
        """Index ``policies``. A prefix list that is not among ``prefix_lists`` has no addresses: it
        meets no condition, and in a deny rule it counts as a match (unknown is deny).
        """
        return cls(tuple(sorted(policies, key=lambda p: p.policy_id)), prefix_lists)

    @classmethod
    def for_cases(cls, policies: Iterable[Policy], lists: ListSets) -> Self:
        """As ``build``, for a few decisions of which none may become a grant: they do not say from
        where else they hold.
        """
        return cls(tuple(policies), lists.prefix_lists, lists)

    def _weight(self) -> int:
        reaches = self.index.reaches
        # Networks as they are written, and sorted; those that results are remembered as; those of
        # the rule, which edges are told; and the text of these and of all sets.
        rule = min(reaches.rule_size(), MAX_LISTED)
        return 2 * self.size + reaches.most_held + 2 * rule + (self.told or 0) // 4

    def _size(self) -> int:
        size, wheres = 0, set[Where]()
        for policy in self.policies:
            whos = [policy.who, *(rule.who for rule in policy.denies if rule.who)]
            size += 1 + len(policy.denies) + sum(1 for who in whos for _ in entries(who))
            wheres.update(places(policy))
        for where in wheres:
            size += len(where.prefixes)
            size += sum(len(self.prefix_lists.get(name, ())) for name in where.prefix_lists)
        return size


def places(policy: Policy) -> Iterator[Where]:
    """What a policy says of places: its condition's, and those of its deny rules."""
    yield policy.where
    for deny in policy.denies:
        if deny.where is not None:
            yield deny.where


def _looks_at_place(where: Where) -> bool:
    return bool(where.countries or where.countries_not or where.asns or where.asns_not)
