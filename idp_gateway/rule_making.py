"""Makes what edges are told of addresses, where that takes long, beside everything else they hear.

One account's rules may take seconds to make, and all edges wait for the line that has them. So of a
changed socket they are told at once what needs no making, a revocation above all, and its address
rules when they are made. Accounts take turns, and each has one turn at a time.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from idp_gateway.address_rules import CLOSED, NO_RULES, AddressRules
from idp_gateway.ready_rules import key_of
from idp_gateway.records import SocketRecord
from idp_gateway.rules import apart
from idp_gateway.store.database import DatabaseFailure
from policy.types import SocketType

log = logging.getLogger(__name__)

MakeRules = Callable[[Sequence[SocketRecord]], Mapping[str, AddressRules]]
"""What the policies of some sockets say of addresses, by socket id; none for one that is left out.
"""

MAKERS = 3
SOCKETS_A_TURN = 20
PATIENCE_SECONDS = 0.1
"""How long edges wait for rules that are being made: most take milliseconds."""
_PAUSE_SECONDS = 1.0
_PATIENCE_AT_THE_END = 5.0

_Key = tuple[object, ...]


class RuleMaking:
    """Safe in any thread."""

    def __init__(
        self, make: MakeRules, ready: MakeRules, tell: Callable[[Collection[str]], None]
    ) -> None:
        """``ready`` finds the rules that need no making, and ``tell`` makes edges hear of sockets
        again.
        """
        self._make, self._ready, self._tell = make, ready, tell
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, dict[str, SocketRecord]] = OrderedDict()
        self._busy: set[str] = set()
        self._made: dict[str, tuple[_Key, AddressRules]] = {}
        self._late: dict[str, tuple[_Key, str]] = {}
        self._makers: list[threading.Thread] = []
        self._closed = False

    def make_all(self, sockets: Sequence[SocketRecord]) -> dict[str, AddressRules]:
        """The rules of all of these, however long it takes; one whose rules cannot be made is
        closed.

        Raises:
            DatabaseFailure: the database cannot be asked.
        """
        return apart(self._make, sockets, lambda _socket: CLOSED)

    def of(self, sockets: Sequence[SocketRecord]) -> dict[str, AddressRules]:
        """The rules of those of these sockets that are made in time; edges hear of the others
        again when theirs are.
        """
        found = {one.socket_id: NO_RULES for one in sockets if not _is_enforced(one)}
        found |= self._ready([one for one in sockets if _is_enforced(one)])
        missing = [one for one in sockets if one.socket_id not in found]
        if missing:
            found |= self._wait_for(missing)
        with self._changed:
            for socket_id in found:
                self._forget(socket_id)
        return found

    def is_late(self, account_id: str | None) -> bool:
        """Whether edges have yet to hear of rules of this account, or of any."""
        with self._changed:
            return any(account_id in {None, whose} for _, whose in self._late.values())

    def forget(self, socket_ids: Iterable[str]) -> None:
        """These sockets are gone."""
        with self._changed:
            for socket_id in socket_ids:
                self._forget(socket_id)
                for waiting in self._waiting.values():
                    waiting.pop(socket_id, None)

    def close(self) -> None:
        """Make nothing more; what is being made may come to its end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for maker in self._makers:
            maker.join(_PATIENCE_AT_THE_END)

    def _forget(self, socket_id: str) -> None:
        self._made.pop(socket_id, None)
        self._late.pop(socket_id, None)

    def _wait_for(self, sockets: Sequence[SocketRecord]) -> dict[str, AddressRules]:
        with self._changed:
            for one in sockets:
                if self._made_of(one) is None:
                    self._waiting.setdefault(one.account_id, {})[one.socket_id] = one
            self._start()
            self._changed.notify_all()
            self._changed.wait_for(lambda: all(map(self._made_of, sockets)), PATIENCE_SECONDS)
            made = {one.socket_id: self._made_of(one) for one in sockets}
            for one in sockets:
                if made[one.socket_id] is None:
                    self._late[one.socket_id] = key_of(one), one.account_id
        return {socket_id: rules for socket_id, rules in made.items() if rules is not None}

    def _made_of(self, socket: SocketRecord) -> AddressRules | None:
        key, rules = self._made.get(socket.socket_id, (None, None))
        return rules if key == key_of(socket) else None

    def _start(self) -> None:
        while len(self._makers) < MAKERS:
            maker = threading.Thread(target=self._work, name="address rules", daemon=True)
            self._makers.append(maker)
            maker.start()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            account_id, sockets = taken
            try:
                self._finish(sockets, self._make_some(sockets))
            except DatabaseFailure:
                log.warning("the database cannot be asked for address rules; trying again")
                self._try_again(account_id, sockets)
            except Exception:
                log.exception("address rules could not be made; trying again")
                self._try_again(account_id, sockets)
            finally:
                with self._changed:
                    self._busy.discard(account_id)
                    self._changed.notify_all()

    def _take(self) -> tuple[str, list[SocketRecord]] | None:
        """Sockets of an account whose turn it is; ``None`` at the end."""
        with self._changed:
            while not self._closed:
                for account_id, waiting in self._waiting.items():
                    if account_id not in self._busy:
                        return account_id, self._begin(account_id, waiting)
                self._changed.wait()
        return None

    def _begin(self, account_id: str, waiting: dict[str, SocketRecord]) -> list[SocketRecord]:
        ids = list(waiting)[:SOCKETS_A_TURN]
        taken = [waiting.pop(socket_id) for socket_id in ids]
        if waiting:
            self._waiting.move_to_end(account_id)
        else:
            del self._waiting[account_id]
        self._busy.add(account_id)
        return taken

    def _make_some(self, sockets: Sequence[SocketRecord]) -> dict[str, AddressRules]:
        made = self.make_all(sockets)
        for one in sockets:
            made.setdefault(one.socket_id, NO_RULES).members(one)  # written here and now, once
        return made

    def _finish(self, sockets: Sequence[SocketRecord], made: Mapping[str, AddressRules]) -> None:
        with self._changed:
            for one in sockets:
                self._made[one.socket_id] = key_of(one), made[one.socket_id]
            self._changed.notify_all()
            keys = {one.socket_id: key_of(one) for one in sockets}
            late = [one for one, key in keys.items() if self._is_late_for(one, key)]
        if not late:
            return
        self._tell(late)
        with self._changed:
            for socket_id in late:
                if self._is_late_for(socket_id, keys[socket_id]):
                    del self._late[socket_id]

    def _is_late_for(self, socket_id: str, key: _Key) -> bool:
        return socket_id in self._late and self._late[socket_id][0] == key

    def _try_again(self, account_id: str, sockets: Sequence[SocketRecord]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, _PAUSE_SECONDS)
            waiting = self._waiting.setdefault(account_id, {})
            for one in sockets:
                waiting.setdefault(one.socket_id, one)  # unless it has changed meanwhile


def _is_enforced(socket: SocketRecord) -> bool:
    """Whether edges hold its connections to rules about addresses."""
    return SocketType(socket.socket_type).has_own_port
