"""Pages on which owners invite guests to a socket and say who approves requests for it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import AfterValidator, ValidationError
from starlette.responses import Response

from idp_gateway.approving import ApprovalRules, Person
from idp_gateway.asking import person_of
from idp_gateway.consent import signed_in
from idp_gateway.errors import GatewayError, InvalidInput, NotFound, QuotaExceeded
from idp_gateway.inviting import Invitation, invite
from idp_gateway.login_pages import form_cookie, login_page
from idp_gateway.page_times import shown, times
from idp_gateway.pages import page, redirect
from idp_gateway.problems import status_of
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.request_records import ApprovalRulesRecord, GuestRecord, GuestState
from idp_gateway.schemas.access_requests import ApprovalRulesForm
from idp_gateway.schemas.text import printable
from idp_gateway.targets import ReturnTo
from idp_gateway.visits import PageRoute, Visit, VisitDep, describe
from policy.addresses import EmailAddress
from policy.errors import AddressError
from policy.types import Reason

pages = APIRouter(prefix="/sharing", route_class=PageRoute, include_in_schema=False)

SHOWN, LOOKED_AT = 200, 1000
"""Guests a page shows, as many as may be invited at once; and those it chooses them from."""
_RUNNING = frozenset({GuestState.INVITED, GuestState.CLAIMED})
_SHARE = "share"

Token = Annotated[str, Form(max_length=4096)]
ShortField = Annotated[str, Form(max_length=254)]
Words = Annotated[str, Form(max_length=1000), AfterValidator(printable)]


@dataclass(frozen=True, slots=True)
class _Owner:
    """Who is signed in, with what is theirs."""

    account: AccountRecord
    person: Person


@pages.get("")
def show_sockets(visit: VisitDep) -> Response:
    """One's own sockets that ask who is there."""
    identity = visit.identity
    if identity is None:
        return login_page(visit, ReturnTo("/sharing"))
    account_id = person_of(visit.gateway, identity).account_id
    mine = () if account_id is None else visit.gateway.store.sockets_of(account_id)
    asking = [_named(socket) for socket in mine if socket.cloud_authentication_enabled]
    return page("sharing", {"who": describe(visit.gateway, identity), "sockets": asking})


@pages.get("/{socket_id}")
def show_socket(visit: VisitDep, socket_id: str) -> Response:
    """Who approves requests for a socket, and its guests."""
    if visit.identity is None:
        return login_page(visit, ReturnTo("/sharing"))
    owner, socket = _owned(visit, socket_id)
    return _socket_page(visit, owner, socket)


@pages.post("/{socket_id}/rule")
def set_rule(
    visit: VisitDep,
    socket_id: str,
    csrf: Token = "",
    people: ShortField = "",
    asking: ShortField = "",
    approvers: Annotated[str, Form(max_length=16384)] = "",
    why: Words = "",
) -> Response:
    """Put another rule in the place of the one before."""
    visit.check_form(_SHARE, csrf)
    owner, socket = _owned(visit, socket_id)
    try:
        rules = ApprovalRulesRecord(
            account_id=owner.account.account_id,
            socket_id=socket_id,
            asking=_one_of(asking, yes="yes", no="no"),
            two_person=_one_of(people, yes="2", no="1"),
            approvers=_addresses(approvers),
        )
        visit.gateway.store.set_approval_rules(rules, owner.person, why=why, now=visit.now)
    except InvalidInput as error:
        return _socket_page(visit, owner, socket, error=error)
    return redirect(f"/sharing/{socket_id}", status=303)


@pages.post("/{socket_id}/guests")
def take_invitation(
    visit: VisitDep,
    socket_id: str,
    csrf: Token = "",
    email: ShortField = "",
    minutes: Annotated[int, Form(ge=1, le=366 * 24 * 60)] = 60,
    note: Words = "",
) -> Response:
    """Invite somebody; the page that answers has the link, this once."""
    visit.check_form(_SHARE, csrf)
    owner, socket = _owned(visit, socket_id)
    try:
        invitation = Invitation(
            socket_id=socket_id,
            email=_address(email),
            ends_at=visit.now + timedelta(minutes=minutes),
            note=note,
        )
        guest, link = invite(visit.gateway, owner.account, owner.person, invitation)
    except (InvalidInput, QuotaExceeded) as error:
        return _socket_page(visit, owner, socket, error=error)
    return _socket_page(visit, owner, socket, made=(guest, link))


