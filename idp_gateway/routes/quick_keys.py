"""A short way to the call that is made most: an SSH certificate for a request without a fault.

FastAPI's routing, dependencies and validation take a quarter of what a certificate costs. What
comes this way was checked by the same form and ends in the same function
(``keys.certify_ssh_login``); whatever is not exactly as that form wants it goes the documented way,
which says what is wrong.
"""

import re

from pydantic import ValidationError
from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from idp_gateway.routes.keys import certify_ssh_login
from idp_gateway.schemas.keys import ProvenSshKeyForm

_PATH = re.compile(r"(?:/api/v1)?/mtls-ca/socket/([A-Za-z0-9.-]+)/ssh", re.ASCII)
_TRIED = "mysocket.short_way_tried"
_JSON = {"application/json", "application/json; charset=utf-8"}


class ShortWay(BaseRoute):
    """Stands before the routes of ``documented``, and hands back to them what it does not take."""

    def __init__(self, documented: ASGIApp) -> None:
        self._documented = documented

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this is the call, and not one that was handed back."""
        wanted = scope["type"] == "http" and scope["method"] == "POST" and _TRIED not in scope
        if wanted and _PATH.fullmatch(scope["path"]):
            return Match.FULL, {}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Certify, or let the documented route answer."""
        request = Request(scope, receive)
        body = await request.body()
        token = request.headers.get("x-access-token")
        form = _form(request, body)
        match = _PATH.fullmatch(scope["path"])
        if not token or form is None or match is None:
            scope[_TRIED] = True
            await self._documented(scope, _again(body, receive), send)
            return
        gateway = request.app.state.gateway
        response = await certify_ssh_login(gateway, request, token, match[1], form)
        await response(scope, receive, send)


def _form(request: Request, body: bytes) -> ProvenSshKeyForm | None:
    if request.headers.get("content-type", "").lower() not in _JSON:
        return None
    try:
        return ProvenSshKeyForm.model_validate_json(body)
    except ValidationError:
        return None


def _again(body: bytes, receive: Receive) -> Receive:
    """``receive`` for somebody who wants the body a second time."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay
