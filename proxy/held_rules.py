"""Address rules never go back: where a gateway has none of now yet, those the edge has stay.

A gateway says of which version the rules are that it tells, and which is wanted if they are older
(``docs/internals.md``, "Feed"). Another gateway may have told this edge newer ones, and its owner
that they are in force. An edge that has none closes the socket: which rules it had before it forgot
them is not known.
"""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from types import MappingProxyType

from policy.types import IPNetwork
from proxy.state import EdgeSocket, EdgeState, SourceRule

MAX_NAMED = 1000
"""Sockets with late rules that an acknowledgement names."""

_NOBODY = SourceRule(allow=(), deny=(ip_network("0.0.0.0/0"), ip_network("::/0")))
_NO_SETS: Mapping[str, tuple[IPNetwork, ...]] = MappingProxyType({})


def in_effect(held: EdgeState | None, told: EdgeState) -> EdgeState:
    """What to serve of what is ``told``, by an edge that serves ``held``."""
    late = {key: one for key, one in told.sockets.items() if one.rules_wanted is not None}
    if not late:
        return told
    known: Mapping[str, EdgeSocket] = {} if held is None else held.sockets
    kept = {key: _newest(known.get(key), one) for key, one in late.items()}
    return replace(told, sockets=MappingProxyType({**told.sockets, **kept}))


def late_sockets(state: EdgeState) -> tuple[str, ...] | None:
    """Ids of the sockets that are served by older rules than they should be; ``None`` if they are
    too many to be named.
    """
    late = [key for key, one in state.sockets.items() if one.rules_wanted is not None]
    return tuple(sorted(late)) if len(late) <= MAX_NAMED else None


def _newest(held: EdgeSocket | None, told: EdgeSocket) -> EdgeSocket:
    wanted = told.rules_wanted or 0
    if held is None or not _is_alike(held, told) or held.rules_version > wanted:
        # Open again with what is no older than what is wanted now: this edge may have had that.
        closed = replace(told, source_rule=_NOBODY, source_sets=_NO_SETS, rules_version=wanted)
        return replace(closed, source_rules_too_large=False)
    if 0 < told.rules_version >= held.rules_version:
        return told  # of the same version too: what this edge closed waits for no more than that
    has_all = held.rules_version == wanted and held.source_rule != _NOBODY
    kept = replace(
        told,
        source_rule=held.source_rule,
        source_sets=held.source_sets,
        source_rules_too_large=held.source_rules_too_large,
        rules_version=held.rules_version,
        rules_wanted=None if has_all else wanted,
    )
    return held if kept == held else kept


def _is_alike(held: EdgeSocket, told: EdgeSocket) -> bool:
    """Whether rules of the one are for sockets like the other."""
    kinds = ((one.socket_type, one.identity_required) for one in (held, told))
    return next(kinds) == next(kinds)
