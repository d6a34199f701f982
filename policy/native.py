"""What an edge can hold by the address alone, without asking anybody.

``source_rule`` never refuses an address from which ``evaluate`` would allow somebody something.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from policy.address_sets import EVERYWHERE, AddressSet, source_id, union
from policy.policy_set import PolicySet
from policy.reach import Reach
from policy.types import IPAddress, IPNetwork

__all__ = ["SourceRule", "source_id", "source_rule", "source_sets"]

MAX_NETWORKS = 100_000
"""Networks in all sets of one socket, one in several sets counted in each."""


@dataclass(frozen=True, slots=True)
class SourceRule:
    """Networks aggregated and in order: as few as can say it."""

    allow: tuple[IPNetwork, ...] | None
    """Outside of these nobody is allowed; ``None`` if anywhere is good, empty if nowhere is."""
    deny: tuple[IPNetwork, ...] = ()
    """Where deny rules keep everybody out at all times."""
    too_large: bool = False
    """Whether the sets of ``source_sets`` are too much for an edge, which then can hold no grant to
    its addresses: what rests on it that they are held must be closed."""

    def admits(self, address: IPAddress) -> bool:
        """Whether somebody may be allowed from there."""
        return address not in AddressSet.of(self.deny) and (
            self.allow is None or address in AddressSet.of(self.allow)
        )


def source_rule(policies: PolicySet) -> SourceRule:
    """The rule for one socket. Its deny part holds deny rules that say nothing but addresses."""
    reaches = policies.index.reaches
    allowed = EVERYWHERE if EVERYWHERE in reaches.allowed else union(reaches.allowed)
    return SourceRule(
        None if allowed == EVERYWHERE else allowed.networks(),
        reaches.denied.networks(),
        too_large=_sources(policies) is None,
    )


def source_sets(policies: PolicySet) -> Mapping[str, tuple[IPNetwork, ...]]:
    """Every set of addresses a ``Decision.source_ids`` may name, by its id: the address conditions
    of allowing policies without what deny rules take away. None of them is empty or everywhere.
    There are none if they are too large.
    """
    found = {source_id(reach.networks): reach.networks for reach in _sources(policies) or ()}
    return dict(sorted(found.items()))


def _sources(policies: PolicySet) -> list[Reach] | None:
    if policies.too_large:
        return None
    found, networks = [], 0
    for reach in policies.index.reaches.sources():
        found.append(reach)
        networks += len(reach.networks)
        if networks > MAX_NETWORKS:
            return None
    return found
