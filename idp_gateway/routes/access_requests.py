"""``/access-requests``: asking to be let in, and answering who asks."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from idp_gateway import answering
from idp_gateway.access import identity_of
from idp_gateway.approving import Person
from idp_gateway.asking import Wish, ask
from idp_gateway.callers import Caller, CallerDep
from idp_gateway.dependencies import GatewayDep, SourceAddress
from idp_gateway.errors import NotFound
from idp_gateway.in_force import OthersChangeRoute
from idp_gateway.request_records import ApprovalRulesRecord, RequestState
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.access_requests import (
    AccessRequestForm,
    AccessRequestReply,
    ApprovalForm,
    ApprovalRulesForm,
    ApprovalRulesReply,
    NoteForm,
)

router = APIRouter(
    prefix="/access-requests", route_class=OthersChangeRoute, tags=["access requests"]
)
rules = APIRouter(tags=["access requests"])

Page = Annotated[int, Query(ge=1, le=1_000_000, description="Counts from 1.")]
PageSize = Annotated[int, Query(ge=1, le=500)]
SocketId = Annotated[str, Query(max_length=64, description="Else all you answer for.")]
OwnSocketId = Annotated[str, Query(max_length=64, description="Else your whole account.")]


def person_behind(caller: Caller) -> Person:
    """Who calls, as one who asks or answers."""
    return Person.of(identity_of(caller.session), caller.account)


@router.post("", responses=problems(400, 401, 403, 404, 409, 429))
def request_access(
    gateway: GatewayDep, caller: CallerDep, source_ip: SourceAddress, form: AccessRequestForm
) -> AccessRequestReply:
    """Ask the owner of a socket to let you in for a while.

    Your way of signing in must have verified your e-mail address. A socket that does not exist and
    one that nobody may ask for are answered alike.
    """
    wish = Wish(
        dns_name=form.socket,
        action=form.action,
        decision_id=form.decision_id,
        reason=form.reason,
        minutes=form.minutes,
    )
    made = ask(gateway, identity_of(caller.session), source_ip, wish)
    return answering.request_reply(gateway, made, full=False)


@router.get("", responses=problems(400, 401, 404))
def list_requests(
    gateway: GatewayDep,
    caller: CallerDep,
    *,
    mine: Annotated[bool, Query(description="What you asked; else what is asked of you.")] = False,
    socket_id: SocketId | None = None,
    state: RequestState | Literal["all"] = "all",
    page: Page = 1,
    page_size: PageSize = 100,
) -> list[AccessRequestReply]:
    """Requests, newest first: your own, or those you may answer."""
    person, wanted = person_behind(caller), None if state == "all" else RequestState(state)
    offset = (page - 1) * page_size
    if mine:
        return answering.asked_by(gateway, person, state=wanted, offset=offset, limit=page_size)
    return answering.asked_of(
        gateway, person, socket_id=socket_id, state=wanted, offset=offset, limit=page_size
    )


@router.post("/{request_id}/approve", responses=problems(400, 401, 403, 404, 409, 429))
def approve(
    gateway: GatewayDep, caller: CallerDep, request_id: str, form: ApprovalForm
) -> AccessRequestReply:
    """Let somebody in, for as long as they asked or shorter; nobody approves their own request.

    Where two people must approve, the first approval lets nobody in yet.
    """
    approved = gateway.store.approve_access_request(
        request_id,
        person_behind(caller),
        minutes=form.minutes,
        note=form.note,
        now=gateway.clock(),
    )
    return answering.request_reply(gateway, approved, full=True)


@router.post("/{request_id}/deny", responses=problems(400, 401, 403, 404, 409))
def deny(
    gateway: GatewayDep, caller: CallerDep, request_id: str, form: NoteForm
) -> AccessRequestReply:
    """Refuse a request; one person is enough for that."""
    denied = gateway.store.deny_access_request(
        request_id, person_behind(caller), note=form.note, now=gateway.clock()
    )
    return answering.request_reply(gateway, denied, full=True)


@router.post("/{request_id}/revoke", responses=problems(400, 401, 404, 409))
def revoke(
    gateway: GatewayDep, caller: CallerDep, request_id: str, form: NoteForm
) -> AccessRequestReply:
    """End early what was approved; grants that rest on it end at once."""
    revoked = gateway.store.revoke_access_request(
        request_id, person_behind(caller), note=form.note, now=gateway.clock()
    )
    return answering.request_reply(gateway, revoked, full=True)


@router.post("/{request_id}/cancel", responses=problems(400, 401, 404, 409))
def cancel(
    gateway: GatewayDep, caller: CallerDep, request_id: str, form: NoteForm
) -> AccessRequestReply:
    """Take a request of yours back, or end what it opened; who answers may end that too."""
    person, now = person_behind(caller), gateway.clock()
    found = gateway.store.find_access_request(request_id)
    if found is None:
        raise NotFound("no such request", reason="request-unknown")
    if (found.issuer, found.subject) == (person.issuer, person.subject):
        own = gateway.store.cancel_access_request(request_id, person, note=form.note, now=now)
        return answering.request_reply(gateway, own, full=False)
    ended = gateway.store.revoke_access_request(request_id, person, note=form.note, now=now)
    return answering.request_reply(gateway, ended, full=True)


@rules.get("/approval-rules", responses=problems(400, 401, 404))
def show_rules(
    gateway: GatewayDep, caller: CallerDep, socket_id: OwnSocketId = ""
) -> ApprovalRulesReply:
    """Who may ask and who approves: for one of your sockets, or for all of your account."""
    found = gateway.store.approval_rules(caller.account.account_id, socket_id)
    return answering.rules_reply(found)


@rules.put("/approval-rules", responses=problems(400, 401, 404))
def set_rules(
    gateway: GatewayDep, caller: CallerDep, form: ApprovalRulesForm, socket_id: OwnSocketId = ""
) -> ApprovalRulesReply:
    """Say who may ask and who approves. What is not said is as for a new account.

    Rules of the account and of the socket hold together: the stricter one counts, and every
    approver. A two-person rule is refused where nobody but you could approve.
    """
    wanted = ApprovalRulesRecord(
        account_id=caller.account.account_id,
        socket_id=socket_id,
        asking=form.asking,
        two_person=form.two_person,
        approvers=tuple(form.approvers),
    )
    kept = gateway.store.set_approval_rules(
        wanted, person_behind(caller), why=form.why, now=gateway.clock()
    )
    return answering.rules_reply(kept)
