"""How much edges are told of one account: the rules about addresses of its TCP and TLS sockets.

Every edge has all of them in memory. What it is told of a socket is counted, not what documents
say: an address that is denied to one person leaves a hundred networks. It counts as the most that
it can be when some of the rules are taken away, for that is never refused. Everybody who writes
waits for the counting, so what was counted is remembered, whom rules name is not looked at, and
only so much is done for one change; of the rest as much counts as an edge takes at most.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy import Connection, select, union

from idp_gateway.errors import (
    Conflict,
    GatewayError,
    NotCounted,
    QuotaExceeded,
    TooManyAttempts,
)
from idp_gateway.policy_records import PolicyRecord, PrefixListRecord
from idp_gateway.request_records import RequestState
from idp_gateway.store.policy_places import places_of
from idp_gateway.store.rules import (
    OWN_PORT,
    SOCKETS,
    AccountRules,
    policies_in,
)
from idp_gateway.store.told_counting import Bearing, Counting, NamedLists
from idp_gateway.tables import table_of
from idp_gateway.tables_of_requests import AccessRequested, Guest
from policy.native import MAX_NETWORKS

Given = ParamSpec("Given")
Written = TypeVar("Written")

MAX_TOLD_NETWORKS = 400_000
"""Networks that edges are told of all TCP and TLS sockets of an account, for each of them."""
TOO_LARGE = "source-rules-too-large"
_TRIES = 8
_RETRY_SECONDS = 1
_REQUESTS, _GUESTS = table_of(AccessRequested), table_of(Guest)


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

    def bearing(self, rules: AccountRules) -> Counter[Bearing]:
        """What bears on them, and on how many of them."""
        return Counter(
            Bearing(rules.bearing(socket_id), socket_id in self.anywhere)
            for socket_id in self.socket_ids
        )

    def count(self, counting: Counting) -> int:
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


def _counting_of(connection: Connection, account_id: str, sockets: _Told) -> Counting:
    rules = policies_in(connection, account_id, sockets.socket_ids)
    return Counting(rules, NamedLists.of(connection, account_id, rules))


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
        NotCounted: it is not known yet; see ``until_counted``.
    """
    sockets = _Told.of(connection, account_id, now)
    counting = _counting_of(connection, account_id, sockets)
    told = sockets.count(counting)
    if told <= MAX_TOLD_NETWORKS:
        return
    refusal = QuotaExceeded(
        f"{_all_sockets()}; these would come to {told}, with what may be more when one of them is"
        " taken away. An address that is denied to somebody leaves a hundred networks around it"
    )
    if before is None:
        raise _refusing(refusal, counting)
    past = _before(counting, before)
    if _tells_more(sockets, counting, past, before):
        raise _refusing(refusal, counting, past)


def _refusing(refusal: GatewayError, *countings: Counting) -> GatewayError:
    """The refusal, if all is counted or nothing more would be the next time."""
    again = any(one.unfinished for one in countings) and any(one.learned for one in countings)
    return NotCounted(refusal.message) if again else refusal


def until_counted(write: Callable[Given, Written]) -> Callable[Given, Written]:
    """Have something written again and again, as long as each time more is counted of it; whoever
    else writes has their turn in between.
    """

    @wraps(write)
    def again(*given: Given.args, **named: Given.kwargs) -> Written:
        for _ in range(_TRIES - 1):
            try:
                return write(*given, **named)
            except NotCounted:
                continue
        try:
            return write(*given, **named)
        except NotCounted as error:
            raise TooManyAttempts(
                "what edges are told of your rules takes long to count; try again soon, it goes on"
                " from here",
                retry_after=_RETRY_SECONDS,
            ) from error

    return again


def _tells_more(
    sockets: _Told,
    counting: Counting,
    past: Counting,
    before: PolicyRecord | PrefixListRecord,
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
    more = 0
    for one, times in sockets.bearing(rules).items():
        if not changed.isdisjoint(one.policy_ids):
            known = past.bound(one, unknown=0)
            more += times * (counting.bound(one, unknown=MAX_NETWORKS) - known)
    return more > 0


def _before(counting: Counting, before: PolicyRecord | PrefixListRecord) -> Counting:
    rules, lists = counting.rules, counting.lists
    if isinstance(before, PrefixListRecord):
        return Counting(rules, lists.but(before))
    return Counting(replace(rules, policies={**rules.policies, before.policy_id: before}), lists)


def check_admitting(connection: Connection, account_id: str, socket_id: str, now: datetime) -> None:
    """Make sure that edges can still be told of a socket when somebody is let in for a while, which
    is from anywhere. Call it before that is written down.

    Raises:
        Conflict: it would close the socket for everybody, or cannot be shown not to.
        QuotaExceeded: edges would be told too much of all sockets of the account.
        NotCounted: it is not known yet; see ``until_counted``.
    """
    sockets = _Told.of(connection, account_id, now)
    if socket_id not in sockets.socket_ids or socket_id in sockets.anywhere:
        return
    counting = _counting_of(connection, account_id, sockets)
    without = Bearing(counting.rules.bearing(socket_id), anywhere=False)
    admitting = without._replace(anywhere=True)
    if not _stays_open(counting, without, admitting):
        raise _refusing(_closing(), counting)
    others = replace(sockets, anywhere=sockets.anywhere | {socket_id})
    told = others.count(counting)
    more = counting.bound(admitting, unknown=MAX_NETWORKS) > counting.bound(without, unknown=0)
    if told > MAX_TOLD_NETWORKS and more:
        refusal = QuotaExceeded(
            "whoever is let in for a while may come from anywhere, and the addresses that are"
            f" denied on this service count then: {_all_sockets()}; these would come to {told}. Its"
            " owner can deny fewer or larger networks, here or on other services"
        )
        raise _refusing(refusal, counting)


def _stays_open(counting: Counting, without: Bearing, admitting: Bearing) -> bool:
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
