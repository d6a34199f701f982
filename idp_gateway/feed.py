"""Tells the edges what changed, at once.

One ``Feed`` per gateway. Threads that write announce themselves through the store; each open stream
is an async iterator that wakes, brings the shared state up to date and sends what its edge lacks.
Changes made by other gateways are found by looking at the newest revision twice a second.
"""

import asyncio
import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from idp_gateway.address_rules import AddressRules
from idp_gateway.canonical import canonical
from idp_gateway.clock import Clock
from idp_gateway.feed_state import FeedState, heartbeat
from idp_gateway.records import ChangeKind, ChangeRecord, SocketRecord
from idp_gateway.rule_making import MakeRules, RuleMaking
from idp_gateway.serving import Serving
from idp_gateway.store import Store
from idp_gateway.store.edges import FeedRows
from idp_gateway.told_rules import Told
from idp_gateway.waiters import Waiter

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 5.0
_REMEMBERED_CHANGES = 5000
_FRESH_SECONDS = 3600.0


def _no_rules(_sockets: Sequence[SocketRecord]) -> Mapping[str, AddressRules]:
    return {}


class Feed:
    """State for edges. ``serving`` has their acknowledgements."""

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
        self._rules = RuleMaking(address_rules, ready_rules, store.note_sockets, clock)
        self.serving = Serving(store, clock)
        self._state = FeedState(trust=canonical(trust()), http_ports=http_ports)
        self._refreshed_at = -math.inf
        self._changes: deque[ChangeRecord] = deque(maxlen=_REMEMBERED_CHANGES)
        self._oldest = 0
        self._digests: dict[int, str] = {}
        self._lines: dict[int, bytes] = {}
        # One look serves all streams; those that wait for it must not take others' threads.
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._lock = threading.Lock()
        self._streams: set[Waiter] = set()
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
        self.serving.close()
        self.wake()

    def join(self) -> None:
        """Wait until nothing asks the database any more, once it was closed."""
        self._looking.shutdown()
        self._rules.join()

    async def stream(
        self, since: int, edge_id: str | None, digest: str | None = None
    ) -> AsyncIterator[bytes]:
        """Lines for one edge that has revision ``since`` in a state with this digest; runs until
        closed or cancelled.
        """
        stream = Waiter()
        with self._lock:
            self._streams.add(stream)
        if edge_id:
            self.serving.arrive(edge_id)
        try:
            async for line in self._follow(stream, since, digest):
                yield line
        finally:
            with self._lock:
                self._streams.discard(stream)
            if edge_id:
                self.serving.leave(edge_id)

    async def _follow(self, stream: Waiter, since: int, digest: str | None) -> AsyncIterator[bytes]:
        has, last_line, loop = since, 0.0, asyncio.get_running_loop()
        first = True
        while not self._closed:
            look = partial(self._next_line, has, digest, is_first=first)
            looking = loop.run_in_executor(self._looking, look)
            while not (await asyncio.wait({looking}, timeout=HEARTBEAT_SECONDS))[0]:
                yield heartbeat(has)
            (line, has), first = await looking, False
            if line is None and time.monotonic() - last_line >= HEARTBEAT_SECONDS:
                line = heartbeat(has)
            if line is not None:
                yield line
                last_line = time.monotonic()
            await stream.wait(POLL_SECONDS)

    def _next_line(
        self, has: int, digest: str | None, *, is_first: bool
    ) -> tuple[bytes | None, int]:
        """What an edge at revision ``has`` lacks, and the revision it then has. With another
        ``digest`` at first it has something else of that revision, from another gateway.
        """
        self._refresh()
        revision = self._state.revision
        is_other = is_first and self._digests.get(has) != digest
        if has == revision and has and not is_other:
            return None, revision
        if is_other or not has or not self._oldest <= has < revision:
            return self._state.snapshot(), revision
        if has not in self._lines:
            changed = [
                (change.kind, change.entity_id) for change in self._changes if change.revision > has
            ]
            self._lines[has] = self._state.delta(has, changed, self._digests[revision])
        return self._lines[has], revision

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._refreshed_at >= _FRESH_SECONDS:
            # The first look, or no edge was here for so long that changes may be forgotten.
            rows = self._store.read_feed(None)
            trust = canonical(self._trust())
            self._changes.clear()
            self._digests.clear()
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
        self._digests[rows.revision] = self._state.digest()
        if len(self._digests) > _REMEMBERED_CHANGES:
            del self._digests[next(iter(self._digests))]
        self._lines.clear()
        self._refreshed_at = now

    def _rules_of(self, rows: FeedRows) -> Mapping[str, Told]:
        there = {socket.socket_id for socket in rows.sockets}
        if rows.complete:
            self._rules.forget_others(there)
        else:
            self._rules.forget({change.entity_id for change in rows.changes} - there)
        known = self._state.known(rows.sockets)
        return self._rules.of(rows.sockets, known, at_once=rows.complete)

    def _remember(self, changes: tuple[ChangeRecord, ...]) -> None:
        for change in changes:
            if len(self._changes) == _REMEMBERED_CHANGES:
                self._oldest = self._changes[0].revision
            self._changes.append(change)
