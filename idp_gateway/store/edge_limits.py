"""How much edges are told of one account: the rules about addresses of its TCP and TLS sockets.

Every edge has all of them in memory. What it is told of a socket is counted, not what documents
say: an address that is denied to one person leaves a hundred networks. Counting takes time where
such rules are, so what was counted is remembered, and only so much is counted for one change; of
the rest as much counts as an edge takes at most.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, select, union

from idp_gateway.errors import Conflict, QuotaExceeded
from idp_gateway.policy_documents import networks_in, policy_in
from idp_gateway.policy_records import PolicyRecord, PrefixListRecord
from idp_gateway.request_records import RequestState
from idp_gateway.store.policy_sizes import PolicySize
from idp_gateway.store.rules import OWN_PORT, SOCKETS, AccountRules, rules_in
from idp_gateway.tables import table_of
from idp_gateway.tables_of_requests import AccessRequested, Guest
from policy.errors import PolicyError
from policy.index import ListSets
from policy.native import MAX_NETWORKS, networks_told
from policy.types import Policy, Who

MAX_TOLD_NETWORKS = 400_000
"""Networks that edges are told of all TCP and TLS sockets of an account, for each of them."""
MAX_COUNTED = 50_000
"""Networks of rules that are sorted to count what comes of them, in one change: everybody who
writes waits for it, a third of a second."""
TOO_LARGE = "source-rules-too-large"
_MOST_REMEMBERED = 20_000
_REQUESTS, _GUESTS = table_of(AccessRequested), table_of(Guest)
_ANYBODY = Policy(policy_id="", who=Who(service_accounts=frozenset({"anybody"})))
"""Lets somebody in from anywhere, as a socket's own lists, approvals and guests do."""


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


@dataclass(slots=True)
class _Counting:
    """Counts for one change, as long as ``left`` lasts."""

    rules: AccountRules
    left: int = field(default_factory=lambda: MAX_COUNTED)
    _sizes: dict[str, PolicySize] = field(default_factory=dict)
    _lists: ListSets | None = None

    def most(self, policy_ids: frozenset[str], *, anywhere: bool) -> int | None:
        """As many networks as edges can be told at most, by what documents say; ``None`` if there
        are rules of which that does not tell.
        """
        sizes = [self._size(one) for one in policy_ids]
        if any(size.cuts for size in sizes):
            return None
        lengths = self._lengths()
        allowed = sum(size.allowed(lengths) for size in sizes)
        denied = sum(size.denied(lengths) for size in sizes)
        # The rule and the sets say what is allowed; what is denied is said as far as it is allowed.
        return allowed * (1 if anywhere else 2) + (denied and denied + allowed)

    def exactly(self, policy_ids: frozenset[str], *, anywhere: bool) -> int | None:
        """As many networks as edges are told; ``None`` if it is more than they take, or more than
        is still counted.
        """
        key = self._key(policy_ids, anywhere=anywhere)
        known = _counted.find(key)
        if known is None:
            lengths = self._lengths()
            self.left -= sum(self._size(one).networks(lengths) for one in policy_ids)
            if self.left < 0:
                return None
            known = (networks_told(self._policies(policy_ids, anywhere=anywhere), self._sets()),)
            _counted.keep(key, known[0])
        return known[0]

    def _size(self, policy_id: str) -> PolicySize:
        if policy_id not in self._sizes:
            self._sizes[policy_id] = PolicySize.of(self.rules.policies[policy_id])
        return self._sizes[policy_id]

    def _lengths(self) -> Mapping[str, int]:
        return {name: len(one.prefixes) for name, one in self.rules.prefix_lists.items()}

    def _sets(self) -> ListSets:
        if self._lists is None:
            lists = self.rules.prefix_lists
            self._lists = ListSets({name: networks_in(one) for name, one in lists.items()})
        return self._lists

    def _policies(self, policy_ids: frozenset[str], *, anywhere: bool) -> Iterator[Policy]:
        for policy_id in policy_ids:
            try:
                yield policy_in(self.rules.policies[policy_id])
            except (PolicyError, ValueError, TypeError, LookupError):
                continue  # it closes its sockets, which takes two networks
        if anywhere:
            yield _ANYBODY

    def _key(self, policy_ids: frozenset[str], *, anywhere: bool) -> bytes:
        digest = hashlib.sha256(b"anywhere" if anywhere else b"")
        for policy_id in sorted(policy_ids):
            policy = self.rules.policies[policy_id]
            digest.update(f"\0{policy_id}\0{policy.document}".encode())
            for name in sorted(self._size(policy_id).named):
                found = self.rules.prefix_lists.get(name)
                digest.update(f"\0{name}\0{','.join(found.prefixes) if found else '-'}".encode())
        return digest.digest()


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

    def count(self, rules: AccountRules) -> int:
        """Networks in all, counted only if the most that they can be is too much."""
        counting = _Counting(rules)
        of_each = [
            (_bearing(rules, socket_id), socket_id in self.anywhere)
            for socket_id in self.socket_ids
        ]
        quickly = {one: counting.most(one[0], anywhere=one[1]) for one in set(of_each)}
        most = {
            one: _at_most(known if known is not None else counting.exactly(one[0], anywhere=one[1]))
            for one, known in quickly.items()
        }
        if sum(most[one] for one in of_each) > MAX_TOLD_NETWORKS:
            for one, known in most.items():
                exact = _at_most(counting.exactly(one[0], anywhere=one[1]))
                most[one] = min(known, exact)
        return sum(most[one] for one in of_each)


