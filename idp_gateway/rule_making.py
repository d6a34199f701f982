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
from datetime import datetime
from typing import NamedTuple

from idp_gateway.address_rules import CLOSED, NO_RULES, AddressRules
from idp_gateway.clock import Clock
from idp_gateway.making_turns import MAKERS, TURN_SECONDS, MakingTurns
from idp_gateway.pending_rules import PendingRules, is_known
from idp_gateway.records import SocketRecord
from idp_gateway.rules import apart
from idp_gateway.told_rules import NO_KEY, Known, Told, is_enforced, key_of

log = logging.getLogger(__name__)

MakeRules = Callable[[Sequence[SocketRecord]], Mapping[str, AddressRules]]
"""What the policies of some sockets say of addresses, by socket id; none for one that is left out.
"""

PATIENCE_SECONDS = 0.1
"""How long edges wait for rules that are being made: most take milliseconds."""
PATIENCE_AT_FIRST_SECONDS = 5.0
"""How long they do where they hear everything anew: they have nothing else to wait for."""
CHARACTERS_A_SECOND = 500_000
"""Of long rules that edges are told, of all accounts together; they read ten times as many."""
_PAUSE_SECONDS = 1.0
_PATIENCE_AT_THE_END = 5.0


class _Turn(NamedTuple):
    """Sockets of one account whose rules are made."""

    sockets: list[SocketRecord]
    at: datetime
    number: int


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
        self._pending = PendingRules(clock)
        self._turns = MakingTurns()
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count(1)
        self._closed = False

    def of(
        self,
        sockets: Sequence[SocketRecord],
        known: Mapping[str, Known],
        *,
        at_once: bool = False,
    ) -> dict[str, Told]:
        """What edges are to be told of the rules of these sockets, of which they know those of
        ``known``; of as many as can be, if they hear everything ``at_once``. Those that are left
        out stay as they know them, and they hear again if others are made.
        """
        at, number = self._clock(), next(self._numbers)
        enforced = [one for one in sockets if is_enforced(one)]
        told = {
            one.socket_id: Told(NO_KEY, NO_RULES, at, number)
            for one in sockets
            if not is_enforced(one)
        }
        ready = {
            one.socket_id: Told(key_of(one), rules, at, number)
            for one, rules in _by_socket(enforced, self._ready(enforced))
        }
        # With the same key something may have ended all the same: it is what is told that counts.
        news = []
        for one in enforced:
            found = ready.get(one.socket_id)
            if found is not None and is_known(found, one, known.get(one.socket_id)):
                told[one.socket_id] = found
            else:
                news.append(one)
        return told | self._told_of(news, told, ready, known, at_once=at_once)

    def _told_of(
        self,
        news: Sequence[SocketRecord],
        told: Collection[str],
        ready: Mapping[str, Told],
        known: Mapping[str, Known],
        *,
        at_once: bool,
    ) -> dict[str, Told]:
        """What edges are to be told of those that are new to them, beside what is ``told``."""
        with self._changed:
            for socket_id in told:
                self._pending.drop(socket_id)
            missing = self._pending.note(news, ready, known)
            if missing:
                self._start()
                self._changed.notify_all()
                patience = PATIENCE_AT_FIRST_SECONDS if at_once else PATIENCE_SECONDS
                self._changed.wait_for(
                    lambda: self._closed or self._pending.are_made(missing), patience
                )
            taken = self._pending.take(news, at_once=at_once)
            self._start()
            self._changed.notify_all()
            return taken

    def forget_others(self, there: Collection[str]) -> None:
        """These sockets are all there are."""
        with self._changed:
            self.forget([one for one in self._pending if one not in there])

    def forget(self, socket_ids: Iterable[str]) -> None:
        """These sockets are gone."""
        with self._changed:
            for socket_id in socket_ids:
                self._pending.drop(socket_id)

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

    def _start(self) -> None:
        if not self._threads and self._pending:
            tasks = [*[self._make_on] * MAKERS, self._tell_on]
            self._threads = [threading.Thread(target=one, daemon=True) for one in tasks]
            for thread in self._threads:
                thread.start()

    def _make_on(self) -> None:
        while (turn := self._next_to_make()) is not None:
            longest = 0.0
            try:
                longest = self._make_in(turn)
            except Exception:
                log.exception("address rules could not be made; trying again")
                self._pause()
                with self._changed:
                    self._pending.make_again([one.socket_id for one in turn.sockets])
            finally:
                with self._changed:
                    self._turns.end(turn.sockets[0].account_id, longest)
                    self._changed.notify_all()

    def _make_in(self, turn: _Turn) -> float:
        """Make the rules of its sockets one after the other, for as long as a turn lasts. How long
        the longest took; those that there was no time for have another turn.
        """
        began, longest = time.thread_time(), 0.0
        for at, socket in enumerate(turn.sockets):
            before = time.thread_time()
            if at and before - began > TURN_SECONDS:
                with self._changed:
                    self._pending.make_again([one.socket_id for one in turn.sockets[at:]])
                break
            told = self._made_in(turn, socket)
            longest = max(longest, time.thread_time() - before)
            with self._changed:
                self._pending.finish(socket.account_id, {socket.socket_id: told})
                self._changed.notify_all()
        return longest

    def _made_in(self, turn: _Turn, socket: SocketRecord) -> Told:
        """The rules of a socket; it is closed if they cannot be made.

        Raises:
            DatabaseFailure: the database cannot be asked.
        """
        made = apart(self._make, [socket], lambda _socket: CLOSED)
        rules = made.get(socket.socket_id, NO_RULES)
        rules.members(socket)  # written here and now, once
        return Told(key_of(socket), rules, turn.at, turn.number)

    def _next_to_make(self) -> _Turn | None:
        """``None`` at the end."""
        with self._changed:
            while not self._closed:
                sockets = self._pending.next_to_make(self._turns)
                if sockets:
                    self._turns.begin(sockets[0].account_id)
                    # With its sockets: what changes from now on has a higher number.
                    return _Turn(sockets, self._clock(), next(self._numbers))
                self._changed.wait(self._pending.next_try())
        return None

    def _tell_on(self) -> None:
        while found := self._next_to_tell():
            socket_ids = [socket.socket_id for socket, _ in found]
            try:
                self._tell(socket_ids, min(told.at for _, told in found))
            except Exception:
                log.exception("edges cannot be told of address rules; trying again")
                self._pause()
                with self._changed:
                    self._pending.tell_again(socket_ids)
            seconds = sum(told.length(socket) for socket, told in found) / CHARACTERS_A_SECOND
            with self._changed:
                self._changed.wait_for(lambda: self._closed, seconds)

    def _next_to_tell(self) -> list[tuple[SocketRecord, Told]]:
        """Sockets whose turn it is; none at the end."""
        with self._changed:
            while not self._closed:
                found = self._pending.next_to_tell(CHARACTERS_A_SECOND / 10)
                if found:
                    return found
                self._changed.wait()
        return []

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, _PAUSE_SECONDS)


def _by_socket(
    sockets: Sequence[SocketRecord], rules: Mapping[str, AddressRules]
) -> Iterable[tuple[SocketRecord, AddressRules]]:
    return ((one, rules[one.socket_id]) for one in sockets if one.socket_id in rules)
