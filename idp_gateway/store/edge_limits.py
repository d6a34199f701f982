"""How much edges are told of one account: the rules about addresses of its TCP and TLS sockets.

Every edge has all of them in memory. What it is told of a socket is counted, not what documents
say: an address that is denied to one person leaves a hundred networks. It counts as the most that
it can be when some of the rules are taken away, for that is never refused. Everybody who writes
waits for the counting, so what was counted is remembered, whom rules name is not looked at, and
only so much is done for one change; of the rest as much counts as an edge takes at most.
"""

import hashlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select, union

from idp_gateway.errors import Conflict, QuotaExceeded
from idp_gateway.policy_documents import networks_in
from idp_gateway.policy_records import PolicyRecord, PrefixListRecord
from idp_gateway.request_records import RequestState
from idp_gateway.store.policy_places import Place, digest_of, places_of
from idp_gateway.store.policy_sizes import PolicySize, size_of
from idp_gateway.store.rules import OWN_PORT, SOCKETS, AccountRules, rules_in
from idp_gateway.tables import table_of
from idp_gateway.tables_of_requests import AccessRequested, Guest
from policy import address_sets
from policy.address_sets import EVERYWHERE, AddressSet
from policy.index import ListSets
from policy.most_told import ToldOf
from policy.native import MAX_NETWORKS
from policy.steps import OutOfSteps, Steps
from policy.types import IPNetwork

MAX_TOLD_NETWORKS = 400_000
"""Networks that edges are told of all TCP and TLS sockets of an account, for each of them."""
MAX_COUNTED = 200_000
"""Steps that are taken to count what comes of rules, in one change: everybody who writes waits for
it, some tenths of a second."""
TOO_LARGE = "source-rules-too-large"
_READING = 4
"""Steps it takes to read a network."""
_MOST_REMEMBERED = 20_000
_REQUESTS, _GUESTS = table_of(AccessRequested), table_of(Guest)
_ANYWHERE = ToldOf(allowed=frozenset({EVERYWHERE}))
"""Lets somebody in from anywhere, as a socket's own lists, approvals and guests do."""


class _Bearing(NamedTuple):
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
class _Counting:
    """Counts for one change, in so many steps."""

    rules: AccountRules
    steps: Steps = field(default_factory=lambda: Steps(MAX_COUNTED))
    _weighed: dict[str, _Weighed] = field(default_factory=dict)
    _placed: dict[str, ToldOf] = field(default_factory=dict)
    _made: dict[Place, AddressSet] = field(default_factory=dict)
    _lengths: Mapping[str, int] = field(init=False)
    _digests: Mapping[str, bytes] = field(init=False)
    _sets: ListSets = field(init=False)

    def __post_init__(self) -> None:
        lists = self.rules.prefix_lists
        self._lengths = {name: len(one.prefixes) for name, one in lists.items()}
        self._digests = {name: digest_of(",".join(one.prefixes)) for name, one in lists.items()}
        self._sets = ListSets(_Lists(lists))

    def most(self, bearing: _Bearing) -> int | None:
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

    def at_most(self, bearing: _Bearing) -> int | None:
        """As ``most``, from the addresses themselves; ``None`` if it was not counted."""

        def count() -> int:
            return self._told_of(bearing).at_most(self.steps)

        found = self._remembered(b"most", bearing, count)
        return None if found is None else found[0]

    def exactly(self, bearing: _Bearing) -> tuple[int | None] | None:
        """As many networks as edges are told, ``None`` in a tuple if it is more than they take;
        ``None`` if it was not counted, which says nothing.
        """
        return self._remembered(
            b"exactly", bearing, lambda: self._told_of(bearing).exactly(self.steps)
        )

    def bound(self, bearing: _Bearing, *, unknown: int) -> int:
        """The least that is known to be no fewer than edges are told."""
        known = self.at_most(bearing)
        known = unknown if known is None else min(known, MAX_NETWORKS)
        quickly = self.most(bearing)
        return known if quickly is None else min(known, quickly)

    def _remembered(
        self, what: bytes, bearing: _Bearing, count: Callable[[], int | None]
    ) -> tuple[int | None] | None:
        key = self._key(what, bearing)
        known = _counted.find(key)
        if known is None:
            try:
                known = (count(),)
            except OutOfSteps:
                return None
            _counted.keep(key, known[0])
        return known

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

    def _key(self, what: bytes, bearing: _Bearing) -> bytes:
        keys = sorted(self._weigh(one).key for one in bearing.policy_ids)
        return hashlib.sha256(b"".join((what, b"*" if bearing.anywhere else b"", *keys))).digest()

    def _told_of(self, bearing: _Bearing) -> ToldOf:
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


