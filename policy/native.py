"""What an edge can hold by the address alone, without asking anybody.

``source_rule`` never refuses an address from which ``evaluate`` would allow somebody something.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from policy.address_sets import EVERYWHERE, AddressSet, source_id
from policy.policy_set import PolicySet
from policy.reach import MAX_LISTED, MAX_SETS, Reaches
from policy.types import IPAddress, IPNetwork

__all__ = ["MAX_SETS", "SourceRule", "open_rule", "source_id", "source_rule", "source_sets"]

MAX_NETWORKS = MAX_LISTED
"""Networks that the rule and the sets of one socket may name in all, one in several places counted
there each. Edges take no more: everything they are told goes to every edge at every change."""


@dataclass(frozen=True, slots=True)
class SourceRule:
    """Networks aggregated and in order: as few as can say it."""

    allow: tuple[IPNetwork, ...] | None
    """Outside of these nobody is allowed; ``None`` if anywhere is good, empty if nowhere is."""
    deny: tuple[IPNetwork, ...] = ()
    """Where deny rules keep everybody out at all times, inside of ``allow``."""
    too_large: bool = False
    """Whether the rule is too much for an edge. It names nothing then, and what no edge can keep
    out must be closed."""

    def admits(self, address: IPAddress) -> bool:
        """Whether somebody may be allowed from there."""
        if self.too_large or address in AddressSet.of(self.deny):
            return False
        return self.allow is None or address in AddressSet.of(self.allow)


def source_rule(policies: PolicySet) -> SourceRule:
    """The rule for one socket. Its deny part holds deny rules that say nothing but addresses."""
    return _rule(policies.index.reaches)


def open_rule(policies: PolicySet, rule: SourceRule) -> SourceRule:
    """The rule for a socket that asks nobody who they are, where ``rule`` is for one that does.
    Addresses are all it can be held to, so
    those of every policy count, whomever it names: taking the last person out of one must not open
    the socket to everybody. Where no policy lets anybody in, it is held to what is denied alone.
    """
    index = policies.index
    conditions = index.reaches.allowed | index.places_of_nobody
    if not index.places_of_nobody:
        return rule if conditions else replace(rule, allow=None)
    denied = (deny.addresses for deny in index.by_address)
    return _rule(Reaches.of(conditions, denied, ()))


def _rule(reaches: Reaches) -> SourceRule:
    anywhere = reaches.reached == EVERYWHERE
    if reaches.rule_size() > MAX_NETWORKS:
        return SourceRule(allow=(), too_large=True)
    allow = None if anywhere else reaches.reached.networks()
    return SourceRule(allow, reaches.denied.networks())


def source_sets(policies: PolicySet) -> Mapping[str, tuple[IPNetwork, ...]] | None:
    """Every set of addresses a ``Decision.source_ids`` may name, by its id: the address conditions
    of allowing policies without what deny rules take away that say more than addresses. None of
    them is empty or everywhere. ``None`` if they, and the rule, are too much for an edge: it could
    hold no certificate to its addresses.
    """
    reaches = policies.index.reaches
    if reaches.told() is None:
        return None
    return dict(sorted((reaches.name(reach), reach.networks) for reach in reaches.sources()))
