"""An ASGI application asked in process by an ordinary blocking ``httpx.Client``."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio.from_thread
import httpx
from anyio.from_thread import BlockingPortal
from starlette.types import ASGIApp


class InProcessTransport(httpx.BaseTransport):
    """Carries requests to an application on an event loop in another thread.

    An exception the application lets through is raised in the caller.
    """

    def __init__(self, app: ASGIApp, portal: BlockingPortal) -> None:
        self._inner = httpx.ASGITransport(app=app)
        self._portal = portal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._portal.call(self._answer, request)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(
            httpx.Request(
                request.method,
                request.url,
                headers=request.headers,
                content=_pieces(request),
                extensions=request.extensions,
            )
        )
        body = await answer.aread()
        return httpx.Response(answer.status_code, headers=answer.headers, content=body)


async def _pieces(request: httpx.Request) -> AsyncIterator[bytes]:
    """The body as the caller cut it, so that a body of unknown length stays one."""
    stream = request.stream
    assert isinstance(stream, httpx.SyncByteStream)
    for piece in stream:
        yield piece


@contextmanager
def client_of(app: ASGIApp, base_url: str) -> Iterator[httpx.Client]:
    """A client whose every request ``app`` answers; redirects are not followed."""
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        httpx.Client(transport=InProcessTransport(app, portal), base_url=base_url) as client,
    ):
        yield client
