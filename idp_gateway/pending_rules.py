"""The sockets of which edges have yet to hear the address rules, and whose turn is next.

Nothing here waits, locks or makes: ``rule_making`` does, with its lock held around each call.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from idp_gateway.account_queue import AccountQueue
from idp_gateway.clock import Clock
from idp_gateway.making_turns import SOCKETS_A_TURN, MakingTurns
from idp_gateway.records import SocketRecord
from idp_gateway.told_rules import Known, Told, key_of, kind_of

SHORT_TEXT = 4 << 10
"""Characters of rules that are told with what else edges hear: some two hundred networks."""
TEXT_AT_ONCE = 64 << 10
"""Characters of such rules of all sockets that changed at one moment."""
PAUSE_SECONDS = 1.0
"""How long what could not be made waits at first; each time twice as long."""
_LONGEST_PAUSE_SECONDS = 600.0
_TOLD_AT_ONCE = 100
"""Sockets of whose rules edges are told in one turn, if they are short."""


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
    failures: int = 0
    """How often they could not be made, since they could."""

    @property
    def is_known(self) -> bool:
        """Whether edges know what was made."""
        made = self.made
        return made is not None and is_known(made, self.socket, self.known)

    def is_outdone_by(self, told: Told) -> bool:
        """Whether ``told`` is newer than what edges know, and than what they are to be told."""
        others = [one.number for one in (self.known, self.made) if one is not None]
        return told.number >= max(others, default=0)


class PendingRules:
    """For one thread at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._to_make = AccountQueue()
        self._to_tell = AccountQueue()
        self._put_off: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pending)

    def drop(self, socket_id: str) -> None:
        """Nothing more is to be told of it."""
        found = self._pending.pop(socket_id, None)
        self._put_off.pop(socket_id, None)
        if found is not None:
            for queue in (self._to_make, self._to_tell):
                queue.drop(found.socket.account_id, socket_id)

    def note(
        self,
        sockets: Sequence[SocketRecord],
        ready: Mapping[str, Told],
        known: Mapping[str, Known],
    ) -> list[SocketRecord]:
        """Remember what is to be told; of which sockets there are no rules yet, which are to be
        made then.
        """
        missing = []
        for one in sockets:
            pending = self._pending.setdefault(one.socket_id, _Pending(one, None))
            pending.socket, pending.known = one, known.get(one.socket_id)
            if pending.made is not None and not _fits(pending.made, one):
                pending.made, pending.going = None, False
            if one.socket_id in ready:
                pending.made = replace(ready[one.socket_id], key=key_of(one))
            elif not self._is_right(pending):
                missing.append(one)
                pending.awaited = True
                self._to_make.add(one.account_id, one.socket_id)
        return missing

    def are_made(self, missing: list[SocketRecord]) -> bool:
        """Whether there are rules of all of these, as they are now; those of which there are need
        not be asked for again, and are taken out.
        """
        while missing and self._is_right(self._pending[missing[-1].socket_id]):
            missing.pop()
        return not missing

    def take(self, sockets: Sequence[SocketRecord], *, at_once: bool) -> dict[str, Told]:
        """What is told now: what has its turn, though newer ones be asked for, and what is short,
        as much as edges read in no time; all that there is, if they read much ``at_once`` anyway.
        """
        told, room = dict[str, Told](), math.inf if at_once else TEXT_AT_ONCE
        for one in sockets:
            pending = self._pending.get(one.socket_id)
            if pending is None:
                continue  # what was made meanwhile is what edges know
            if not (pending.awaited or self._is_right(pending)):
                # It was right when it was noted: something in it has ended since.
                self._to_make.add(one.account_id, one.socket_id)
            pending.awaited = False
            had_turn, limit = pending.going, min(room, math.inf if at_once else SHORT_TEXT)
            made = self._taken(pending, limit)
            if made is not None:
                told[one.socket_id] = made
                length = made.length(one)
                room -= length if length <= limit and not had_turn else 0
        return told

    def _taken(self, pending: _Pending, limit: float) -> Told | None:
        """What is told of one socket; what is not right, or not told, is still to be told."""
        socket, made, is_right = pending.socket, pending.made, self._is_right(pending)
        is_short = is_right and made is not None and made.length(socket) <= limit
        if made is not None and (pending.going or is_short or (is_right and pending.is_known)):
            pending.made, pending.going = None, False
            if is_right and not made.is_stopgap:
                self.drop(socket.socket_id)
                return made
        else:
            if is_right:
                self._to_tell.add(socket.account_id, socket.socket_id)
            made = None
        # Rules with the key that edges know are most likely those that they know.
        known = pending.known
        pending.late = is_right or known is None or known.key != key_of(socket)
        return made

    def finish(self, account_id: str, made: Mapping[str, Told]) -> None:
        """These were made of an account's sockets."""
        for socket_id, told in made.items():
            pending = self._pending.get(socket_id)
            if pending is None or not pending.is_outdone_by(told):
                continue  # it is gone, or something newer is told or at hand
            if not _fits(told, pending.socket):
                self._to_make.add(account_id, socket_id)
            elif not told.is_stopgap or self._is_first_failure(socket_id, pending):
                pending.made = told
                pending.failures = pending.failures if told.is_stopgap else 0
                self._place(account_id, socket_id, pending)

    def _is_first_failure(self, socket_id: str, pending: _Pending) -> bool:
        """Whether edges do not know yet that it is closed; it is tried again either way."""
        pause = min(PAUSE_SECONDS * 2**pending.failures, _LONGEST_PAUSE_SECONDS)
        self._put_off[socket_id] = time.monotonic() + pause
        pending.failures = min(pending.failures + 1, 30)
        return pending.failures == 1

    def _place(self, account_id: str, socket_id: str, pending: _Pending) -> None:
        """What comes after it was made: it is told, made anew, or known."""
        is_right = self._is_right(pending)
        is_known = is_right and pending.is_known
        if not is_right:
            self._to_make.add(account_id, socket_id)
        if pending.late or (is_right and not is_known and not pending.awaited):
            self._to_tell.add(account_id, socket_id)
        elif is_known and not pending.awaited:
            self.drop(socket_id)

    def next_to_make(self, turns: MakingTurns) -> list[SocketRecord]:
        """Sockets of the account whose turn it is."""
        now = time.monotonic()
        for socket_id in [one for one, due in self._put_off.items() if due <= now]:
            del self._put_off[socket_id]
            self.make_again([socket_id])
        while taken := self._to_make.take(SOCKETS_A_TURN, may=turns.may_begin):
            sockets = [self._pending[one].socket for one in taken if one in self._pending]
            if sockets:
                return sockets
        return []

    def next_try(self) -> float | None:
        """In how many seconds something that could not be made is tried again."""
        due = min(self._put_off.values(), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def next_to_tell(self, room: float) -> list[tuple[SocketRecord, Told]]:
        """Sockets whose turn it is, and what edges are to be told of them: about so many
        characters, but one socket at least.
        """
        found: list[tuple[SocketRecord, Told]] = []
        while room > 0 and len(found) < _TOLD_AT_ONCE and (taken := self._to_tell.take()):
            pending = self._pending.get(taken[0])
            if pending is not None and pending.made is not None:
                pending.going = True
                found.append((pending.socket, pending.made))
                room -= pending.made.length(pending.socket)
        return found

    def make_again(self, socket_ids: Sequence[str]) -> None:
        """These could not be made."""
        self._add_again(self._to_make, socket_ids)

    def tell_again(self, socket_ids: Sequence[str]) -> None:
        """These could not be told."""
        self._add_again(self._to_tell, socket_ids)

    def _add_again(self, queue: AccountQueue, socket_ids: Sequence[str]) -> None:
        for one in socket_ids:
            pending = self._pending.get(one)
            if pending is not None:
                queue.add(pending.socket.account_id, one)

    def _is_right(self, pending: _Pending) -> bool:
        made = pending.made
        return made is not None and made.is_right(key_of(pending.socket), self._clock())


def is_known(told: Told, socket: SocketRecord, known: Known | None) -> bool:
    """Whether edges know just these rules, of whatever key."""
    return known is not None and known.members == told.rules.members(socket)


def _fits(told: Told, socket: SocketRecord) -> bool:
    """Whether rules are for the kind of socket that this is now."""
    return told.key.kind == kind_of(socket)
