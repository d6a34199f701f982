"""Requests for access and their answers: each step is one transaction, and one of two wins.

All of them take the lock of ``Database.changing``, so that what a step was allowed by (the state,
the approvers, how many asked already) is still so when it is written.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from idp_gateway.approving import (
    ApprovalRules,
    Person,
    check_approval,
    check_not_own,
)
from idp_gateway.errors import Conflict, NotFound, TooManyAttempts
from idp_gateway.request_records import (
    AccessEventKind,
    AccessRequestRecord,
    ApprovalRecord,
    RequestState,
)
from idp_gateway.store.access_events import forget_events, note_request
from idp_gateway.store.accounts import IDENTITIES
from idp_gateway.store.approval_rules import rules_in_force
from idp_gateway.store.base import StorePart, columns_for, find_all, find_one, in_parts, values_of
from idp_gateway.store.edge_limits import check_admitting, until_counted
from idp_gateway.store.guests import forget_guests
from idp_gateway.store.rules import SOCKETS, renew, touch
from idp_gateway.tables import table_of
from idp_gateway.tables_of_requests import AccessApproval, AccessRequested

REQUESTS = table_of(AccessRequested)
APPROVALS = table_of(AccessApproval)

CLOSED = "request-closed"
OPEN_ALREADY = "request-open"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingLimits:
    """How much may be asked, so that nobody floods an owner."""

    window: timedelta = timedelta(days=1)
    by_person: int = 20
    """Within the window, of all sockets."""
    by_person_and_socket: int = 5
    """Within the window."""
    open_per_socket: int = 100


class AccessRequestStore(StorePart):
    """Tables ``access_requests`` and ``access_approvals``."""

    def add_access_request(
        self, request: AccessRequestRecord, person: Person, limits: AskingLimits
    ) -> AccessRequestRecord:
        """Keep a new request; how many approvals it needs is what the rules say now.

        Raises:
            NotFound: the socket is gone, or nobody may ask there any more.
            Conflict: one of the same person is open.
            TooManyAttempts: too much was asked of late.
        """
        now = request.created_at
        with self.database.changing() as connection:
            rules = rules_in_force(connection, request.socket_id)
            if rules is None or not rules.asking or rules.account_id != request.account_id:
                raise NotFound("there is no such service", reason="socket-unknown")
            _expire(connection, request, now)
            _check_limits(connection, request, limits, now)
            kept = replace(request, needed=rules.needed, state=RequestState.PENDING)
            connection.execute(insert(REQUESTS).values(values_of(kept)))
            note_request(
                connection,
                AccessEventKind.ASKED,
                kept,
                person,
                at=now,
                words=kept.reason,
                minutes=kept.minutes,
            )
        return kept

    @until_counted
    def approve_access_request(
        self, request_id: str, person: Person, *, minutes: int | None, note: str, now: datetime
    ) -> AccessRequestRecord:
        """One person's yes; with the last that it needs, it lets in from now on.

        ``minutes`` is at most what was asked for; of several approvers the least counts. Whoever
        is no approver any more does not count, even if they were when they approved.

        Raises:
            NotFound: no such request, or none this person may answer.
            Forbidden: it is their own.
            Conflict: it is answered, taken back or expired, approved by them already, or needs
                two people where there are not two, or would close the socket for everybody, or
                that is not known.
            QuotaExceeded: edges would be told too much of the account's sockets.
        """
        with self.database.reading() as connection:
            request, *_ = _to_approve(connection, request_id, person, now)
        with self.database.changing_of(f"approving:{request.account_id}") as connection:
            request, rules, earlier = _to_approve(connection, request_id, person, now)
            approval = ApprovalRecord(
                request_id=request_id,
                email=person.label,
                issuer=person.issuer,
                subject=person.subject,
                minutes=min(minutes or request.minutes, request.minutes),
                note=note,
                at=now,
            )
            connection.execute(insert(APPROVALS).values(values_of(approval)))
            together = [*_counting(connection, rules, earlier), approval]
            if len(together) < max(request.needed, rules.needed):
                return _kept(connection, request, person, AccessEventKind.SECONDED, approval)
            ends_at = now + timedelta(minutes=min(one.minutes for one in together))
            approved = replace(
                request,
                state=RequestState.APPROVED,
                starts_at=now,
                ends_at=ends_at,
                over_at=ends_at,
                answered_at=now,
                answered_by=person.label,
                note=note,
            )
            check_admitting(connection, request.account_id, request.socket_id, now)
            _forget_others(connection, request_id, together)
            renew(connection, [request.socket_id], now)
            return _kept(connection, approved, person, AccessEventKind.APPROVED, approval)

    def deny_access_request(
        self, request_id: str, person: Person, *, note: str, now: datetime
    ) -> AccessRequestRecord:
        """Refuse a pending request; one person is enough for that.

        Raises:
            NotFound, Forbidden, Conflict: as ``approve_access_request``.
        """
        with self.database.changing() as connection:
            request, _ = _to_answer(connection, request_id, person)
            _check_pending(request, now)
            check_not_own(request, person)
            denied = _closed(request, RequestState.DENIED, person, note, now)
            return _kept(connection, denied, person, AccessEventKind.DENIED)

    def revoke_access_request(
        self, request_id: str, person: Person, *, note: str, now: datetime
    ) -> AccessRequestRecord:
        """End early what was approved, together with every grant that rests on it.

        Raises:
            NotFound: no such request, or none this person may answer.
            Conflict: it lets nobody in at present.
        """
        with self.database.changing() as connection:
            request, _ = _to_answer(connection, request_id, person)
            if request.state_at(now) is not RequestState.APPROVED:
                raise _not(request, now, "only what lets somebody in can be revoked")
            revoked = _closed(request, RequestState.REVOKED, person, note, now)
            touch(connection, [request.socket_id], now)
            return _kept(connection, revoked, person, AccessEventKind.REVOKED)

    def cancel_access_request(
        self, request_id: str, person: Person, *, note: str, now: datetime
    ) -> AccessRequestRecord:
        """Take one's own request back, or end early what it opened.

        Raises:
            NotFound: no such request of this identity.
            Conflict: it is over.
        """
        with self.database.changing() as connection:
            request = _find(connection, request_id)
            if request is None or (request.issuer, request.subject) != (
                person.issuer,
                person.subject,
            ):
                raise _unknown()
            state = request.state_at(now)
            if state not in {RequestState.PENDING, RequestState.APPROVED}:
                raise _not(request, now, "it cannot be taken back")
            if state is RequestState.APPROVED:
                touch(connection, [request.socket_id], now)
            cancelled = _closed(request, RequestState.CANCELLED, person, note, now)
            return _kept(connection, cancelled, person, AccessEventKind.CANCELLED)

    def find_access_request(self, request_id: str) -> AccessRequestRecord | None:
        """Any request by its id."""
        with self.database.reading() as connection:
            return _find(connection, request_id)

    def access_requests_of(
        self,
        *,
        person: Person | None = None,
        socket_ids: Sequence[str] | None = None,
        state: RequestState | None = None,
        now: datetime,
        offset: int = 0,
        limit: int,
    ) -> tuple[AccessRequestRecord, ...]:
        """Requests of an identity, or of sockets, in a state as of now; newest first."""
        where: list[ColumnElement[bool]] = []
        if person is not None:
            where += [REQUESTS.c.issuer == person.issuer, REQUESTS.c.subject == person.subject]
        if state is not None:
            where.append(_in_state(state, now))
        found: list[AccessRequestRecord] = []
        parts = [None] if socket_ids is None else list(in_parts(socket_ids))
        with self.database.reading() as connection:
            for part in parts:
                among = [] if part is None else [REQUESTS.c.socket_id.in_(part)]
                query = (
                    select(*columns_for(AccessRequestRecord, REQUESTS))
                    .where(*where, *among)
                    .order_by(REQUESTS.c.created_at.desc(), REQUESTS.c.request_id)
                    .limit(offset + limit)
                )
                rows = connection.execute(query).mappings()
                found += [AccessRequestRecord(**row) for row in rows]
        found.sort(key=lambda one: one.request_id)
        found.sort(key=lambda one: one.created_at, reverse=True)
        return tuple(found[offset : offset + limit])

    def names_of(self, socket_ids: Iterable[str]) -> Mapping[str, str]:
        """DNS names of any account's sockets, by id."""
        columns = (SOCKETS.c.socket_id, SOCKETS.c.dns_name)
        with self.database.reading() as connection:
            return {
                socket_id: dns_name
                for part in in_parts(socket_ids)
                for socket_id, dns_name in connection.execute(
                    select(*columns).where(SOCKETS.c.socket_id.in_(part))
                )
            }

    def approvals_of(self, request_ids: Iterable[str]) -> tuple[ApprovalRecord, ...]:
        """Who approved these requests, oldest first."""
        with self.database.reading() as connection:
            return tuple(
                approval
                for part in in_parts(request_ids)
                for approval in find_all(
                    connection,
                    ApprovalRecord,
                    APPROVALS,
                    APPROVALS.c.request_id.in_(part),
                    order_by=[APPROVALS.c.at, APPROVALS.c.email],
                )
            )

    def approvals_counting(
        self, requests: Sequence[AccessRequestRecord], now: datetime
    ) -> Mapping[str, tuple[ApprovalRecord, ...]]:
        """Approvals by request, oldest first: of one that waits those that count as the rules are
        now, else those that counted.
        """
        given: dict[str, list[ApprovalRecord]] = defaultdict(list)
        for approval in self.approvals_of(one.request_id for one in requests):
            given[approval.request_id].append(approval)
        found = {one: tuple(approvals) for one, approvals in given.items()}
        waiting = [one for one in requests if one.state_at(now) is RequestState.PENDING]
        with self.database.reading() as connection:
            for request in (one for one in waiting if one.request_id in given):
                rules = rules_in_force(connection, request.socket_id)
                approvals = given[request.request_id]
                counting = () if rules is None else _counting(connection, rules, approvals)
                found[request.request_id] = tuple(counting)
        return found

    def approved_on(
        self, socket_ids: Iterable[str], now: datetime
    ) -> tuple[AccessRequestRecord, ...]:
        """Approvals that have not ended, of these sockets: what lets somebody in for a while."""
        with self.database.reading() as connection:
            return tuple(
                request
                for part in in_parts(socket_ids)
                for request in find_all(
                    connection,
                    AccessRequestRecord,
                    REQUESTS,
                    REQUESTS.c.socket_id.in_(part),
                    _in_state(RequestState.APPROVED, now),
                )
            )

    def forget_access_requests(self, before: datetime) -> None:
        """Remove requests and guests that were over before a moment, and the audit up to it."""
        with self.database.writing() as connection:
            connection.execute(delete(REQUESTS).where(REQUESTS.c.over_at < before))
            forget_guests(connection, before)
            forget_events(connection, before)