def _at_most(told: int | None) -> int:
    return MAX_NETWORKS if told is None else min(told, MAX_NETWORKS)


def _bearing(rules: AccountRules, socket_id: str) -> frozenset[str]:
    return frozenset(policy.policy_id for policy in rules.of_socket(socket_id))


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
    told = sockets.count(rules)
    if told <= MAX_TOLD_NETWORKS or (
        before is not None and told <= sockets.count(_with(rules, before))
    ):
        return
    raise QuotaExceeded(
        "what edges are told of the rules of all TCP and TLS sockets of an account can be no more"
        f" than {MAX_TOLD_NETWORKS} networks, counted for each socket; these would come to {told}."
        " An address that is denied to somebody leaves a hundred networks around it"
    )


def _with(rules: AccountRules, before: PolicyRecord | PrefixListRecord) -> AccountRules:
    if isinstance(before, PrefixListRecord):
        return replace(rules, prefix_lists={**rules.prefix_lists, before.name: before})
    return replace(rules, policies={**rules.policies, before.policy_id: before})


def check_admitting(connection: Connection, account_id: str, socket_id: str, now: datetime) -> None:
    """Make sure that edges can still be told of a socket when somebody is let in for a while, which
    is from anywhere. Call it before that is written down.

    Raises:
        Conflict: it would close the socket for everybody.
    """
    sockets = _Told.of(connection, account_id, now)
    if socket_id not in sockets.socket_ids or socket_id in sockets.anywhere:
        return
    rules = rules_in(connection, account_id, sockets.socket_ids)
    counting, bearing = _Counting(rules), _bearing(rules, socket_id)
    most = counting.most(bearing, anywhere=True)
    if most is None or most > MAX_NETWORKS:
        admitting = counting.exactly(bearing, anywhere=True)
        if admitting is None and counting.exactly(bearing, anywhere=False) is not None:
            raise _closing()
    others = replace(sockets, anywhere=sockets.anywhere | {socket_id})
    if others.count(rules) > max(MAX_TOLD_NETWORKS, sockets.count(rules)):
        raise _closing()


def _closing() -> Conflict:
    return Conflict(
        "whoever is let in for a while may come from anywhere, and the addresses that are denied on"
        " this service are then more than its edges take: it would be closed for everybody. Its"
        " owner can deny fewer or larger networks, or name this person in a policy with addresses",
        reason=TOO_LARGE,
    )
