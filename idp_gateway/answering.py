"""Requests for access as those see them who answer, and those who asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idp_gateway.approving import IMPOSSIBLE, ApprovalRules, Person
from idp_gateway.composition import Gateway
from idp_gateway.errors import NotFound
from idp_gateway.request_records import (
    AccessEventRecord,
    AccessRequestRecord,
    ApprovalRecord,
    ApprovalRulesRecord,
    GuestRecord,
    RequestState,
)
from idp_gateway.schemas.access_requests import (
    AccessEventReply,
    AccessRequestReply,
    ApprovalReply,
    ApprovalRulesReply,
    GuestReply,
)
from policy.types import Reason

MOST_COUNTED = 100
HINTS = {
    IMPOSSIBLE: "two different people must approve this, and apart from who asks there are fewer"
    " who may: name another approver first",
    Reason.DENIED_BY_RULE: "a deny rule keeps this person out, and no approval outweighs it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What replies need beside the requests themselves."""

    names: Mapping[str, str]
    approvals: Mapping[str, Sequence[ApprovalRecord]]


def asked_of(
    gateway: Gateway,
    person: Person,
    *,
    socket_id: str | None,
    state: RequestState | None,
    offset: int,
    limit: int,
) -> list[AccessRequestReply]:
    """Requests somebody may answer, newest first.

    Raises:
        NotFound: the socket is none they answer for.
    """
    socket_ids = gateway.store.sockets_to_answer_for(person)
    if socket_id is not None:
        if socket_id not in socket_ids:
            raise NotFound("no such socket", reason=Reason.SOCKET_UNKNOWN)
        socket_ids = (socket_id,)
    found = gateway.store.access_requests_of(
        socket_ids=socket_ids, state=state, now=gateway.clock(), offset=offset, limit=limit
    )
    return request_replies(gateway, found, full=True)


def waiting_for(gateway: Gateway, person: Person) -> int:
    """How many requests wait for somebody's answer, counted up to ``MOST_COUNTED``."""
    found = gateway.store.access_requests_of(
        socket_ids=gateway.store.sockets_to_answer_for(person),
        state=RequestState.PENDING,
        now=gateway.clock(),
        limit=MOST_COUNTED,
    )
    return sum(not person.asked(request) for request in found)


def asked_by(
    gateway: Gateway, person: Person, *, state: RequestState | None, offset: int, limit: int
) -> list[AccessRequestReply]:
    """What somebody asked, newest first."""
    found = gateway.store.access_requests_of(
        person=person, state=state, now=gateway.clock(), offset=offset, limit=limit
    )
    return request_replies(gateway, found, full=False)


def request_replies(
    gateway: Gateway, requests: Sequence[AccessRequestRecord], *, full: bool
) -> list[AccessRequestReply]:
    """Requests as the API shows them; in ``full`` for those who answer."""
    approvals = gateway.store.approvals_counting(requests, gateway.clock()) if full else {}
    names = gateway.store.names_of(one.socket_id for one in requests)
    shown = _Shown(names=names, approvals=approvals)
    return [_reply(gateway, request, shown, full=full) for request in requests]


def request_reply(
    gateway: Gateway, request: AccessRequestRecord, *, full: bool
) -> AccessRequestReply:
    """One request as the API shows it."""
    return request_replies(gateway, [request], full=full)[0]


def _reply(
    gateway: Gateway, request: AccessRequestRecord, shown: _Shown, *, full: bool
) -> AccessRequestReply:
    state = request.state_at(gateway.clock())
    approvals = shown.approvals.get(request.request_id, ())
    pending = state is RequestState.PENDING
    rules = gateway.store.rules_for_socket(request.socket_id) if full and pending else None
    return AccessRequestReply(
        request_id=request.request_id,
        state=state,
        socket_id=request.socket_id,
        socket=shown.names.get(request.socket_id, ""),
        action=request.action,
        email=request.email,
        name=request.name,
        issuer=request.issuer,
        subject=request.subject,
        reason=request.reason,
        minutes=request.minutes,
        decision_id=request.decision_id,
        created_at=request.created_at,
        waits_until=request.over_at if pending else None,
        approvals_needed=request.needed if rules is None else max(request.needed, rules.needed),
        approvals=[_approval(one) for one in approvals] if full else None,
        starts_at=request.starts_at,
        ends_at=request.ends_at,
        policy_id=request.policy_id if request.starts_at else None,
        answered_at=request.answered_at,
        answered_by=request.answered_by if full else None,
        note=request.note,
        hint=_hint(gateway, request, rules) if full and pending else None,
    )


def _hint(
    gateway: Gateway, request: AccessRequestRecord, rules: ApprovalRules | None
) -> str | None:
    """What stands in the way of an approval, if anything is known to."""
    if rules is not None and rules.answerers(request) < max(rules.needed, request.needed):
        return HINTS[IMPOSSIBLE]
    decision = gateway.store.find_decision(request.decision_id)
    if decision is not None and Reason.DENIED_BY_RULE in decision.reasons:
        return HINTS[Reason.DENIED_BY_RULE]
    return None


def _approval(record: ApprovalRecord) -> ApprovalReply:
    return ApprovalReply(by=record.email, at=record.at, minutes=record.minutes, note=record.note)


def guest_reply(gateway: Gateway, guest: GuestRecord, *, link: str | None = None) -> GuestReply:
    """An invitation as the API shows it."""
    return GuestReply(
        guest_id=guest.guest_id,
        socket_id=guest.socket_id,
        email=guest.email,
        state=guest.state_at(gateway.clock()),
        starts_at=guest.starts_at,
        ends_at=guest.ends_at,
        note=guest.note,
        created_by=guest.created_by,
        created_at=guest.created_at,
        claimed_at=guest.claimed_at,
        issuer=guest.issuer,
        subject=guest.subject,
        revoked_at=guest.revoked_at,
        policy_id=guest.policy_id,
        link=link,
    )


def rules_reply(rules: ApprovalRulesRecord) -> ApprovalRulesReply:
    """Approval rules as the API shows them."""
    return ApprovalRulesReply(
        socket_id=rules.socket_id or None,
        asking=rules.asking,
        two_person=rules.two_person,
        approvers=list(rules.approvers),
    )


def event_reply(event: AccessEventRecord) -> AccessEventReply:
    """One line of the audit as the API shows it."""
    return AccessEventReply(
        at=event.at,
        event=event.kind,
        socket_id=event.socket_id or None,
        socket=event.dns_name,
        concerns=event.concerns,
        by=event.email,
        issuer=event.issuer,
        subject=event.subject,
        about=event.about,
        words=event.words,
        minutes=event.minutes,
        policy_id=event.policy_id,
        decision_id=event.decision_id,
    )
