"""ASGI middleware around every route: what an address may hold, how long a body may be, and headers
that tie a browser's hands.
"""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from idp_gateway.errors import BodyTooLarge, GatewayError, InvalidInput
from idp_gateway.problems import problem_of

MAX_BODY_BYTES = 64 * 1024
"""No call of the API needs more."""
MAX_POLICY_BODY_BYTES = 512 * 1024
"""What a call about policies may send: a document, escaped."""
MAX_LIST_BODY_BYTES = 12 * 1024 * 1024
"""What a list of addresses may be made from: the largest published files have 4 MB."""
LONG_BODIES = 32
"""Bodies over ``MAX_BODY_BYTES`` that are read at one time, one for each account: they are slow to
come on slow lines, and an edge passes them on as they come."""
MAX_REPORTED_TUNNELS = 16_384
"""How many tunnels an edge names in one list of a report."""
MAX_LATE_SOCKETS = 1000
"""How many sockets an acknowledgement names."""
MAX_EDGE_BODY_BYTES = MAX_REPORTED_TUNNELS * 256
"""What an edge may send; a tunnel takes about 130 bytes in JSON, never more than 256."""

_EDGE_PATHS = "/internal/"
_POLICY_PATHS = ("/policies", "/policy/")

_SECURITY_HEADERS: Iterable[tuple[bytes, bytes]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        (
            b"default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
            b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
    ),
)


class BodyLimit:
    """Answers 413 to a body over its limit, announced or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, counting its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = limit_of(scope["path"])
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or len(announced) > 18 or int(announced) > limit:
            await _refuse(_too_large(limit), scope, receive, send)
            return
        counted = _Counted(receive, send, limit)
        try:
            await self._app(scope, counted.receive, counted.send)
        except BodyTooLarge:
            if counted.answered:
                raise
        if counted.exceeded and not counted.answered:
            await _refuse(_too_large(limit), scope, receive, send)


def limit_of(path: str) -> int:
    """How long a body may be; edges let long ones through where this says so alone."""
    if path.startswith(_EDGE_PATHS):
        return MAX_EDGE_BODY_BYTES
    path = path.removeprefix("/api/v1")
    if path.startswith("/prefix-lists/"):
        return MAX_LIST_BODY_BYTES
    return MAX_POLICY_BODY_BYTES if path.startswith(_POLICY_PATHS) else MAX_BODY_BYTES


class _Counted:
    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._received = 0
        self.answered = False
        self.exceeded = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._limit:
                self.exceeded = True
                raise BodyTooLarge("this body is longer than any call needs")
        return message

    async def send(self, message: Message) -> None:
        if self.exceeded and not self.answered:
            # Frameworks turn an error while reading into an answer of their own; ours says more.
            return
        self.answered = True
        await self._send(message)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"a body has at most {limit} bytes")


async def _refuse(error: GatewayError, scope: Scope, receive: Receive, send: Send) -> None:
    await problem_of(error)(scope, receive, send)


class PlainAddress:
    """Answers 400 to an address with a NUL in its path or query.

    No name or number has one, and PostgreSQL cannot look up a text that has.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, if its address is text that can be stored."""
        if scope["type"] == "http" and _has_nul(scope):
            error = InvalidInput("an address has no NUL character", reason="address-invalid")
            await _refuse(error, scope, receive, send)
            return
        await self._app(scope, receive, send)


def _has_nul(scope: Scope) -> bool:
    query: bytes = scope["query_string"]
    return "\0" in scope["path"] or b"\0" in query or b"%00" in query


class SecurityHeaders:
    """Adds the headers every answer has; one that a route set itself stays as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, completing the headers of its answer."""

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                names = {name.lower() for name, _ in headers}
                headers += [pair for pair in _SECURITY_HEADERS if pair[0] not in names]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, complete if scope["type"] == "http" else send)