@pages.post("/{socket_id}/guests/{guest_id}")
def withdraw_invitation(
    visit: VisitDep, socket_id: str, guest_id: str, csrf: Token = ""
) -> Response:
    """Let a guest in no longer."""
    visit.check_form(_SHARE, csrf)
    owner, _ = _owned(visit, socket_id)
    account_id = owner.account.account_id
    visit.gateway.store.revoke_guest(account_id, guest_id, owner.person, visit.now)
    return redirect(f"/sharing/{socket_id}", status=303)


def _owned(visit: Visit, socket_id: str) -> tuple[_Owner, SocketRecord]:
    """One of one's own sockets; an approver's eyes see nothing of it.

    Raises:
        NotAuthenticated: nobody is signed in.
        NotFound: there is no such socket, or it is somebody else's: both alike.
    """
    person = person_of(visit.gateway, signed_in(visit))
    store = visit.gateway.store
    account = None if person.account_id is None else store.find_account(person.account_id)
    if account is None:
        raise NotFound("no such socket", reason=Reason.SOCKET_UNKNOWN)
    return _Owner(account, person), store.get_socket(account.account_id, socket_id)


def _socket_page(
    visit: Visit,
    owner: _Owner,
    socket: SocketRecord,
    *,
    made: tuple[GuestRecord, str] | None = None,
    error: GatewayError | None = None,
) -> Response:
    store, account_id = visit.gateway.store, owner.account.account_id
    rule = store.approval_rules(account_id, socket.socket_id)
    guests = list(store.guests_of(account_id, socket.socket_id, limit=LOOKED_AT))
    guests.sort(key=lambda guest: guest.state_at(visit.now) not in _RUNNING)
    values: dict[str, object] = {
        "who": describe(visit.gateway, signed_in(visit)),
        "socket": _named(socket),
        "message": "" if error is None else str(error),
        "invited": "" if made is None else made[0].email,
        "link": "" if made is None else made[1],
        "in_force": _in_force(store.rules_for_socket(socket.socket_id)),
        "rule": {
            "two_person": rule.two_person,
            "asking": rule.asking,
            "approvers": ", ".join(rule.approvers),
        },
        "times": times(int(visit.gateway.settings.guest_max_days * 24 * 60)),
        "guests": [_card(visit, guest) for guest in guests[:SHOWN]],
        "csrf": visit.form_token(_SHARE),
    }
    status = 200 if error is None else status_of(error)
    return page("sharing_socket", values, status=status, cookies=[form_cookie(visit)])


def _named(socket: SocketRecord) -> dict[str, str]:
    return {
        "socket_id": socket.socket_id,
        "name": socket.name or socket.dns_name,
        "dns_name": socket.dns_name,
        "kind": str(socket.socket_type).upper(),
    }


def _in_force(rules: ApprovalRules | None) -> dict[str, object]:
    if rules is None:
        raise NotFound("no such socket", reason=Reason.SOCKET_UNKNOWN)
    return {
        "needed": "two people approve" if rules.two_person else "one person approves",
        "approvers": sorted(rules.approvers),
        "asking": "people may ask" if rules.asking else "nobody may ask",
    }


def _card(visit: Visit, guest: GuestRecord) -> dict[str, object]:
    return {
        "guest_id": guest.guest_id,
        "state": str(guest.state_at(visit.now)),
        "email": guest.email,
        "starts_at": shown(guest.starts_at),
        "ends_at": shown(guest.ends_at),
        "created_by": guest.created_by,
        "note": guest.note,
    }


def _one_of(said: str, *, yes: str, no: str) -> bool:
    if said not in {yes, no}:
        raise InvalidInput("Something in the form is missing.")
    return said == yes


def _address(text: str) -> EmailAddress:
    try:
        return EmailAddress.parse(text.strip())
    except AddressError as error:
        raise InvalidInput(str(error), field="email", reason=error.reason) from error


def _addresses(text: str) -> tuple[str, ...]:
    """Addresses with commas between, held to what the API takes."""
    given = [one.strip() for one in text.split(",") if one.strip()]
    try:
        return tuple(ApprovalRulesForm(approvers=given).approvers)
    except ValidationError as error:
        raise InvalidInput(error.errors()[0]["msg"], field="approvers") from error
