"""What an edge may enforce of a socket's policies on the address alone, as its feed tells it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Self
from weakref import ReferenceType, ref

from idp_gateway.canonical import canonical
from idp_gateway.records import SocketRecord
from idp_gateway.rules import ClosedForNow, Rules
from policy.address_sets import EVERYWHERE
from policy.native import SourceRule, open_rule, source_rule, source_sets
from policy.policy_set import PolicySet
from policy.types import IPNetwork, SocketType


@dataclass(frozen=True, kw_only=True)
class AddressRules:
    """The rules of one socket. What edges are told of them is written once, for all sockets."""

    rule: SourceRule = field(default_factory=lambda: SourceRule(allow=None))
    open_rule: SourceRule | None = None
    """For a socket that asks nobody who they are; ``None`` if it is ``rule``."""
    sets: Mapping[str, tuple[IPNetwork, ...]] | None = field(
        default_factory=lambda: MappingProxyType({})
    )
    """Networks by the ids that client certificates name them with; ``None`` if they are too many.
    """
    ends: tuple[datetime, ...] = ()
    """When policies end that are in them; from then on others are right."""

    @classmethod
    def of(cls, policies: PolicySet) -> Self:
        """The rules of a socket on which ``policies`` bear; none, if there is no policy at all."""
        if not policies.policies:
            return cls()
        ends = {one.when.before for one in policies.policies}
        rule = source_rule(policies)
        return cls(
            rule=rule,
            open_rule=open_rule(policies, rule),
            sets=source_sets(policies),
            ends=tuple(end for end in ends if end is not None),
        )

    def members(self, socket: SocketRecord) -> Mapping[str, str]:
        """As members of the feed's SOCKET, each as canonical JSON; one that says nothing is left
        out.

        An edge sees connections to TCP and TLS sockets only: HTTP sessions carry their address.
        Sets are for those that ask for certificates. Where rule or sets are too large, an edge
        could not hold anybody to them, and is told to close the socket.
        """
        if not SocketType(socket.socket_type).has_own_port:
            return {}
        if socket.cloud_authentication_enabled:
            return self._told_of_identities
        return self._told

    @cached_property
    def _told_of_identities(self) -> Mapping[str, str]:
        if self.rule.too_large or self.sets is None:
            return _CLOSED
        found = _rule(self.rule.allow, self.rule.deny)
        if self.sets:
            sets = {key: list(map(str, networks)) for key, networks in self.sets.items()}
            found["source_sets"] = canonical(sets)
        return found

    @cached_property
    def _told(self) -> Mapping[str, str]:
        rule = self.open_rule or self.rule
        return _CLOSED if rule.too_large else _rule(rule.allow, rule.deny)


def _rule(allow: tuple[IPNetwork, ...] | None, deny: tuple[IPNetwork, ...]) -> dict[str, str]:
    if allow is None and not deny:
        return {}
    texts = None if allow is None else list(map(str, allow))
    return {"source_rule": canonical({"allow": texts, "deny": list(map(str, deny))})}


_CLOSED = MappingProxyType({"source_rules_too_large": "true"})
NO_RULES = AddressRules()
CLOSED = AddressRules(rule=SourceRule(allow=(), deny=EVERYWHERE.networks()))
"""For a socket whose rules cannot be made now: nothing of it is open, whether it asks who is there
or not."""


class RememberedRules:
    """The rules of the policy sets that are kept ready: sockets with the same policies share
    theirs, and a change of something else of a socket does not make them anew. In any thread.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        # By identity, as comparing sets of thousands of policies costs more; and only as long as
        # the set is kept elsewhere, where what is kept is bounded.
        self._known: dict[int, tuple[ReferenceType[PolicySet], AddressRules]] = {}

    def __call__(self, sockets: Sequence[SocketRecord]) -> Mapping[str, AddressRules]:
        """The rules of those of ``sockets`` whose edges look at addresses, by socket id."""
        enforced = [one for one in sockets if SocketType(one.socket_type).has_own_port]
        found = zip(enforced, self._rules.guarded_all(enforced), strict=True)
        return {socket.socket_id: self._of(guarded.policies) for socket, guarded in found}

    def ready(self, sockets: Sequence[SocketRecord]) -> Mapping[str, AddressRules]:
        """As a call, of those alone whose rules need no making."""
        sets = {one.socket_id: self._rules.ready(one) for one in sockets}
        known = {key: self._known.get(id(one)) for key, one in sets.items() if one is not None}
        return {key: found[1] for key, found in known.items() if found is not None}

    def _of(self, policies: PolicySet) -> AddressRules:
        if isinstance(policies, ClosedForNow):
            return CLOSED
        key = id(policies)
        known = self._known.get(key)
        if known is None:
            gone = ref(policies, lambda _: self._known.pop(key, None))
            known = self._known[key] = gone, AddressRules.of(policies)
        return known[1]