def _find(connection: Connection, request_id: str) -> AccessRequestRecord | None:
    return find_one(connection, AccessRequestRecord, REQUESTS, REQUESTS.c.request_id == request_id)


def _to_answer(
    connection: Connection, request_id: str, person: Person
) -> tuple[AccessRequestRecord, ApprovalRules]:
    """A request somebody may answer; everybody else learns nothing of it."""
    request = _find(connection, request_id)
    rules = None if request is None else rules_in_force(connection, request.socket_id)
    if request is None or rules is None or not rules.may_answer(person):
        raise _unknown()
    return request, rules


def _to_approve(
    connection: Connection, request_id: str, person: Person, now: datetime
) -> tuple[AccessRequestRecord, ApprovalRules, tuple[ApprovalRecord, ...]]:
    """A request somebody may approve, and who has done so."""
    request, rules = _to_answer(connection, request_id, person)
    _check_pending(request, now)
    earlier = _approvals(connection, request_id)
    check_approval(rules, request, earlier, person)
    return request, rules, earlier


def _unknown() -> NotFound:
    return NotFound("no such request", reason="request-unknown")


def _not(request: AccessRequestRecord, now: datetime, what: str) -> Conflict:
    return Conflict(f"this request is {request.state_at(now)}: {what}", reason=CLOSED)


