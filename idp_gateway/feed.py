"""Tells the edges what changed, at once, and knows what they have put into effect.

One ``Feed`` per gateway. Threads that write announce themselves through the store; each open stream
is an async iterator that wakes, brings the shared state up to date and sends what its edge lacks.
Changes made by other gateways are found by looking at the newest revision twice a second.
"""

import asyncio
import hashlib
import math
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from idp_gateway.address_rules import AddressRules
from idp_gateway.canonical import canonical
from idp_gateway.clock import Clock
from idp_gateway.feed_state import FeedState, heartbeat
from idp_gateway.records import ChangeKind, ChangeRecord, SocketRecord
from idp_gateway.rule_making import MakeRules, RuleMaking
from idp_gateway.store import Store
from idp_gateway.store.edges import FeedRows
from idp_gateway.told_rules import Told

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 5.0
ACKNOWLEDGE_SECONDS = 2.0
"""How long a change waits for edges to serve it."""
EDGE_SILENT = timedelta(seconds=90)
"""An edge not heard for longer is not alive; edges report every 30 s."""
EDGE_GONE = timedelta(hours=24)
"""An edge not heard for longer is taken for removed."""

_REMEMBERED_CHANGES = 5000
_FRESH_SECONDS = 3600.0
_ELSEWHERE_SECONDS = 0.1
LATE_FOR = timedelta(minutes=10)
"""For as long a gateway is believed that edges have yet to hear of somebody's rules."""
_LATE_NOTED_SECONDS = 60.0
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


def _no_rules(_sockets: Sequence[SocketRecord]) -> Mapping[str, AddressRules]:
    return {}


class _Waiter:
    """Something on an event loop that any thread can wake."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    async def wait(self, seconds: float) -> None:
        """Until woken or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()


class _Stream(_Waiter):
    """One open feed, and which edge's it is."""

    def __init__(self, edge_id: str | None) -> None:
        super().__init__()
        self.edge_id = edge_id


