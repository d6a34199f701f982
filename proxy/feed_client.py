"""Follows the gateway's feed for ever, and keeps the last state on disk.

An edge without a gateway serves what it knows: the state on disk is the snapshot message that leads
to it, so a start without a gateway and one with it go the same way.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx

from proxy.backoff import Backoff
from proxy.errors import FeedError, GatewayUnavailable
from proxy.feed import (
    MAX_MESSAGE_BYTES,
    CanonicalTexts,
    Heartbeat,
    Snapshot,
    apply,
    parse_message,
    snapshot_line,
)
from proxy.held_rules import in_effect
from proxy.state import EdgeState

FEED_PATH = "/internal/feed"
SILENCE = httpx.Timeout(10.0, read=15.0)
"""Three heartbeats missed: the connection is dead even if nobody closed it."""

log = logging.getLogger(__name__)


def load_snapshot(path: Path) -> EdgeState | None:
    """The state an earlier run kept; ``None`` if there is none, or what is there is damaged."""
    try:
        message = parse_message(path.read_bytes())
        if isinstance(message, Snapshot):
            return apply(None, message)
    except FileNotFoundError:
        return None
    except (OSError, FeedError) as error:
        log.warning("the snapshot on disk is not used: %s", error)
    return None


class FeedFollower:
    """The one reader of the feed."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        edge_id: str,
        state: EdgeState | None,
        on_state: Callable[[EdgeState], None],
        on_connect: Callable[[], None],
    ) -> None:
        """``state`` is what is known already; ``on_state`` is told every new one, ``on_connect``
        that a gateway answers, which may be one that knows nothing of this edge yet."""
        self._client = client
        self._edge_id = edge_id
        self._state = self._serves = state
        self._on_state = on_state
        self._on_connect = on_connect
        self._texts, self._served_texts = CanonicalTexts(), CanonicalTexts()
        self._snapshot: bytes | None = None
        self._backoff = Backoff()
        # What is on disk may stem from a database that has since been replaced.
        self._needs_snapshot = True
        self._heartbeats_apart = 0

    def snapshot(self) -> bytes | None:
        """What to keep on disk of what is served, readable by its owner alone: it holds the
        passwords of protected sockets."""
        return self._snapshot

    async def run(self) -> None:
        """Follow until cancelled; a lost feed is asked for again, a wrong one from the start."""
        while True:
            try:
                await self._follow()
            except FeedError as error:
                log.warning("the feed is taken up anew: %s (%s)", error, error.reason)
                self._needs_snapshot = True
            except (httpx.HTTPError, GatewayUnavailable) as error:
                log.info("the gateway's feed is away: %r", error)
            await asyncio.sleep(self._backoff.next())

    async def _follow(self) -> None:
        query = {"since": "0", "edge": self._edge_id}
        if self._state is not None and not self._needs_snapshot:
            query |= {
                "since": str(self._state.revision),
                # What another gateway told at this revision may be something else.
                "digest": self._texts.digest(self._state),
            }
        request = self._client.stream("GET", FEED_PATH, params=query, timeout=SILENCE)
        async with request as response:
            if response.status_code != httpx.codes.OK:
                message = f"the gateway answers {response.status_code} to the feed"
                raise GatewayUnavailable("refused", message)
            self._on_connect()
            async for line in split_lines(response.aiter_bytes()):
                await self._take(line)

    async def _take(self, line: bytes) -> None:
        # In a thread: at many sockets parsing, digest and snapshot take longer than tunnels should
        # have to wait for each other.
        found = await asyncio.to_thread(self._read, line)
        if isinstance(found, Heartbeat):
            self._check_heartbeat(found)
            self._backoff.reset()
            return
        self._state, self._serves, self._snapshot = found
        self._needs_snapshot = False
        self._heartbeats_apart = 0
        self._backoff.reset()
        self._on_state(self._serves)

    def _read(self, line: bytes) -> Heartbeat | tuple[EdgeState, EdgeState, bytes]:
        """A heartbeat, or the state the message leads to, what is to be served of it, and what to
        keep of that on disk.
        """
        message = parse_message(line)
        if isinstance(message, Heartbeat):
            return message
        state = apply(self._state, message, self._texts)
        serves = in_effect(self._serves, state)
        texts = self._texts if serves is state else self._served_texts
        return state, serves, snapshot_line(serves, texts)

    def _check_heartbeat(self, heartbeat: Heartbeat) -> None:
        """One heartbeat may overtake a change that is still on its way; a second one does not.
        They say nothing while the snapshot that was asked for is being made.
        """
        if self._needs_snapshot:
            return
        known = None if self._state is None else self._state.revision
        self._heartbeats_apart = 0 if heartbeat.revision == known else self._heartbeats_apart + 1
        if self._heartbeats_apart > 1:
            raise FeedError("gap", f"the gateway is at {heartbeat.revision}, this edge at {known}")


async def split_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The non-empty lines of a byte stream; what follows the last newline is dropped.

    Raises:
        FeedError: ``malformed``, a line longer than ``MAX_MESSAGE_BYTES``.
    """
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        *complete, rest = chunk.split(b"\n")
        for end in complete:
            line = b"".join([*parts, end])
            parts, size = [], 0
            if line:
                yield line
        parts.append(rest)
        size += len(rest)
        if size > MAX_MESSAGE_BYTES:
            raise FeedError("malformed", "a feed message does not end")
