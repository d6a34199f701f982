"""The start page, logging out, and what every page needs: style sheet, icon, published keys."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from idp_gateway.access import Asked, admits
from idp_gateway.answering import waiting_for
from idp_gateway.asking import person_of
from idp_gateway.client_access import program_question
from idp_gateway.dependencies import GatewayDep
from idp_gateway.errors import NotFound
from idp_gateway.login_pages import forget_login, form_cookie, login_page
from idp_gateway.pages import Message, message_page, page, redirect
from idp_gateway.records import SocketRecord
from idp_gateway.targets import ReturnTo
from idp_gateway.tokens import Purpose
from idp_gateway.visits import PageRoute, Visit, VisitDep, describe, query_of
from policy.types import Action, Identity
from templates.loader import static_file

MAX_TILES = 500
"""Most services the start page lists."""

pages = APIRouter(route_class=PageRoute, include_in_schema=False)
router = APIRouter(tags=["keys"])


@pages.get("/")
def show_portal(visit: VisitDep) -> Response:
    """What is open to the person who is signed in; the login page for everybody else."""
    identity = visit.identity
    if identity is None:
        return login_page(visit, ReturnTo())
    values: dict[str, object] = {
        "who": describe(visit.gateway, identity),
        "sockets": [_tile(visit, socket) for socket in _openable(visit, identity)],
        "waiting": waiting_for(visit.gateway, person_of(visit.gateway, identity)),
    }
    return page("portal", values)


def _openable(visit: Visit, identity: Identity) -> list[SocketRecord]:
    """Sockets the policy admits the person to now, by name."""
    found = []
    gateway, origin = visit.gateway, visit.gateway.origins.of(visit.source_ip)
    sockets = gateway.store.identity_sockets()
    for socket, door in zip(sockets, gateway.rules.guarded_all(sockets), strict=True):
        if socket.socket_type.has_own_port:
            asked = program_question(door, identity, origin, at=visit.now)
        else:
            asked = Asked(identity=identity, action=Action.HTTP, origin=origin)
        if admits(door, asked, at=visit.now):
            found.append(socket)
            if len(found) == MAX_TILES:
                break
    return sorted(found, key=lambda socket: (socket.name, socket.dns_name))


def _tile(visit: Visit, socket: SocketRecord) -> dict[str, str]:
    own_port = socket.socket_type.has_own_port
    return {
        "name": socket.name or socket.dns_name,
        "dns_name": socket.dns_name,
        "kind": str(socket.socket_type).upper(),
        "href": ""
        if own_port
        else f"https://{socket.dns_name}{visit.gateway.settings.port_suffix}/",
        "command": f"mysocketctl client tls --host {socket.dns_name}" if own_port else "",
    }


@pages.get("/logout")
def show_logout(request: Request, visit: VisitDep) -> Response:
    """Ask before logging out: a link must not be able to."""
    signed = query_of(request).get("next", "")
    return_to = visit.signer.read_return(signed, now=visit.now)
    identity = visit.identity
    if identity is None:
        return redirect(f"/login?next={signed}" if return_to != ReturnTo() else "/login")
    values: dict[str, object] = {
        "who": describe(visit.gateway, identity),
        "csrf": visit.form_token("logout"),
        "next": signed,
    }
    return page("logout", values, cookies=[form_cookie(visit)])


@pages.post("/logout")
def log_out(
    visit: VisitDep,
    csrf: Annotated[str, Form(max_length=4096)] = "",
    next: Annotated[str, Form(max_length=16384)] = "",  # noqa: A002 - the field's name
) -> Response:
    """End the login session, and with it every renewal of a session on a socket."""
    visit.check_form("logout", csrf)
    return_to = visit.signer.read_return(next, now=visit.now)
    cookies = forget_login(visit)
    if return_to != ReturnTo():
        return redirect(f"/login?next={next}", status=303, cookies=cookies)
    message = Message(
        title="You are logged out",
        text="Open services close within minutes, as soon as they ask again who you are.",
        badge="Logged out",
        tone="good",
        link=("/login", "Sign in again"),
    )
    return message_page(message, cookies=cookies)


@pages.get("/static/{name}")
def send_static(name: str) -> Response:
    """The style sheet and the icon."""
    found = static_file(name)
    if found is None:
        raise NotFound("There is no such file.")
    content, media_type = found
    return Response(
        content,
        media_type=media_type,
        headers={
            "cache-control": "public, max-age=3600",
            "cross-origin-resource-policy": "cross-origin",
        },
    )


@router.get("/.well-known/jwks.json")
def publish_keys(gateway: GatewayDep) -> dict[str, Any]:
    """The keys that origins verify ``X-Auth-Assertion`` with (RFC 7517)."""
    return gateway.tokens.public_keys(Purpose.ASSERTION)
