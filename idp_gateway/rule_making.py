"""Makes what edges are told of addresses, and chooses when, beside everything else they hear.

One account's rules may take seconds to make, and an edge seconds to read, and all else that it is
told waits behind them. So of a changed socket edges are told at once what needs no making, a
revocation above all, and its address rules when they are made: short ones then, long ones one after
the other, with pauses. Accounts take turns. What is told may be older than what is asked for by
then, but never older than what was told before.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from idp_gateway.account_queue import AccountQueue
from idp_gateway.address_rules import CLOSED, NO_RULES, AddressRules
from idp_gateway.clock import Clock
from idp_gateway.ready_rules import key_of as _key_of_policies
from idp_gateway.records import SocketRecord
from idp_gateway.rules import apart
from policy.types import SocketType

log = logging.getLogger(__name__)

MakeRules = Callable[[Sequence[SocketRecord]], Mapping[str, AddressRules]]
"""What the policies of some sockets say of addresses, by socket id; none for one that is left out.
"""
Key = tuple[object, ...]
"""What is another as soon as other rules bear on a socket; first the kind of socket."""

MAKERS = 3
SOCKETS_A_TURN = 20
PATIENCE_SECONDS = 0.1
"""How long edges wait for rules that are being made: most take milliseconds."""
SHORT_TEXT = 4 << 10
"""Characters of rules that are told with what else edges hear: some two hundred networks."""
TEXT_AT_ONCE = 64 << 10
"""Characters of such rules of all sockets that changed at one moment."""
CHARACTERS_A_SECOND = 500_000
"""Of longer ones that edges are told, of all accounts together; they read ten times as many."""
_PAUSE_SECONDS = 1.0
_PATIENCE_AT_THE_END = 5.0


def key_of(socket: SocketRecord) -> Key:
    """The key of a socket's rules as it is now."""
    return kind_of(socket), *_key_of_policies(socket)


def kind_of(socket: SocketRecord) -> object:
    """On which it depends what is told of rules: others are for no other kind."""
    return socket.socket_type, socket.cloud_authentication_enabled


@dataclass(frozen=True, slots=True)
class Told:
    """Rules that edges are told now."""

    key: Key
    rules: AddressRules
    at: datetime
    """When they were begun to be made: what has ended since may be in them."""
    number: int
    """Of two the one that was begun later has the higher."""

    def is_right(self, key: Key, now: datetime) -> bool:
        """Whether they are those of ``key``, and nothing in them has ended since."""
        return self.key == key and not any(self.at < end <= now for end in self.rules.ends)


@dataclass(frozen=True, slots=True)
class Known:
    """What edges know of a socket's rules."""

    key: Key
    members: Mapping[str, str]
    number: int


@dataclass(slots=True)
class _Pending:
    """A socket of which edges have yet to hear the rules, if they are others than they know."""

    socket: SocketRecord
    known: Known | None
    made: Told | None = None
    """What was made last, if it was not told."""
    going: bool = False
    """Whether edges are to be told of ``made``."""
    awaited: bool = False
    """Whether edges wait for its rules before they hear of the socket."""
    late: bool = False
    """Whether edges have been told of the socket without its rules."""


