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

from idp_gateway.address_rules import CLOSED, NO_RULES, AddressRules
from idp_gateway.clock import Clock
from idp_gateway.pending_rules import PendingRules, is_known
from idp_gateway.records import SocketRecord
from idp_gateway.rules import apart
from idp_gateway.told_rules import Known, Told, is_enforced, key_of

log = logging.getLogger(__name__)

MakeRules = Callable[[Sequence[SocketRecord]], Mapping[str, AddressRules]]
"""What the policies of some sockets say of addresses, by socket id; none for one that is left out.
"""

MAKERS = 3
SOCKETS_A_TURN = 20
PATIENCE_SECONDS = 0.1
"""How long edges wait for rules that are being made: most take milliseconds."""
CHARACTERS_A_SECOND = 500_000
"""Of long rules that edges are told, of all accounts together; they read ten times as many."""
_PAUSE_SECONDS = 1.0
_PATIENCE_AT_THE_END = 5.0


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
        enforced = [one for one in sockets if is_enforced(one)]
        told = {
            one.socket_id: Told((), NO_RULES, at, number) for one in sockets if not is_enforced(one)
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
        return told | self._told_of(news, told, ready, known)

    def _told_of(
        self,
        news: Sequence[SocketRecord],
        told: Collection[str],
        ready: Mapping[str, Told],
        known: Mapping[str, Known],
    ) -> dict[str, Told]:
        """What edges are to be told of those that are new to them, beside what is ``told``."""
        with self._changed:
            for socket_id in told:
                self._pending.drop(socket_id)
            missing = self._pending.note(news, ready, known)
            if missing:
                self._start()
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._pending.are_made(missing), PATIENCE_SECONDS)
            taken = self._pending.take(news)
            self._start()
            self._changed.notify_all()
            return taken

    def late(self) -> frozenset[str]:
        """Accounts of whose rules edges have yet to hear."""
        with self._changed:
            return self._pending.late()

    def forget_all(self) -> None:
        """Edges are told everything anew."""
        with self._changed:
            self.forget(list(self._pending))

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
        while (sockets := self._next_to_make()) is not None:
            account_id = sockets[0].account_id
            try:
                made = self.make_all(sockets)
                for one in sockets:
                    made[one.socket_id].rules.members(one)  # written here and now, once
                with self._changed:
                    self._pending.finish(account_id, made)
            except Exception:
                log.exception("address rules could not be made; trying again")
                self._pause()
                with self._changed:
                    self._pending.make_again([one.socket_id for one in sockets])
            finally:
                with self._changed:
                    self._making.discard(account_id)
                    self._changed.notify_all()

    def _next_to_make(self) -> list[SocketRecord] | None:
        """Sockets of an account whose turn it is; ``None`` at the end."""
        with self._changed:
            while not self._closed:
                sockets = self._pending.next_to_make(SOCKETS_A_TURN, but=self._making)
                if sockets:
                    self._making.add(sockets[0].account_id)
                    return sockets
                self._changed.wait()
        return None

    def _tell_on(self) -> None:
        while (found := self._next_to_tell()) is not None:
            socket, told = found
            try:
                self._tell([socket.socket_id], told.at)
            except Exception:
                log.exception("edges cannot be told of address rules; trying again")
                self._pause()
                with self._changed:
                    self._pending.tell_again([socket.socket_id])
            with self._changed:
                seconds = told.length(socket) / CHARACTERS_A_SECOND
                self._changed.wait_for(lambda: self._closed, seconds)

    def _next_to_tell(self) -> tuple[SocketRecord, Told] | None:
        """A socket whose turn it is; ``None`` at the end."""
        with self._changed:
            while not self._closed:
                found = self._pending.next_to_tell()
                if found is not None:
                    return found
                self._changed.wait()
        return None

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, _PAUSE_SECONDS)


def _by_socket(
    sockets: Sequence[SocketRecord], rules: Mapping[str, AddressRules]
) -> Iterable[tuple[SocketRecord, AddressRules]]:
    return ((one, rules[one.socket_id]) for one in sockets if one.socket_id in rules)
