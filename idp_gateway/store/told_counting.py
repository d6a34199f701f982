"""Counts what edges are told of rules about addresses, in so many steps, and remembers it.

Lists may be megabytes: their addresses are read when something is counted of them, and not before.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection

from idp_gateway.policy_documents import networks_in
from idp_gateway.policy_records import PrefixListHead, PrefixListRecord
from idp_gateway.store.policy_places import Place, digest_of, places_of
from idp_gateway.store.policy_sizes import PolicySize, size_of
from idp_gateway.store.rules import AccountRules, list_heads, lists_called
from policy import address_sets
from policy.address_sets import EVERYWHERE, AddressSet
from policy.index import ListSets
from policy.most_told import ToldOf
from policy.native import MAX_NETWORKS
from policy.steps import OutOfSteps, Steps
from policy.types import IPNetwork

MAX_COUNTED = 200_000
"""Steps that are taken to count what comes of rules, in one change: everybody who writes waits for
it, some tenths of a second."""
_UNCOUNTABLE = -1
_READING = 4
"""Steps it takes to read a network."""
_MOST_REMEMBERED = 20_000
_ANYWHERE = ToldOf(allowed=frozenset({EVERYWHERE}))
"""Lets somebody in from anywhere, as a socket's own lists, approvals and guests do."""


class Bearing(NamedTuple):
    """What bears on a socket."""

    policy_ids: frozenset[str]
    anywhere: bool
    """Whether somebody is let in from anywhere, beside the policies."""


