"""Logging in a program that has no browser of its own (RFC 8628)."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from starlette.responses import JSONResponse, Response

from idp_gateway.access import authorize, identity_of
from idp_gateway.client_access import Audience, ResourceRefused, find_socket, program_question
from idp_gateway.consent import Answer, ConsentFormDep, Question, ask, read_answer, socket_fact
from idp_gateway.dependencies import GatewayDep, SourceAddress
from idp_gateway.device_codes import (
    DEVICE_CODE_LIFE,
    INTERVAL,
    find_by_user_code,
    spaced,
    start_device_login,
)
from idp_gateway.errors import NotFound, TooManyAttempts
from idp_gateway.login_pages import denied_page, login_page
from idp_gateway.pages import Message, message_page, page
from idp_gateway.routes.oauth import CLIENT_ID, oauth_problem
from idp_gateway.targets import ReturnTo
from idp_gateway.visits import PageRoute, Visit, VisitDep, describe, query_of

MAX_USER_CODE_LENGTH = 32

_PURPOSE = "device"

pages = APIRouter(route_class=PageRoute, include_in_schema=False)
router = APIRouter(tags=["login of programs"])


@router.post("/oauth/device_authorization")
def start(
    gateway: GatewayDep,
    source_ip: SourceAddress,
    client_id: Annotated[str, Form(max_length=128)] = "",
    resource: Annotated[str, Form(max_length=512)] = "",
    scope: Annotated[str, Form(max_length=128)] = "",
) -> JSONResponse:
    """Begin a login that somebody finishes in a browser elsewhere."""
    if client_id != CLIENT_ID:
        return oauth_problem("invalid_client", "no such client")
    try:
        audience = Audience.parse(resource=resource, scope=scope)
        find_socket(gateway, audience)
        started = start_device_login(
            gateway.store, audience, source_ip=source_ip, now=gateway.clock()
        )
    except (ResourceRefused, NotFound) as error:
        return oauth_problem("invalid_target", str(error))
    except TooManyAttempts as error:
        return oauth_problem("slow_down", str(error))
    page_address = f"{gateway.settings.base_url}/device"
    body: dict[str, Any] = {
        "device_code": started.device_code,
        "user_code": started.user_code,
        "verification_uri": page_address,
        "verification_uri_complete": (
            f"{page_address}?{urlencode({'user_code': started.user_code})}"
        ),
        "expires_in": int(DEVICE_CODE_LIFE.total_seconds()),
        "interval": int(INTERVAL.total_seconds()),
    }
    return JSONResponse(body, headers={"cache-control": "no-store"})


@pages.get("/device")
def show_device(request: Request, visit: VisitDep) -> Response:
    """Ask for the code, then whether the device may."""
    typed = query_of(request).get("user_code", "")[:MAX_USER_CODE_LENGTH]
    if visit.session is None:
        query = {"user_code": typed} if typed else {}
        return login_page(visit, ReturnTo.build("/device", **query), destination="your device")
    if not typed:
        return _entry_page(visit)
    record = find_by_user_code(
        visit.gateway.store, typed, identity=identity_of(visit.session), now=visit.now
    )
    if record is None:
        return _entry_page(visit, typed, "This code is unknown, used or too old.")
    audience = Audience.of(str(record.payload["audience"]))
    question = Question(
        purpose=_PURPOSE,
        action="/device",
        audience=audience,
        details={"user_code": record.user_code},
        facts=(
            *socket_fact(audience),
            ("Code", spaced(record.user_code)),
            ("Device's address", str(record.payload["source_ip"])),
        ),
        on_this_computer=False,
    )
    return ask(visit, question)


@pages.post("/device")
def take_answer(visit: VisitDep, form: ConsentFormDep) -> Response:
    """Let the device in, or not."""
    given = read_answer(visit, _PURPOSE, form)
    if given.allowed:
        denied = _denied(visit, given)
        if denied is not None:
            return denied
    _decide(visit, given, approve=given.allowed)
    if not given.allowed:
        return message_page(Message(title="Cancelled", text="The device was not let in."))
    message = Message(
        title="The device is connected",
        text="You can close this page and go back to your terminal.",
        badge="Done",
        tone="good",
    )
    return message_page(message)


def _denied(visit: Visit, given: Answer) -> Response | None:
    """The page of a person the socket's policy does not admit; the device hears of it too."""
    gateway = visit.gateway
    socket = find_socket(gateway, given.audience)
    identity = visit.identity
    if socket is None or identity is None:
        return None
    door = gateway.rules.guarded(socket)
    verdict = authorize(
        gateway.store,
        gateway.clock,
        door,
        program_question(door, identity, gateway.origins.of(visit.source_ip), at=visit.now),
        denials=gateway.denials,
    )
    if verdict.allowed:
        return None
    _decide(visit, given, approve=False)
    return denied_page(gateway, verdict, return_to=ReturnTo("/device"))


def _decide(visit: Visit, given: Answer, *, approve: bool) -> None:
    visit.gateway.store.decide_device_code(
        given.details["user_code"],
        approve=approve,
        session_id=given.session.session_id,
        now=visit.now,
    )


def _entry_page(visit: Visit, user_code: str = "", message: str = "") -> Response:
    identity = visit.identity
    assert identity is not None  # noqa: S101 - only for the signed-in
    values: dict[str, object] = {
        "who": describe(visit.gateway, identity),
        "user_code": user_code,
        "message": message,
    }
    return page("device", values, status=400 if message else 200)
