"""Pages for people who ask, answer, or are invited."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from pydantic import AfterValidator
from starlette.responses import Response

from idp_gateway import answering
from idp_gateway.approving import Person
from idp_gateway.asking import Wish, approach, ask, person_of
from idp_gateway.consent import signed_in
from idp_gateway.errors import Conflict, GatewayError, InvalidInput, NotFound, TooManyAttempts
from idp_gateway.inviting import GUEST_PATH, claim, find_invitation
from idp_gateway.login_pages import form_cookie, login_page
from idp_gateway.page_times import in_words, shown, times
from idp_gateway.pages import Message, message_page, page, redirect
from idp_gateway.problems import status_of
from idp_gateway.request_records import GuestRecord, RequestState
from idp_gateway.schemas.access_requests import AccessRequestReply
from idp_gateway.schemas.text import printable
from idp_gateway.store.guests import REFUSED
from idp_gateway.targets import ReturnTo
from idp_gateway.visits import PageRoute, Visit, VisitDep, describe, provider_label, query_of
from policy.types import Action, Identity

pages = APIRouter(route_class=PageRoute, include_in_schema=False)

SHOWN = 100
"""Requests a list shows."""
_ASK, _ANSWER, _GUEST = "ask", "answer-request", "guest"

Token = Annotated[str, Form(max_length=4096)]
ShortField = Annotated[str, Form(max_length=253)]
Words = Annotated[str, Form(max_length=1000), AfterValidator(printable)]
MinutesField = Annotated[int, Form(ge=1, le=30 * 24 * 60)]


@dataclass(frozen=True, slots=True)
class _About:
    """What a request would be for, as the address of the form says it; nothing of it is checked."""

    host: str
    action: str
    decision: str


@pages.get("/ask")
def show_ask(request: Request, visit: VisitDep) -> Response:
    """The form for asking; what it is about comes in the address and is checked when it is sent."""
    query = query_of(request)
    about = _About(*(query.get(name, "")[:253] for name in ("host", "action", "decision")))
    identity = visit.identity
    if identity is None:
        here = ReturnTo.build("/ask", **asdict(about))
        return login_page(visit, here, destination=about.host)
    approach(visit.gateway, identity, visit.source_ip, about.host)
    return _ask_page(visit, identity, about)


@pages.post("/ask")
def take_ask(
    visit: VisitDep,
    csrf: Token = "",
    host: ShortField = "",
    wanted: ShortField = "",
    decision: ShortField = "",
    reason: Words = "",
    minutes: MinutesField = 60,
) -> Response:
    """Put the request before the owner."""
    visit.check_form(_ASK, csrf)
    identity = signed_in(visit)
    try:
        wish = Wish(
            dns_name=host,
            action=Action(wanted) if wanted in set(Action) else None,
            decision_id=decision or None,
            reason=reason,
            minutes=minutes,
        )
        ask(visit.gateway, identity, visit.source_ip, wish)
    except (Conflict, InvalidInput, TooManyAttempts) as error:
        about = _About(host, wanted, decision)
        return _ask_page(visit, identity, about, reason=reason, error=error)
    message = Message(
        title="Your request was sent",
        text="Whoever runs the service decides. The page of requests shows what became of it.",
        badge="Sent",
        tone="good",
        link=("/requests", "Requests"),
    )
    return message_page(message)


def _ask_page(
    visit: Visit,
    identity: Identity,
    about: _About,
    *,
    reason: str = "",
    error: GatewayError | None = None,
) -> Response:
    values: dict[str, object] = {
        "who": describe(visit.gateway, identity),
        "host": about.host,
        "wanted": about.action,
        "decision": about.decision,
        "reason": reason,
        "message": "" if error is None else str(error),
        "times": times(visit.gateway.settings.approval_max_minutes),
        "csrf": visit.form_token(_ASK),
    }
    status = 200 if error is None else status_of(error)
    return page("ask", values, status=status, cookies=[form_cookie(visit)])


@pages.get("/requests")
def show_requests(visit: VisitDep) -> Response:
    """What waits for an answer, what is open because of one, and what one asked oneself."""
    identity = visit.identity
    if identity is None:
        return login_page(visit, ReturnTo("/requests"))
    person, gateway = person_of(visit.gateway, identity), visit.gateway
    lists = {
        name: answering.asked_of(
            gateway, person, socket_id=None, state=state, offset=0, limit=SHOWN
        )
        for name, state in (("waiting", RequestState.PENDING), ("open", RequestState.APPROVED))
    }
    lists["mine"] = answering.asked_by(gateway, person, state=None, offset=0, limit=SHOWN)
    values: dict[str, object] = {
        "who": describe(gateway, identity),
        "csrf": visit.form_token(_ANSWER),
        **{name: _cards(visit, person, found) for name, found in lists.items()},
    }
    return page("requests", values, cookies=[form_cookie(visit)])


@pages.post("/requests/{request_id}")
def take_answer(
    visit: VisitDep,
    request_id: str,
    csrf: Token = "",
    answer: ShortField = "",
    minutes: Annotated[int | None, Form(ge=1, le=30 * 24 * 60)] = None,
    note: Words = "",
) -> Response:
    """Approve, deny or end."""
    visit.check_form(_ANSWER, csrf)
    person = person_of(visit.gateway, signed_in(visit))
    store, now = visit.gateway.store, visit.now
    if answer == "approve":
        store.approve_access_request(request_id, person, minutes=minutes, note=note, now=now)
    elif answer == "deny":
        store.deny_access_request(request_id, person, note=note, now=now)
    elif answer == "revoke":
        store.revoke_access_request(request_id, person, note=note, now=now)
    else:
        raise InvalidInput("That is no answer.")
    return redirect("/requests", status=303)


@pages.post("/requests/{request_id}/mine")
def take_back(visit: VisitDep, request_id: str, csrf: Token = "") -> Response:
    """Take one's own request back, or end what it opened."""
    visit.check_form(_ANSWER, csrf)
    person = person_of(visit.gateway, signed_in(visit))
    visit.gateway.store.cancel_access_request(request_id, person, note="", now=visit.now)
    return redirect("/requests", status=303)