class RuleMaking:
    """Safe in any thread."""

    def __init__(
        self,
        make: MakeRules,
        ready: MakeRules,
        tell: Callable[[Collection[str], datetime], None],
        clock: Clock,
    ) -> None:
        """``ready`` finds the rules that need no making. ``tell`` makes edges hear of sockets
        again, as they were at a moment.
        """
        self._make, self._ready, self._tell, self._clock = make, ready, tell, clock
        self._changed = threading.Condition()
        self._pending: dict[str, _Pending] = {}
        self._to_make = AccountQueue()
        self._to_tell = AccountQueue()
        self._making: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count(1)
        self._closed = False

    def make_all(self, sockets: Sequence[SocketRecord]) -> dict[str, Told]:
        """The rules of all of these, however long it takes; one whose rules cannot be made is
        closed.

        Raises:
            DatabaseFailure: the database cannot be asked.
        """
        at, number = self._clock(), next(self._numbers)
        made = apart(self._make, sockets, lambda _socket: CLOSED)
        return {
            one.socket_id: Told(key_of(one), made.get(one.socket_id, NO_RULES), at, number)
            for one in sockets
        }

    def of(self, sockets: Sequence[SocketRecord], known: Mapping[str, Known]) -> dict[str, Told]:
        """What edges are to be told of the rules of these sockets, of which they know those of
        ``known``. Those that are left out stay as they know them, and they hear again if others are
        made.
        """
        at, number = self._clock(), next(self._numbers)
        enforced = [one for one in sockets if _is_enforced(one)]
        ready = {
            socket_id: Told((), rules, at, number)
            for socket_id, rules in self._ready(enforced).items()
        }
        told = {
            one.socket_id: Told((), NO_RULES, at, number)
            for one in sockets
            if not _is_enforced(one)
        }
        # With the same key something may have ended all the same: it is what is told that counts.
        news = [
            one
            for one in enforced
            if one.socket_id not in ready
            or not _is_known(ready[one.socket_id].rules, one, known.get(one.socket_id))
        ]
        changed = {one.socket_id for one in news}
        for one in enforced:
            if one.socket_id not in changed:
                told[one.socket_id] = replace(ready[one.socket_id], key=key_of(one))
        with self._changed:
            for one in sockets:
                if one.socket_id not in changed:
                    self._drop(one.socket_id)
            missing = self._note(news, ready, known)
            if missing:
                self._start()
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._are_made(missing), PATIENCE_SECONDS)
            return told | self._take(news)

    def late(self) -> frozenset[str]:
        """Accounts of whose rules edges have yet to hear."""
        with self._changed:
            return frozenset(one.socket.account_id for one in self._pending.values() if one.late)

    def forget_all(self) -> None:
        """Edges are told everything anew."""
        self.forget(list(self._pending))

    def forget(self, socket_ids: Iterable[str]) -> None:
        """These sockets are gone."""
        with self._changed:
            for socket_id in socket_ids:
                self._drop(socket_id)

    def close(self) -> None:
        """Make nothing more; what is being made may come to its end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for what is being made when it was closed; not for ever."""
        ends = time.monotonic() + _PATIENCE_AT_THE_END
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _drop(self, socket_id: str) -> None:
        found = self._pending.pop(socket_id, None)
        if found is not None:
            for queue in (self._to_make, self._to_tell):
                queue.drop(found.socket.account_id, socket_id)

    def _note(
        self,
        sockets: Sequence[SocketRecord],
        ready: Mapping[str, Told],
        known: Mapping[str, Known],
    ) -> list[SocketRecord]:
        """Remember what is to be told; of which sockets there are no rules yet."""
        missing = []
        for one in sockets:
            pending = self._pending.setdefault(one.socket_id, _Pending(one, None))
            pending.socket, pending.known = one, known.get(one.socket_id)
            if pending.made is not None and pending.made.key[:1] != (kind_of(one),):
                pending.made, pending.going = None, False
            if one.socket_id in ready:
                pending.made = replace(ready[one.socket_id], key=key_of(one))
            elif not self._is_right(pending):
                missing.append(one)
                pending.awaited = True
                self._to_make.add(one.account_id, one.socket_id)
        return missing

    def _are_made(self, sockets: Sequence[SocketRecord]) -> bool:
        return all(self._is_right(self._pending[one.socket_id]) for one in sockets)

    def _is_right(self, pending: _Pending) -> bool:
        made = pending.made
        return made is not None and made.is_right(key_of(pending.socket), self._clock())

    def _take(self, sockets: Sequence[SocketRecord]) -> dict[str, Told]:
        """What is told now: what has its turn, though newer ones be asked for, and what is short,
        as much as edges read in no time.
        """
        told, room = {}, TEXT_AT_ONCE
        for one in sockets:
            pending = self._pending.get(one.socket_id)
            if pending is None:
                continue  # what was made meanwhile is what edges know
            pending.awaited = False
            made = pending.made
            is_it = self._is_right(pending)
            length = _length(made, one) if made is not None and is_it else room + 1
            if made is not None and (pending.going or length <= min(room, SHORT_TEXT)):
                room -= 0 if pending.going else length
                told[one.socket_id] = made
                pending.made, pending.going = None, False
                if is_it:
                    self._drop(one.socket_id)
                    continue
            elif made is not None and is_it:
                if _is_known(made.rules, one, pending.known):
                    told[one.socket_id] = made
                    self._drop(one.socket_id)
                    continue
                self._to_tell.add(one.account_id, one.socket_id)
            # Rules with the key that edges know are most likely those that they know.
            pending.late = is_it or pending.known is None or pending.known.key != key_of(one)
        self._start()
        self._changed.notify_all()
        return told

    def _start(self) -> None:
        if not self._threads and self._pending:
            tasks = [*[self._make_on] * MAKERS, self._tell_on]
            self._threads = [threading.Thread(target=one, daemon=True) for one in tasks]
            for thread in self._threads:
                thread.start()

    def _make_on(self) -> None:
        while (sockets := self._next_to_make()) is not None:
            account_id = sockets[0].account_id
            try:
                made = self.make_all(sockets)
                for one in sockets:
                    made[one.socket_id].rules.members(one)  # written here and now, once
                self._finish(account_id, made)
            except Exception:
                log.exception("address rules could not be made; trying again")
                self._try_again(self._to_make, [one.socket_id for one in sockets])
            finally:
                with self._changed:
                    self._making.discard(account_id)
                    self._changed.notify_all()

    def _next_to_make(self) -> list[SocketRecord] | None:
        """Sockets of an account whose turn it is; ``None`` at the end."""
        with self._changed:
            while not self._closed:
                while taken := self._to_make.take(SOCKETS_A_TURN, but=self._making):
                    sockets = [self._pending[one].socket for one in taken if one in self._pending]
                    if sockets:
                        self._making.add(sockets[0].account_id)
                        return sockets
                self._changed.wait()
        return None

    def _finish(self, account_id: str, made: Mapping[str, Told]) -> None:
        with self._changed:
            for socket_id, told in made.items():
                pending = self._pending.get(socket_id)
                if pending is None or not _is_newer(told, pending):
                    continue  # it is gone, or something newer is told or at hand
                if told.key[:1] != (kind_of(pending.socket),):
                    self._to_make.add(account_id, socket_id)
                    continue
                pending.made = told
                is_it = self._is_right(pending)
                if not is_it:
                    self._to_make.add(account_id, socket_id)
                is_known = is_it and _is_known(told.rules, pending.socket, pending.known)
                if pending.late or (is_it and not is_known and not pending.awaited):
                    self._to_tell.add(account_id, socket_id)
                elif is_known and not pending.awaited:
                    self._drop(socket_id)
            self._changed.notify_all()

    def _tell_on(self) -> None:
        while (found := self._next_to_tell()) is not None:
            socket_id, length, at = found
            try:
                self._tell([socket_id], at)
            except Exception:
                log.exception("edges cannot be told of address rules; trying again")
                self._try_again(self._to_tell, [socket_id])
            with self._changed:
                self._changed.wait_for(lambda: self._closed, length / CHARACTERS_A_SECOND)

    def _next_to_tell(self) -> tuple[str, int, datetime] | None:
        """A socket whose turn it is, how long its rules are, and of when; ``None`` at the end."""
        with self._changed:
            while not self._closed:
                for socket_id in self._to_tell.take(1):
                    pending = self._pending.get(socket_id)
                    if pending is not None and pending.made is not None:
                        pending.going = True
                        made = pending.made
                        return socket_id, _length(made, pending.socket), made.at
                if not self._to_tell:
                    self._changed.wait()
        return None

    def _try_again(self, queue: AccountQueue, socket_ids: Sequence[str]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, _PAUSE_SECONDS)
            for one in socket_ids:
                pending = self._pending.get(one)
                if pending is not None:
                    queue.add(pending.socket.account_id, one)


def _is_known(rules: AddressRules, socket: SocketRecord, known: Known | None) -> bool:
    return known is not None and known.members == rules.members(socket)


def _is_newer(told: Told, pending: _Pending) -> bool:
    """Than what edges know, and than what they are to be told already."""
    others = [one.number for one in (pending.known, pending.made) if one is not None]
    return told.number >= max(others, default=0)


def _length(told: Told, socket: SocketRecord) -> int:
    return sum(map(len, told.rules.members(socket).values()))


def _is_enforced(socket: SocketRecord) -> bool:
    """Whether edges hold its connections to rules about addresses."""
    return SocketType(socket.socket_type).has_own_port
