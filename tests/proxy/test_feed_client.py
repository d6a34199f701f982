"""Following the feed: when it is taken up anew, and what is kept."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx

from proxy.feed import parse_message, snapshot_line
from proxy.feed_client import FeedFollower, split_lines
from proxy.state import EdgeState
from tests.support.edge_state import Edge


class Feeds(httpx.AsyncBaseTransport):
    """Answers the first requests with these lines and stays silent then; records what was asked."""

    def __init__(self, *feeds: list[bytes]) -> None:
        self.feeds = list(feeds)
        self.asked: list[str] = []
        self.all_asked = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.params["since"])
        if not self.feeds:
            self.all_asked.set()
            await asyncio.Event().wait()
        return httpx.Response(200, content=self._stream(self.feeds.pop(0)))

    async def _stream(self, lines: list[bytes]) -> AsyncIterator[bytes]:
        for line in lines:
            yield line + b"\n"
        if self.feeds or not lines:
            return
        await asyncio.sleep(0.05)


async def follow(feeds: Feeds, known: EdgeState | None = None) -> FeedFollower:
    """Follow until the feed was asked for once more than there are answers."""
    async with httpx.AsyncClient(transport=feeds, base_url="http://gateway") as client:
        follower = FeedFollower(client, "edge-1", known, lambda _state: None, lambda: None)
        task = asyncio.create_task(follower.run())
        async with asyncio.timeout(10):
            await feeds.all_asked.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return follower


def heartbeat(revision: int) -> bytes:
    return b'{"type":"heartbeat","revision":%d}' % revision


async def test_a_gap_that_two_heartbeats_show_is_closed_by_a_snapshot() -> None:
    state = Edge().state()
    feeds = Feeds([snapshot_line(state), heartbeat(2), heartbeat(2)])
    await follow(feeds)
    assert feeds.asked == ["0", "0"]


async def test_a_single_heartbeat_may_overtake_a_change() -> None:
    state = Edge().state()
    feeds = Feeds([snapshot_line(state), heartbeat(2), heartbeat(1), heartbeat(2)])
    await follow(feeds)
    assert feeds.asked == ["0", "1"]


async def test_what_is_on_disk_is_not_trusted_to_be_this_gateways() -> None:
    state = Edge().state()
    feeds = Feeds([heartbeat(1)])
    await follow(feeds, known=state)
    assert feeds.asked == ["0", "0"]


async def test_what_is_kept_leads_to_the_state() -> None:
    line = snapshot_line(Edge().state())
    follower = await follow(Feeds([line]))
    kept = follower.snapshot()
    assert kept is not None
    assert parse_message(kept) == parse_message(line)


async def test_lines_are_put_together_from_any_pieces() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"on", b"e\n\ntwo\nth", b"ree", b"\nrest"):
            yield piece

    assert [line async for line in split_lines(pieces())] == [b"one", b"two", b"three"]