class _Lists(Mapping[str, tuple[IPNetwork, ...]]):
    """Lists of an account, of which those are read that are asked for."""

    def __init__(self, records: Mapping[str, PrefixListRecord]) -> None:
        self._records = records

    def __getitem__(self, name: str) -> tuple[IPNetwork, ...]:
        return networks_in(self._records[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """The sockets of an account of which edges are told rules."""

    socket_ids: tuple[str, ...]
    anywhere: frozenset[str]
    """Those of them that let somebody in from anywhere."""

    @classmethod
    def of(cls, connection: Connection, account_id: str, now: datetime) -> "_Told":
        columns = SOCKETS.c.socket_id, SOCKETS.c.emails, SOCKETS.c.domains
        query = select(*columns).where(
            SOCKETS.c.account_id == account_id, SOCKETS.c.socket_type.in_(OWN_PORT)
        )
        rows = connection.execute(query).all()
        own = {socket_id for socket_id, emails, domains in rows if emails or domains}
        socket_ids = tuple(row[0] for row in rows)
        return cls(
            socket_ids=socket_ids,
            anywhere=frozenset(own | _for_a_while(connection, account_id, now)),
        )

    def bearing(self, rules: AccountRules) -> Counter[_Bearing]:
        """What bears on them, and on how many of them."""
        return Counter(
            _Bearing(rules.bearing(socket_id), socket_id in self.anywhere)
            for socket_id in self.socket_ids
        )

    def count(self, counting: _Counting) -> int:
        """Networks in all, looked at only if the most that documents say is too much."""
        sockets = self.bearing(counting.rules)
        quickly = {one: counting.most(one) for one in sockets}
        most = {
            one: counting.bound(one, unknown=MAX_NETWORKS)
            if known is None
            else min(known, MAX_NETWORKS)
            for one, known in quickly.items()
        }
        if sum(most[one] * times for one, times in sockets.items()) > MAX_TOLD_NETWORKS:
            most = {one: counting.bound(one, unknown=MAX_NETWORKS) for one in most}
        return sum(most[one] * times for one, times in sockets.items())


def _for_a_while(connection: Connection, account_id: str, now: datetime) -> set[str]:
    """Sockets on which an approval or a guest is in force, or will be."""
    approved = select(_REQUESTS.c.socket_id).where(
        _REQUESTS.c.account_id == account_id,
        _REQUESTS.c.state == RequestState.APPROVED,
        _REQUESTS.c.over_at > now,
    )
    invited = select(_GUESTS.c.socket_id).where(
        _GUESTS.c.account_id == account_id,
        _GUESTS.c.claimed_at.is_not(None),
        _GUESTS.c.revoked_at.is_(None),
        _GUESTS.c.ends_at > now,
    )
    return set(connection.execute(union(approved, invited)).scalars())


def _all_sockets() -> str:
    return (
        "what edges are told of the rules of all TCP and TLS sockets of an account can be no more"
        f" than {MAX_TOLD_NETWORKS} networks, counted for each socket"
    )


def check_told(
    connection: Connection,
    account_id: str,
    now: datetime,
    *,
    before: PolicyRecord | PrefixListRecord | None = None,
) -> None:
    """Make sure that edges are not told too much of the sockets of one account. ``before`` is what
    was changed, as it was: a change that leaves less to tell is never too much.

    Raises:
        QuotaExceeded: it is too much.
    """
    sockets = _Told.of(connection, account_id, now)
    rules = rules_in(connection, account_id, sockets.socket_ids)
    counting = _Counting(rules)
    told = sockets.count(counting)
    if told <= MAX_TOLD_NETWORKS or (
        before is not None and not _tells_more(sockets, counting, before)
    ):
        return
    raise QuotaExceeded(
        f"{_all_sockets()}; these would come to {told}, with what may be more when one of them is"
        " taken away. An address that is denied to somebody leaves a hundred networks around it"
    )


def _tells_more(
    sockets: _Told, counting: _Counting, before: PolicyRecord | PrefixListRecord
) -> bool:
    """Whether it is more than before, or is not known not to be."""
    rules = counting.rules
    if isinstance(before, PolicyRecord):
        after = rules.policies.get(before.policy_id)
        if after is None or places_of(after.document) == places_of(before.document):
            return False
        changed = {before.policy_id}
    else:
        named = before.name
        changed = {key for key, one in rules.policies.items() if named in one.prefix_lists}
    past = _Counting(_with(rules, before))
    more = 0
    for one, times in sockets.bearing(rules).items():
        if not changed.isdisjoint(one.policy_ids):
            known = past.bound(one, unknown=0)
            more += times * (counting.bound(one, unknown=MAX_NETWORKS) - known)
    return more > 0


def _with(rules: AccountRules, before: PolicyRecord | PrefixListRecord) -> AccountRules:
    if isinstance(before, PrefixListRecord):
        return replace(rules, prefix_lists={**rules.prefix_lists, before.name: before})
    return replace(rules, policies={**rules.policies, before.policy_id: before})


def check_admitting(connection: Connection, account_id: str, socket_id: str, now: datetime) -> None:
    """Make sure that edges can still be told of a socket when somebody is let in for a while, which
    is from anywhere. Call it before that is written down.

    Raises:
        Conflict: it would close the socket for everybody, or cannot be shown not to.
        QuotaExceeded: edges would be told too much of all sockets of the account.
    """
    sockets = _Told.of(connection, account_id, now)
    if socket_id not in sockets.socket_ids or socket_id in sockets.anywhere:
        return
    rules = rules_in(connection, account_id, sockets.socket_ids)
    counting = _Counting(rules)
    without = _Bearing(rules.bearing(socket_id), anywhere=False)
    admitting = without._replace(anywhere=True)
    if not _stays_open(counting, without, admitting):
        raise _closing()
    others = replace(sockets, anywhere=sockets.anywhere | {socket_id})
    told = others.count(counting)
    more = counting.bound(admitting, unknown=MAX_NETWORKS) > counting.bound(without, unknown=0)
    if told > MAX_TOLD_NETWORKS and more:
        raise QuotaExceeded(
            "whoever is let in for a while may come from anywhere, and the addresses that are"
            f" denied on this service count then: {_all_sockets()}; these would come to {told}. Its"
            " owner can deny fewer or larger networks, here or on other services"
        )


def _stays_open(counting: _Counting, without: _Bearing, admitting: _Bearing) -> bool:
    """Whether edges take what there is to tell when somebody is let in, or do not take it as it is.
    What was not counted is neither: whoever is let in would be left out where the rules are made.
    """
    most = counting.most(admitting)
    if most is not None and most <= MAX_NETWORKS:
        return True
    told = counting.exactly(admitting)
    if told is not None and told[0] is not None:
        return True
    return told is not None and counting.exactly(without) == (None,)


def _closing() -> Conflict:
    return Conflict(
        "whoever is let in for a while may come from anywhere, and the addresses that are denied on"
        " this service are then more than its edges take, or than can be counted at once: it might"
        " be closed for everybody. Its owner can deny fewer or larger networks, or name this person"
        " in a policy with addresses",
        reason=TOO_LARGE,
    )