def _check_pending(request: AccessRequestRecord, now: datetime) -> None:
    if request.state_at(now) is not RequestState.PENDING:
        raise _not(request, now, "it is not to be answered any more")


def _approvals(connection: Connection, request_id: str) -> tuple[ApprovalRecord, ...]:
    return find_all(connection, ApprovalRecord, APPROVALS, APPROVALS.c.request_id == request_id)


def _counting(
    connection: Connection, rules: ApprovalRules, earlier: Iterable[ApprovalRecord]
) -> list[ApprovalRecord]:
    """Approvals of those who may still answer."""
    query = select(IDENTITIES.c.issuer, IDENTITIES.c.subject).where(
        IDENTITIES.c.account_id == rules.account_id
    )
    owners = {(issuer, subject) for issuer, subject in connection.execute(query)}
    return [approval for approval in earlier if rules.counts(approval, owners)]


def _forget_others(
    connection: Connection, request_id: str, counted: Iterable[ApprovalRecord]
) -> None:
    """Drop the approvals that did not count towards what was approved; the audit has them."""
    emails = [approval.email for approval in counted]
    connection.execute(
        delete(APPROVALS).where(
            APPROVALS.c.request_id == request_id, APPROVALS.c.email.not_in(emails)
        )
    )


def _closed(
    request: AccessRequestRecord, state: RequestState, person: Person, note: str, now: datetime
) -> AccessRequestRecord:
    return replace(
        request,
        state=state,
        over_at=now,
        ends_at=None if request.ends_at is None else now,
        answered_at=now,
        answered_by=person.label,
        note=note,
    )