@pages.get(GUEST_PATH)
def show_invitation(request: Request, visit: VisitDep) -> Response:
    """What a guest's link leads to: sign in, then accept."""
    code = query_of(request).get("code", "")
    guest = find_invitation(visit.gateway, code)
    identity = visit.identity
    here = ReturnTo.build(GUEST_PATH, code=code)
    if identity is None:
        return login_page(visit, here, destination=here.destination)
    person = person_of(visit.gateway, identity)
    if guest.claimed_at is not None and (guest.issuer, guest.subject) == (
        person.issuer,
        person.subject,
    ):
        return _welcome(visit, guest)
    if guest.claimed_at is not None or person.email != guest.email:
        return _for_another(visit, here)
    values: dict[str, object] = {
        "who": describe(visit.gateway, identity),
        "host": _name_of(visit, guest),
        "starts_at": shown(guest.starts_at),
        "ends_at": shown(guest.ends_at),
        "csrf": visit.form_token(_GUEST),
        "code": code,
    }
    return page("guest", values, cookies=[form_cookie(visit)])


@pages.post(GUEST_PATH)
def accept_invitation(visit: VisitDep, csrf: Token = "", code: ShortField = "") -> Response:
    """Claim the invitation for the identity that is signed in."""
    visit.check_form(_GUEST, csrf)
    person = person_of(visit.gateway, signed_in(visit))
    return _welcome(visit, claim(visit.gateway, code, person))


def _welcome(visit: Visit, guest: GuestRecord) -> Response:
    socket = visit.gateway.store.find_socket(guest.socket_id)
    if socket is None:
        raise NotFound("This service is gone.")
    if socket.socket_type.has_own_port:
        how = f"Connect with: mysocketctl client tls --host {socket.dns_name}"
        link = ("/", "Your services")
    else:
        how = "Open it at any time in this window, signed in as you are now."
        link = (f"https://{socket.dns_name}{visit.gateway.settings.port_suffix}/", "Open it")
    message = Message(
        title=f"You may use {socket.dns_name}",
        text=f"From {shown(guest.starts_at)} until {shown(guest.ends_at)}. {how}",
        badge="Accepted",
        tone="good",
        link=link,
    )
    return message_page(message)


def _for_another(visit: Visit, here: ReturnTo) -> Response:
    signed = visit.signer.sign_return(here, now=visit.now)
    message = Message(
        title="This invitation is for somebody else",
        text="It is for another address than the one you are signed in with, or somebody has"
        " accepted it already.",
        badge="403",
        tone="bad",
        reason=REFUSED,
        link=(f"/logout?next={quote(signed)}", "Log in as someone else"),
    )
    return message_page(message, status=403)


def _name_of(visit: Visit, guest: GuestRecord) -> str:
    return visit.gateway.store.names_of([guest.socket_id]).get(guest.socket_id, "")


def _cards(
    visit: Visit, person: Person, found: Sequence[AccessRequestReply]
) -> list[dict[str, object]]:
    """Requests as the page shows them."""
    return [
        {
            "request_id": one.request_id,
            "state": one.state,
            "email": one.email,
            "name": one.name,
            "provider": provider_label(visit.gateway, one.issuer),
            "socket": one.socket,
            "action": one.action,
            "reason": one.reason,
            "minutes": one.minutes,
            "time": in_words(one.minutes),
            "times": [*times(one.minutes - 1), (one.minutes, in_words(one.minutes))],
            "created_at": shown(one.created_at),
            "ends_at": "" if one.ends_at is None else shown(one.ends_at),
            "decision_id": one.decision_id,
            "needed": one.approvals_needed,
            "given": [approval.by for approval in one.approvals or ()],
            "note": one.note,
            "hint": one.hint or "",
            "own": person.is_also(issuer=one.issuer, subject=one.subject, email=one.email),
        }
        for one in found
    ]
