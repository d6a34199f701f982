"""Following the feed: when it is taken up anew, and what is kept."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_network

import httpx

from policy.types import SocketType
from proxy.feed import Snapshot, apply, digest, parse_message, snapshot_line
from proxy.feed_client import FeedFollower, split_lines
from proxy.state import EdgeSocket, EdgeState, SourceRule
from tests.support.edge_state import Edge, edge_socket

OLD, NEW = (SourceRule(allow=(ip_network(one),)) for one in ("192.0.2.0/24", "198.51.100.0/24"))


def tls(rule: SourceRule, version: int, wanted: int | None = None) -> EdgeSocket:
    return edge_socket(
        "db", socket_type=SocketType.TLS, ports=(20000,), source_rule=rule,
        rules_version=version, rules_wanted=wanted,
    )  # fmt: skip


class Feeds(httpx.AsyncBaseTransport):
    """Answers the first requests with these lines and stays silent then; records what was asked."""

    def __init__(self, *feeds: list[bytes]) -> None:
        self.feeds = list(feeds)
        self.asked: list[str] = []
        self.digests: list[str | None] = []
        self.all_asked = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.params["since"])
        self.digests.append(request.url.params.get("digest"))
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


async def test_it_says_which_state_it_has_of_a_revision() -> None:
    """Another gateway may have told something else of it."""
    state = Edge().state()
    feeds = Feeds([snapshot_line(state)], [heartbeat(1)])
    await follow(feeds)
    assert feeds.asked == ["0", "1", "1"]
    assert feeds.digests == [None, digest(state), digest(state)]


async def test_heartbeats_say_nothing_while_a_snapshot_is_being_made() -> None:
    state = Edge().state()
    feeds = Feeds([heartbeat(0), heartbeat(0), heartbeat(0), snapshot_line(state)])
    follower = await follow(feeds, known=state)
    assert feeds.asked == ["0", "1"]
    assert follower.snapshot() is not None


async def test_what_is_served_and_kept_has_the_newest_rules() -> None:
    """The digest is of what is told all the same: the next line leads on from there."""
    edge = Edge(sockets=[tls(NEW, 7)])
    held = edge.state()
    edge.sockets = [tls(OLD, 3, wanted=7)]
    told = edge.state()
    edge.tunnels = []
    later = edge.state()
    feeds = Feeds([snapshot_line(held), snapshot_line(told), snapshot_line(later)])
    follower = await follow(feeds)
    assert feeds.digests[1] == digest(later)
    kept = follower.snapshot()
    assert kept is not None
    message = parse_message(kept)
    assert isinstance(message, Snapshot)
    (socket,) = apply(None, message).sockets.values()
    assert (socket.source_rule, socket.rules_version, socket.rules_wanted) == (NEW, 7, None)


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