def _kept(
    connection: Connection,
    request: AccessRequestRecord,
    person: Person,
    kind: AccessEventKind,
    approval: ApprovalRecord | None = None,
) -> AccessRequestRecord:
    """Write a request as it is now, and record who made it so."""
    if kind is not AccessEventKind.SECONDED:
        connection.execute(
            update(REQUESTS)
            .where(REQUESTS.c.request_id == request.request_id)
            .values(values_of(request))
        )
    at = request.answered_at if approval is None else approval.at
    assert at is not None  # noqa: S101 - an answer has its moment
    note_request(
        connection,
        kind,
        request,
        person,
        at=at,
        words=request.note if approval is None else approval.note,
        minutes=None if approval is None else approval.minutes,
    )
    return request


def _in_state(state: RequestState, now: datetime) -> ColumnElement[bool]:
    """Rows whose ``state_at(now)`` is ``state``."""
    stored, running = REQUESTS.c.state, REQUESTS.c.over_at > now
    if state in {RequestState.PENDING, RequestState.APPROVED}:
        return and_(stored == state, running)
    over = REQUESTS.c.over_at <= now
    if state is RequestState.EXPIRED:
        return or_(stored == state, and_(stored == RequestState.PENDING, over))
    if state is RequestState.ENDED:
        return and_(stored == RequestState.APPROVED, over)
    return stored == state


def _same_person(request: AccessRequestRecord) -> ColumnElement[bool]:
    return and_(REQUESTS.c.issuer == request.issuer, REQUESTS.c.subject == request.subject)


def _expire(connection: Connection, request: AccessRequestRecord, now: datetime) -> None:
    """Make room for a new request where the last one was never answered."""
    connection.execute(
        update(REQUESTS)
        .where(
            REQUESTS.c.socket_id == request.socket_id,
            _same_person(request),
            REQUESTS.c.state == RequestState.PENDING,
            REQUESTS.c.over_at <= now,
        )
        .values(state=RequestState.EXPIRED)
    )


def _check_limits(
    connection: Connection, request: AccessRequestRecord, limits: AskingLimits, now: datetime
) -> None:
    here, theirs = REQUESTS.c.socket_id == request.socket_id, _same_person(request)
    open_now = and_(REQUESTS.c.state == RequestState.PENDING, REQUESTS.c.over_at > now)
    if _count(connection, here, theirs, open_now):
        raise Conflict("you have asked already; it waits for an answer", reason=OPEN_ALREADY)
    lately = REQUESTS.c.created_at > now - limits.window
    seconds = int(limits.window.total_seconds())
    if (
        _count(connection, theirs, lately) >= limits.by_person
        or _count(connection, here, theirs, lately) >= limits.by_person_and_socket
    ):
        raise TooManyAttempts("you have asked too often of late", retry_after=seconds)
    if _count(connection, here, open_now) >= limits.open_per_socket:
        raise TooManyAttempts(
            "too many requests wait for an answer here; ask the owner directly",
            retry_after=seconds,
        )


def _count(connection: Connection, *where: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(REQUESTS).where(*where)
    return int(connection.execute(query).scalar_one())
