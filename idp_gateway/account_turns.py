"""Turns of accounts at what takes a lock that all share: each has one at a time.

However many requests one account sends, whoever else wants the lock waits for one of them at most,
and one of each kind of turn that is named beside the account's own (``revoking:…``).
Those that wait for their turn hold one of the framework's threads, so few may.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from idp_gateway.errors import TooManyAttempts

MOST_AT_ONCE = 4
"""Requests of one account that have their turn or wait for it."""
MOST_SOCKETS_AT_ONCE = 8
"""As ``MOST_AT_ONCE`` where sockets are made and changed: programs do that to many at a time, and
few of them take long."""
MOST_WAITING = 16
"""Requests of all accounts together that wait for their turn, each in one of the threads that all
share. Whoever wants one thing at a time waits for nobody here."""
MOST_BESIDE = 5
"""As ``MOST_WAITING``, of each kind of turn beside those of accounts' changes: what stands before
the colon of its name."""
RETRY_SECONDS = 1


@dataclass(slots=True)
class _Queue:
    """Those of one account."""

    turn: Lock = field(default_factory=Lock)
    length: int = 0


class AccountTurns:
    """Safe in any thread; nothing is kept of accounts that want nothing."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._queues: dict[str, _Queue] = {}
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def turn(self, account_id: str, *, most: int = MOST_AT_ONCE) -> Iterator[None]:
        """The account's turn, as soon as those before are over.

        Raises:
            TooManyAttempts: ``most`` of the account have it or wait for it already.
        """
        queue = self._join(account_id, most)
        try:
            with queue.turn:
                yield
        finally:
            self._leave(account_id, queue)

    def _join(self, account_id: str, most: int = MOST_AT_ONCE) -> _Queue:
        with self._lock:
            queue = self._queues.setdefault(account_id, _Queue())
            kind = _kind_of(account_id)
            room = MOST_BESIDE if kind else MOST_WAITING
            if queue.length >= most or (queue.length and self._waiting[kind] >= room):
                raise TooManyAttempts(
                    "too much is being changed for this account at once; try again soon",
                    retry_after=RETRY_SECONDS,
                )
            self._waiting[kind] += 1 if queue.length else 0
            queue.length += 1
        return queue

    def _leave(self, account_id: str, queue: _Queue) -> None:
        with self._lock:
            queue.length -= 1
            # Whoever was next has the turn now.
            self._waiting[_kind_of(account_id)] -= 1 if queue.length else 0
            if not queue.length:
                del self._queues[account_id]


def _kind_of(whose: str) -> str:
    """Empty for changes of an account."""
    return whose.rpartition(":")[0]
