"""Documents as they are stored, read once into what is decided on."""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, Generic, TypeVar

from idp_gateway.flights import Flights
from idp_gateway.policy_records import PolicyRecord, PrefixListRecord
from policy.document import PolicyDocument
from policy.types import DenyRule, IPNetwork, Policy

_MOST_REMEMBERED = 64 << 20
"""Weight of what either memory keeps: a character of a document is one, a network is sixty-four."""
_NETWORK_WEIGHT = 64
_OWN_WEIGHT = 1024

V = TypeVar("V")


class Remembered(Generic[V]):
    """What was made last, up to a weight in all; safe in any thread. Thousands of small documents
    are kept, and few large ones. One thread makes each; others who want it wait.
    """

    def __init__(self, most: int) -> None:
        self._most, self._weight = most, 0
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._made: Flights[tuple[V, int]] = Flights()

    def get(self, key: Hashable, make: Callable[[], tuple[V, int]]) -> V:
        """What is kept under ``key``; else what ``make`` makes, which tells its weight too."""
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known[0]
        made = self._made.once(key, make)
        with self._lock:
            before = self._known.pop(key, None)
            self._weight += made[1] - (0 if before is None else before[1])
            self._known[key] = made if before is None else (before[0], made[1])
            while self._weight > self._most and len(self._known) > 1:
                self._weight -= self._known.popitem(last=False)[1][1]
        return made[0] if before is None else before[0]


_policies: Remembered[Policy] = Remembered(_MOST_REMEMBERED)
_lists: Remembered[tuple[IPNetwork, ...]] = Remembered(_MOST_REMEMBERED)


def stored_form(document: PolicyDocument) -> str:
    """Canonical JSON: the same document always has the same text."""
    return json.dumps(document.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def stored_json(text: str) -> Mapping[str, Any]:
    """A stored document as clients are shown it."""
    value: Mapping[str, Any] = json.loads(text)
    return value


def policy_in(record: PolicyRecord) -> Policy:
    """What a policy in force is decided by."""
    key = record.policy_id, record.name, record.document

    def make() -> tuple[Policy, int]:
        policy = read_stored(record.document).policy(record.policy_id, record.name)
        return policy, _OWN_WEIGHT + len(record.document) + _NETWORK_WEIGHT * _networks_of(policy)

    return _policies.get(key, make)


def _networks_of(policy: Policy) -> int:
    """Networks it holds in memory; rules that share a set hold it once."""
    wheres = [policy.where, *(rule.where for rule in policy.denies if rule.where is not None)]
    return sum(
        len(one) for one in {id(where.prefixes): where.prefixes for where in wheres}.values()
    )


def read_stored(document: str) -> PolicyDocument:
    """A document out of the store.

    Raises:
        policy.errors.DocumentError: it was stored by a later version, or is damaged.
    """
    return PolicyDocument.from_json(json.loads(document))


def meaning(document: PolicyDocument) -> tuple[Policy, frozenset[DenyRule]]:
    """What a document says, without names: equal for documents that decide alike."""
    policy = document.policy("")
    denies = frozenset(replace(rule, name="") for rule in policy.denies)
    return replace(policy, denies=()), denies


def lists_named(document: PolicyDocument) -> tuple[str, ...]:
    """The account's lists a document looks at; those it brings itself are not among them."""
    policy = document.policy("")
    places = [policy.where, *(rule.where for rule in policy.denies if rule.where is not None)]
    return tuple(sorted({name for where in places for name in where.prefix_lists}))


def networks_in(record: PrefixListRecord) -> tuple[IPNetwork, ...]:
    """The addresses of a list."""

    def make() -> tuple[tuple[IPNetwork, ...], int]:
        networks = tuple(map(ip_network, record.prefixes))
        return networks, _OWN_WEIGHT + 2 * _NETWORK_WEIGHT * len(networks)

    return _lists.get(record.prefixes, make)
