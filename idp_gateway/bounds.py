"""ASGI middleware around every route: a limit on bodies, and headers that tie a browser's hands."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from idp_gateway.errors import BodyTooLarge
from idp_gateway.problems import problem_of

MAX_BODY_BYTES = 64 * 1024
"""No call of the API needs more."""
MAX_REPORTED_TUNNELS = 16_384
"""How many tunnels an edge names in one list of a report."""
MAX_EDGE_BODY_BYTES = MAX_REPORTED_TUNNELS * 256
"""What an edge may send; a tunnel takes about 130 bytes in JSON, never more than 256."""

_EDGE_PATHS = "/internal/"

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
        from_edge = scope["path"].startswith(_EDGE_PATHS)
        limit = MAX_EDGE_BODY_BYTES if from_edge else MAX_BODY_BYTES
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or len(announced) > 18 or int(announced) > limit:
            await _refuse(limit, scope, receive, send)
            return
        counted = _Counted(receive, send, limit)
        try:
            await self._app(scope, counted.receive, counted.send)
        except BodyTooLarge:
            if counted.answered:
                raise
        if counted.exceeded and not counted.answered:
            await _refuse(limit, scope, receive, send)


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


async def _refuse(limit: int, scope: Scope, receive: Receive, send: Send) -> None:
    response = problem_of(BodyTooLarge(f"a body has at most {limit} bytes"))
    await response(scope, receive, send)


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