class Feed:
    """State for edges, and their acknowledgements."""

    def __init__(
        self,
        *,
        store: Store,
        trust: Callable[[], dict[str, Any]],
        http_ports: tuple[int, ...],
        clock: Clock,
        address_rules: MakeRules = _no_rules,
        ready_rules: MakeRules = _no_rules,
    ) -> None:
        """``trust`` reads what edges are to verify with, as the database has it now.
        ``address_rules`` makes what the policies of some sockets say of addresses, and
        ``ready_rules`` finds what of that is made.
        """
        self._store = store
        self._clock = clock
        self._trust = trust
        self._rules = RuleMaking(address_rules, ready_rules, self._tell_again, clock)
        self._id = str(uuid.uuid4())
        self._late: dict[str, float] = {}
        self._state = FeedState(trust=canonical(trust()), http_ports=http_ports)
        self._refreshed_at = -math.inf
        self._changes: deque[ChangeRecord] = deque(maxlen=_REMEMBERED_CHANGES)
        self._oldest = 0
        self._digest = ""
        self._lines: dict[int, bytes] = {}
        self._refreshing = threading.Lock()
        self._lock = threading.Lock()
        self._acks: dict[str, int] = {}
        self._streams: set[_Stream] = set()
        self._writers: set[_Waiter] = set()
        self._closed = False
        self._note_trust(self._state.trust)
        store.database.on_change(self.wake)

    def wake(self) -> None:
        """Let every stream look for changes now; any thread may call it."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.wake()

    def _note_trust(self, trust: str) -> None:
        # The ports are settings too: with others, edges must learn of their sockets anew.
        told = f"{trust}{self._state.http_ports}"
        self._store.note_trust(hashlib.sha256(told.encode()).hexdigest(), self._clock())

    def close(self) -> None:
        """End every stream and every wait; the gateway is stopping."""
        self._closed = True
        self._rules.close()
        self.wake()
        self._tell_writers()

    def join(self) -> None:
        """Wait until nothing asks the database any more, once it was closed."""
        self._rules.join()

    async def stream(self, since: int, edge_id: str | None) -> AsyncIterator[bytes]:
        """Lines for one edge that has revision ``since``; runs until closed or cancelled."""
        stream = _Stream(edge_id)
        with self._lock:
            self._streams.add(stream)
        try:
            last_line = 0.0
            # An edge that was to hear of rules later, from here or elsewhere, may lack them.
            late, _ = await asyncio.to_thread(self._store.late_rules, None, since=_EVER)
            has: int | None = None if late else since
            while not self._closed:
                line, has = await asyncio.to_thread(self._next_line, has)
                if line is None and time.monotonic() - last_line >= HEARTBEAT_SECONDS:
                    line = heartbeat(has or 0)
                if line is not None:
                    yield line
                    last_line = time.monotonic()
                await stream.wait(POLL_SECONDS)
        finally:
            with self._lock:
                self._streams.discard(stream)
            self._tell_writers()

    def acknowledge(self, edge_id: str, revision: int) -> None:
        """An edge's proxy serves ``revision``."""
        with self._lock:
            self._acks[edge_id] = max(revision, 0)
        self._tell_writers()
        self._store.acknowledge(edge_id, revision, self._clock())

    async def settled(
        self, timeout_seconds: float = ACKNOWLEDGE_SECONDS, *, account_id: str | None = None
    ) -> bool:
        """As ``wait_until_acknowledged``, for everything stored by now; also for what edges are
        told later of an account's address rules, or of everybody's.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            revision = await asyncio.to_thread(self._store.revision)
            left = deadline - time.monotonic()
            if not await self.wait_until_acknowledged(revision, left):
                return False
            is_late, told = await asyncio.to_thread(
                self._store.late_rules, account_id, since=self._clock() - LATE_FOR
            )
            if not is_late and told <= revision:
                return True
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(min(_ELSEWHERE_SECONDS, max(left, 0)) if is_late else 0)

    def _tell_again(self, socket_ids: Collection[str], at: datetime) -> None:
        self._store.note_sockets(socket_ids, at)

    async def wait_until_acknowledged(
        self, revision: int, timeout_seconds: float = ACKNOWLEDGE_SECONDS
    ) -> bool:
        """Wait for the edges that are alive to serve ``revision``; whether all edges do.

        An edge that has been silent for a while is not waited for, but one that has been for less
        than a day may still serve something older: then the answer is no. Holds no thread.
        """
        deadline = time.monotonic() + timeout_seconds
        writer = _Waiter()
        with self._lock:
            self._writers.add(writer)
        try:
            while self._is_awaited_here(revision) and time.monotonic() < deadline:
                await writer.wait(deadline - time.monotonic())
            while True:
                silent_since = await asyncio.to_thread(self._behind, revision)
                if self._closed or not silent_since:
                    return not self._closed
                awaited = self._clock() - max(silent_since) < EDGE_SILENT
                if not awaited or time.monotonic() >= deadline:
                    return False
                await writer.wait(min(_ELSEWHERE_SECONDS, deadline - time.monotonic()))
        finally:
            with self._lock:
                self._writers.discard(writer)

    def _is_awaited_here(self, revision: int) -> bool:
        """Whether an edge connected to this gateway has yet to serve ``revision``."""
        with self._lock:
            connected = {stream.edge_id for stream in self._streams if stream.edge_id}
            return not self._closed and any(
                self._acks.get(edge_id, 0) < revision for edge_id in connected
            )

    def _behind(self, revision: int) -> list[datetime]:
        """When each edge was last heard that may serve something older than ``revision``."""
        edges = self._store.edges()
        gone = self._clock() - EDGE_GONE
        with self._lock:
            connected = {stream.edge_id for stream in self._streams if stream.edge_id}
            last_heard = {edge.edge_id: edge.seen_at for edge in edges if edge.seen_at > gone}
            last_heard |= dict.fromkeys(connected, self._clock())
            serves = {edge.edge_id: edge.acked_revision for edge in edges}
            return [
                seen_at
                for edge_id, seen_at in last_heard.items()
                if max(serves.get(edge_id, 0), self._acks.get(edge_id, 0)) < revision
            ]

    def _tell_writers(self) -> None:
        with self._lock:
            writers = list(self._writers)
        for writer in writers:
            writer.wake()

    def _next_line(self, has: int | None) -> tuple[bytes | None, int]:
        """What an edge at revision ``has`` lacks, and the revision it then has."""
        with self._refreshing:
            self._refresh()
            revision = self._state.revision
            if has == revision and has:
                return None, revision
            if not has or not self._oldest <= has < revision:
                return self._state.snapshot(), revision
            if has not in self._lines:
                changed = [
                    (change.kind, change.entity_id)
                    for change in self._changes
                    if change.revision > has
                ]
                self._lines[has] = self._state.delta(has, changed, self._digest)
            return self._lines[has], revision

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._refreshed_at >= _FRESH_SECONDS:
            # The first look, or no edge was here for so long that changes may be forgotten. Edges
            # may have this revision, without the rules that somebody was to tell them later.
            self._store.note_late_sockets(self._clock())
            rows = self._store.read_feed(None)
            trust = canonical(self._trust())
            self._changes.clear()
            self._oldest = rows.revision
        elif self._store.revision() == self._state.revision:
            self._refreshed_at = now
            return
        else:
            rows = self._store.read_feed(self._state.revision)
            # Read after the change it belongs to, whichever gateway made that.
            told = any(change.kind is ChangeKind.TRUST for change in rows.changes)
            trust = canonical(self._trust()) if told else self._state.trust
            self._remember(rows.changes)
        # A look that fails half-way leaves something no look may build on: begin anew then.
        self._refreshed_at = -math.inf
        self._state.trust = trust
        self._state.apply(rows, self._rules_of(rows))
        self._note_late(rows.revision)
        self._digest = self._state.digest()
        self._lines.clear()
        self._refreshed_at = now

    def _rules_of(self, rows: FeedRows) -> Mapping[str, Told]:
        if rows.complete:
            made = self._rules.make_all(rows.sockets)
            self._rules.forget_all()
            return made
        there = {socket.socket_id for socket in rows.sockets}
        self._rules.forget({change.entity_id for change in rows.changes} - there)
        return self._rules.of(rows.sockets, self._state.known(rows.sockets))

    def _note_late(self, revision: int) -> None:
        """Let all gateways know of whose rules edges hear later; before edges hear anything."""
        late, now = self._rules.late(), time.monotonic()
        over = self._late.keys() - late
        news = {one for one in late if now - self._late.get(one, -math.inf) > _LATE_NOTED_SECONDS}
        if news or over:
            self._store.note_late_rules(
                self._id, late=news, over=over, revision=revision, now=self._clock()
            )
            self._late = {one: now if one in news else self._late[one] for one in late}

    def _remember(self, changes: tuple[ChangeRecord, ...]) -> None:
        for change in changes:
            if len(self._changes) == _REMEMBERED_CHANGES:
                self._oldest = self._changes[0].revision
            self._changes.append(change)