class _Counted:
    """What was counted of rules, by a digest of them; in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, int | None] = OrderedDict()

    def find(self, key: bytes) -> tuple[int | None] | None:
        with self._lock:
            return (self._known[key],) if key in self._known else None

    def keep(self, key: bytes, told: int | None) -> None:
        with self._lock:
            self._known[key] = told
            if len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)


_counted = _Counted()


@dataclass(frozen=True, slots=True)
class _Weighed:
    """One policy, looked at once however many sockets it bears on."""

    key: bytes
    """Stands for its document and the lists it names."""
    size: PolicySize
    allowed: int
    denied: int
    """Networks, as ``PolicySize`` has them."""


@dataclass(slots=True)
class Counting:
    """Counts for one change, in so many steps."""

    rules: AccountRules
    lists: "NamedLists"
    steps: Steps = field(default_factory=lambda: Steps(MAX_COUNTED))
    unfinished: bool = False
    """Whether something was not counted for want of steps."""
    learned: bool = False
    """Whether something was counted that was not remembered."""
    _weighed: dict[str, _Weighed] = field(default_factory=dict)
    _placed: dict[str, ToldOf] = field(default_factory=dict)
    _made: dict[Place, AddressSet] = field(default_factory=dict)
    _lengths: Mapping[str, int] = field(init=False)
    _digests: Mapping[str, bytes] = field(init=False)
    _sets: ListSets = field(init=False)

    def __post_init__(self) -> None:
        heads = self.lists.heads
        self._lengths = {name: one.networks for name, one in heads.items()}
        self._digests = {name: digest_of(repr(one)) for name, one in heads.items()}
        self._sets = ListSets(self.lists)

    def most(self, bearing: Bearing) -> int | None:
        """As many networks as edges can be told at most, by what documents say; ``None`` if there
        are rules of which that does not tell.
        """
        weighed = [self._weigh(one) for one in bearing.policy_ids]
        if any(one.size.cuts for one in weighed):
            return None
        allowed = sum(one.allowed for one in weighed)
        denied = sum(one.denied for one in weighed)
        # The rule and the sets say what is allowed; what is denied is said as far as it is allowed.
        return 2 * allowed + (denied and denied + allowed)

    def at_most(self, bearing: Bearing) -> int | None:
        """As ``most``, from the addresses themselves; ``None`` if it was not counted."""

        def count() -> int:
            return self._told_of(bearing).at_most(self.steps)

        found = self._remembered(b"most", bearing, count)
        return None if found is None else found[0]

    def exactly(self, bearing: Bearing) -> tuple[int | None] | None:
        """As many networks as edges are told, ``None`` in a tuple if it is more than they take;
        ``None`` if it was not counted, which says nothing.
        """
        return self._remembered(
            b"exactly", bearing, lambda: self._told_of(bearing).exactly(self.steps)
        )

    def bound(self, bearing: Bearing, *, unknown: int) -> int:
        """The least that is known to be no fewer than edges are told."""
        known = self.at_most(bearing)
        known = unknown if known is None else min(known, MAX_NETWORKS)
        quickly = self.most(bearing)
        return known if quickly is None else min(known, quickly)

    def _remembered(
        self, what: bytes, bearing: Bearing, count: Callable[[], int | None]
    ) -> tuple[int | None] | None:
        key = self._key(what, bearing)
        known = _counted.find(key)
        if known is None:
            known = self._count(count)
            if known is None:
                return None
            self.learned = True
            _counted.keep(key, known[0])
        return None if known[0] == _UNCOUNTABLE else known

    def _count(self, count: Callable[[], int | None]) -> tuple[int | None] | None:
        """``None`` if it did not come to its end, as others did before it."""
        alone = self.steps.left == MAX_COUNTED
        try:
            return (count(),)
        except OutOfSteps:
            if alone:
                return (_UNCOUNTABLE,)  # remembered, so that others have their turn
            self.unfinished = True
            return None

    def _weigh(self, policy_id: str) -> _Weighed:
        if policy_id not in self._weighed:
            policy = self.rules.policies[policy_id]
            size, key = size_of(policy), hashlib.sha256(digest_of(policy.document))
            for name in sorted(size.named):
                key.update(f"\0{name}\0".encode() + self._digests.get(name, b""))
            self._weighed[policy_id] = _Weighed(
                key.digest(), size, size.allowed(self._lengths), size.denied(self._lengths)
            )
        return self._weighed[policy_id]

    def _key(self, what: bytes, bearing: Bearing) -> bytes:
        keys = sorted(self._weigh(one).key for one in bearing.policy_ids)
        return hashlib.sha256(b"".join((what, b"*" if bearing.anywhere else b"", *keys))).digest()

    def _told_of(self, bearing: Bearing) -> ToldOf:
        self.steps.take(more=len(bearing.policy_ids))
        parts = [self._place(one) for one in bearing.policy_ids]
        return ToldOf.together([*parts, _ANYWHERE] if bearing.anywhere else parts)

    def _place(self, policy_id: str) -> ToldOf:
        if policy_id not in self._placed:
            size = self._weigh(policy_id).size
            self.steps.take(more=_READING * size.networks(self._lengths) + size.denies)
            found = places_of(self.rules.policies[policy_id].document)
            self._placed[policy_id] = ToldOf(
                allowed=frozenset(
                    EVERYWHERE if one is None else self._allowed(one) for one in found.allowed
                ),
                denied=frozenset(map(self._denied, found.denied)),
                cuts=frozenset(map(self._denied, found.cuts)),
            )
        return self._placed[policy_id]

    def _allowed(self, place: Place) -> AddressSet:
        if place not in self._made:
            listed = (self._sets.named(name) for name in place.named)
            made = address_sets.union([place.written, *(one for one in listed if one)])
            self._made[place] = made
        return self._made[place]

    def _denied(self, place: Place) -> AddressSet:
        """A list that is not there is everywhere."""
        return self._allowed(place) if place.named <= self._lengths.keys() else EVERYWHERE


class NamedLists(Mapping[str, tuple[IPNetwork, ...]]):
    """Lists of an account, of which those are read that are asked for."""

    def __init__(
        self,
        connection: Connection,
        heads: Mapping[str, PrefixListHead],
        given: PrefixListRecord | None = None,
    ) -> None:
        self._connection, self._given = connection, given
        self.heads = heads if given is None else {**heads, given.name: given.head}

    @classmethod
    def of(cls, connection: Connection, account_id: str, rules: AccountRules) -> "NamedLists":
        """Those that policies name."""
        return cls(connection, list_heads(connection, account_id, rules.named))

    def but(self, given: PrefixListRecord) -> "NamedLists":
        """As these, with one in the place of another."""
        return NamedLists(self._connection, self.heads, given)

    def __getitem__(self, name: str) -> tuple[IPNetwork, ...]:
        if self._given is not None and name == self._given.name:
            return networks_in(self._given)
        account_id = self.heads[name].account_id
        return networks_in(lists_called(self._connection, account_id, [name])[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.heads)

    def __len__(self) -> int:
        return len(self.heads)
