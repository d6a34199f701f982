"""What edges have put into effect, and waiting for them.

An edge acknowledges a revision, and says which sockets it serves by older address rules than it
should. It is the edge that knows: another gateway may have told it newer ones.
"""

import asyncio
import threading
import time
from collections import Counter
from datetime import datetime, timedelta

from idp_gateway.clock import Clock
from idp_gateway.records import ChangeKind, EdgeRecord
from idp_gateway.store import Store
from idp_gateway.waiters import Waiter

ACKNOWLEDGE_SECONDS = 2.0
"""How long a change waits for edges to serve it."""
EDGE_SILENT = timedelta(seconds=90)
"""An edge not heard for longer is not alive; edges report every 30 s."""
EDGE_GONE = timedelta(hours=24)
"""An edge not heard for longer is taken for removed."""

_ELSEWHERE_SECONDS = 0.1


class Serving:
    """Acknowledgements of the edges of all gateways."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._acks: dict[str, int] = {}
        self._connected: Counter[str] = Counter()
        self._writers: set[Waiter] = set()
        self._closed = False

    def arrive(self, edge_id: str) -> None:
        """An edge follows this gateway's feed."""
        with self._lock:
            self._connected[edge_id] += 1

    def leave(self, edge_id: str) -> None:
        """It does so no more."""
        with self._lock:
            self._connected[edge_id] -= 1
        self._tell_writers()

    def close(self) -> None:
        """End every wait; the gateway is stopping."""
        self._closed = True
        self._tell_writers()

    def acknowledge(self, edge_id: str, revision: int, late: tuple[str, ...] | None = ()) -> None:
        """An edge's proxy serves ``revision``, and sockets that are ``late`` by older address rules
        than it should; ``None`` if they are too many to be named.
        """
        noted = self._store.acknowledge(edge_id, revision, self._clock(), late)
        with self._lock:
            self._acks[edge_id] = noted
        self._tell_writers()

    async def settled(
        self,
        timeout_seconds: float = ACKNOWLEDGE_SECONDS,
        *,
        account_id: str | None = None,
        after: int = 0,
    ) -> bool:
        """As ``wait_until_acknowledged``, for everything stored by now; and whether no edge has
        older address rules of a socket of the account, or of any that changed ``after`` a revision.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            revision = await asyncio.to_thread(self._store.revision)
            left = deadline - time.monotonic()
            if not await self.wait_until_acknowledged(revision, left):
                return False
            if not await asyncio.to_thread(self._are_late, account_id, after):
                return True
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(min(_ELSEWHERE_SECONDS, max(left, 0)))

    def _are_late(self, account_id: str | None, after: int) -> bool:
        edges = self._in_use()
        if any(edge.late_unnamed for edge in edges):
            return True
        late = {socket_id for edge in edges for socket_id in edge.late_sockets}
        if account_id is not None:
            return self._store.are_any_of(account_id, late)
        return bool(late) and any(
            change.entity_id in late
            for change in self._store.changes_since(after)
            if change.kind is ChangeKind.SOCKET
        )

    async def wait_until_acknowledged(
        self, revision: int, timeout_seconds: float = ACKNOWLEDGE_SECONDS
    ) -> bool:
        """Wait for the edges that are alive to serve ``revision``; whether all edges do.

        An edge that has been silent for a while is not waited for, but one that has been for less
        than a day may still serve something older: then the answer is no. Holds no thread.
        """
        deadline = time.monotonic() + timeout_seconds
        writer = Waiter()
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
            return not self._closed and any(
                self._acks.get(edge_id, 0) < revision for edge_id in +self._connected
            )

    def _behind(self, revision: int) -> list[datetime]:
        """When each edge was last heard that may serve something older than ``revision``."""
        known = {edge.edge_id: edge for edge in self._in_use()}
        with self._lock:
            connected = dict.fromkeys(+self._connected, self._clock())
        heard = {edge_id: edge.seen_at for edge_id, edge in known.items()} | connected
        return [
            seen_at
            for edge_id, seen_at in heard.items()
            if edge_id not in known or known[edge_id].acked_revision < revision
        ]

    def _in_use(self) -> list[EdgeRecord]:
        """The edges that may still serve something."""
        gone = self._clock() - EDGE_GONE
        with self._lock:
            connected = +self._connected
        return [
            one for one in self._store.edges() if one.seen_at > gone or one.edge_id in connected
        ]

    def _tell_writers(self) -> None:
        with self._lock:
            writers = list(self._writers)
        for writer in writers:
            writer.wake()
