"""The policies that bear on one socket, made ready to be decided on many times."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from policy.index import PolicyIndex
from policy.types import IPNetwork, Policy

NO_LISTS: Mapping[str, tuple[IPNetwork, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Immutable; equal sets decide alike. The order of the policies means nothing."""

    policies: tuple[Policy, ...]
    prefix_lists: Mapping[str, tuple[IPNetwork, ...]]
    index: PolicyIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = PolicyIndex.build(self.policies, self.prefix_lists)
        object.__setattr__(self, "index", index)

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
