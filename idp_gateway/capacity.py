"""Threads of their own for what must not wait behind everything else.

All other routes share the framework's 40 threads. The edge's questions have some for themselves,
so that nobody with an account can make visitors of others wait; passwords have a few, as each check
takes 32 MiB and much of a processor, and those that wait for one hold no thread at all. Neither do
most of those who wait for a token or agent to sign their logins: it may hang. Strangers who ask for
public lists have a few: to look at what is kept takes a moment, to make a list may take seconds.
"""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from ca.errors import SignerBusyError
from idp_gateway.errors import ListsBusy
from idp_gateway.host_turns import HostTurns

Result = TypeVar("Result")

DECISIONS = 16
"""Questions of edges answered side by side."""
PASSWORDS = 4
"""Passwords hashed side by side."""

SIGNATURES = 12
"""Logins that tokens and agents sign side by side: fewer than may wait for one of those."""
MOST_UNSIGNED = 64
"""Logins that may wait for one of these threads."""


LISTS = 4
"""Public lists that are looked up side by side."""
MOST_LISTS = 1_000
"""Who may wait for one of these threads."""
MADE_LISTS = 2
"""Public lists that are made side by side, for whoever asked first; each keeps a processor busy."""
MOST_UNMADE = 64
"""Who may wait for one of these."""
MOST_OF_ONE = 16
"""Lists of one account that are made or wait to be; they are made one after the other."""

REPLAYS = 2
"""Replays of recorded decisions side by side; each keeps a processor busy."""
TRIALS = 16
"""Cases tried and decisions explained side by side, in less than half of the threads all share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How much of what is done at a time."""

    decisions: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(DECISIONS))
    passwords: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(PASSWORDS))
    signatures: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(SIGNATURES))
    lists: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(LISTS))
    made_lists: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(MADE_LISTS))
    making: "dict[Hashable, Making]" = field(default_factory=dict)
    """Which lists are being made or will be next, by name, which each has one of however it was
    asked for; of each the last that was asked for.
    """
    unmade: "dict[Hashable, list[asyncio.Task[bytes]]]" = field(default_factory=dict)
    """The same of each account, in their order: nobody's lists wait behind all of another's."""
    hosts: HostTurns = field(default_factory=HostTurns)
    replays: "Places" = field(default_factory=lambda: Places(REPLAYS))
    trials: "Places" = field(default_factory=lambda: Places(TRIALS))


class Places:
    """Who may do now what takes long: so many at a time, and each account once."""

    def __init__(self, places: int) -> None:
        self._lock = Lock()
        self._free = places
        self._accounts: set[str] = set()

    def take(self, account_id: str) -> "Place | None":
        """A place, or ``None`` if there is none, or the account has one."""
        with self._lock:
            if not self._free or account_id in self._accounts:
                return None
            self._free -= 1
            self._accounts.add(account_id)
        return Place(self, account_id)

    def _give_back(self, account_id: str, *, run: bool, account: bool) -> None:
        with self._lock:
            self._free += run
            if account:
                self._accounts.discard(account_id)


class Place:
    """One account's place. To leave it twice is harmless."""

    def __init__(self, places: Places, account_id: str) -> None:
        self._places, self._account_id = places, account_id
        self._running, self._held = True, True

    def __enter__(self) -> None:
        return

    def __exit__(self, *_error: object) -> None:
        self.leave()

    def ran(self) -> None:
        """The work is over: another account may run its own. This one still has to take its
        answer, which is large.
        """
        running, self._running = self._running, False
        self._places._give_back(self._account_id, run=running, account=False)  # noqa: SLF001

    def leave(self) -> None:
        """All is done: the answer is sent, or nobody takes it."""
        self.ran()
        held, self._held = self._held, False
        self._places._give_back(self._account_id, run=False, account=held)  # noqa: SLF001


async def sign_in_thread(limiter: CapacityLimiter, work: Callable[[], Result]) -> Result:
    """As ``in_thread``, unless too many wait already.

    Raises:
        SignerBusyError: they do.
    """
    if limiter.statistics().tasks_waiting >= MOST_UNSIGNED:
        raise SignerBusyError(f"{MOST_UNSIGNED} logins wait to be signed already")
    return await in_thread(limiter, work)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedList:
    """A public list somebody asks for."""

    name: Hashable
    """Equal for all who ask for this list, whatever they call it."""
    whose: Hashable
    """The account that it is about, whose changes make it be made anew; ``None``: all of them."""
    look: Callable[[], bytes | None]
    """The list, if it is kept and still right; otherwise ``None``, and nobody has waited."""
    make: Callable[[], bytes]
    """The list as it is when this is called, or later."""


class Making:
    """A list that is being made, for everybody who asks for it before that has begun."""

    def __init__(self, capacity: Capacity, asked: AskedList, *, after: "Making | None") -> None:
        self.begun = False
        self._capacity, self._asked, self._after = capacity, asked, after
        capacity.making[asked.name] = self
        # A task of its own: who asked first may go away, the others wait on.
        self.made = asyncio.create_task(self._list())
        self.made.add_done_callback(_heard)
        self._queue_up()

    def _queue_up(self) -> None:
        unmade = self._capacity.unmade.setdefault(self._asked.whose, [])
        self._ahead = unmade[-1] if unmade else None
        unmade.append(self.made)
        self.made.add_done_callback(self._leave)

    def _leave(self, made: asyncio.Task[bytes]) -> None:
        unmade = self._capacity.unmade[self._asked.whose]
        unmade.remove(made)
        if not unmade:
            del self._capacity.unmade[self._asked.whose]

    async def _list(self) -> bytes:
        try:
            if self._ahead is not None:
                await asyncio.wait([self._ahead])
                self._ahead = None
            if self._after is not None:
                await asyncio.wait([self._after.made])
                self._after = None
                found = await in_thread(
                    self._capacity.lists, partial(self._begin, self._asked.look)
                )
                if found is not None:
                    return found
            _check_wait(self._capacity.made_lists, MOST_UNMADE)
            make = partial(self._begin, self._asked.make)
            return await in_thread(self._capacity.made_lists, make)
        finally:
            if self._capacity.making.get(self._asked.name) is self:
                del self._capacity.making[self._asked.name]

    def _begin(self, work: Callable[[], Result]) -> Result:
        # Before anything is looked up: who finds it not begun finds all that they know of on it.
        self.begun = True
        return work()


async def list_in_thread(capacity: Capacity, settle: Callable[[], AskedList]) -> bytes:
    """The list that ``settle`` names: the one that is kept, or else one whose making began after
    this call: the next one, where one is under way, so that nobody waits for more than two, and
    for those of other lists of the account that were asked for before. Who waits holds no thread,
    so that nobody who asks for another account's list has to wait as well.

    Raises:
        ListsBusy: too many wait already.
    """
    _check_wait(capacity.lists, MOST_LISTS)
    asked, found = await in_thread(capacity.lists, partial(_settled, settle))
    if found is not None:
        return found
    making = capacity.making.get(asked.name)
    if making is None or making.begun:
        if len(capacity.unmade.get(asked.whose, ())) >= MOST_OF_ONE:
            raise ListsBusy("many lists of this account are being made; try again in some seconds")
        making = Making(capacity, asked, after=making)
    return await asyncio.shield(making.made)


def _settled(settle: Callable[[], AskedList]) -> tuple[AskedList, bytes | None]:
    asked = settle()
    return asked, asked.look()


def _heard(made: asyncio.Task[bytes]) -> None:
    """Nobody may be left to hear why there is no list."""
    if not made.cancelled():
        made.exception()


def _check_wait(limiter: CapacityLimiter, most: int) -> None:
    if limiter.statistics().tasks_waiting >= most:
        raise ListsBusy("too many ask for lists at the moment; try again in some seconds")


async def in_thread(limiter: CapacityLimiter, work: Callable[[], Result]) -> Result:
    """``work()`` in a thread, as soon as ``limiter`` has one to spare."""
    return await to_thread.run_sync(work, limiter=limiter)
