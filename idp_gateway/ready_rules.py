"""Policy sets of sockets that are ready to be decided on, as many as memory is set aside for."""

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from idp_gateway.records import SocketRecord
from policy.policy_set import PolicySet
from policy.windows import FOREVER

MAX_WEIGHT = 1 << 20
"""What all that is kept may weigh, as ``PolicySet.weight`` has it: some 260 MB."""
SOCKET_WEIGHT = 64
"""Of a socket beside its policies: some 9,000 with small ones are kept."""

_Key = tuple[int, int, tuple[str, ...], tuple[str, ...]]


class _Ready(NamedTuple):
    """The rules of a socket."""

    key: _Key
    policies: PolicySet
    until: datetime
    """When one of them ends, which then must not be told to edges any more."""


@dataclass(slots=True)
class _Account:
    """What is kept of one account, the longest unused first; a set of many sockets weighs once."""

    ready: OrderedDict[str, _Ready] = field(default_factory=OrderedDict)
    sockets_of: Counter[int] = field(default_factory=Counter)
    """How many of them have a set, by its ``id``."""
    weight: int = 0

    def keep(self, socket_id: str, ready: _Ready) -> None:
        self.drop(socket_id)
        self.ready[socket_id] = ready
        if not self.sockets_of[id(ready.policies)]:
            self.weight += ready.policies.weight
        self.sockets_of[id(ready.policies)] += 1
        self.weight += SOCKET_WEIGHT

    def drop(self, socket_id: str) -> None:
        ready = self.ready.pop(socket_id, None)
        if ready is None:
            return
        self.weight -= SOCKET_WEIGHT
        self.sockets_of[id(ready.policies)] -= 1
        if not self.sockets_of[id(ready.policies)]:
            self.weight -= ready.policies.weight
            del self.sockets_of[id(ready.policies)]


class ReadyRules:
    """Safe in any thread. Where room is needed, the account that has most gives it up: nobody's
    large lists push out what others need.
    """

    def __init__(self, most: int = MAX_WEIGHT) -> None:
        self._most, self._weight = most, 0
        self._lock = threading.Lock()
        self._accounts: dict[str, _Account] = {}

    def find(self, socket: SocketRecord, now: datetime) -> PolicySet | None:
        """The set of a socket whose row has just been read, if it still is the one."""
        with self._lock:
            account = self._accounts.get(socket.account_id)
            ready = None if account is None else account.ready.get(socket.socket_id)
            if account is None or ready is None:
                return None
            if ready.key != key_of(socket) or now >= ready.until:
                return None
            account.ready.move_to_end(socket.socket_id)
            return ready.policies

    def keep(self, socket: SocketRecord, policies: PolicySet, *, made_at: datetime) -> None:
        """Remember a set until one of its policies ends."""
        ready = _Ready(key_of(socket), policies, _first_end(policies, after=made_at))
        with self._lock:
            account = self._accounts.setdefault(socket.account_id, _Account())
            before = account.weight
            account.keep(socket.socket_id, ready)
            self._weight += account.weight - before
            if self._weight > self._most:
                self._make_room()

    def _make_room(self) -> None:
        # More than is needed now, so that it is not to be looked for again at once.
        heaviest = [(-one.weight, account_id) for account_id, one in self._accounts.items()]
        heapify(heaviest)
        while self._weight > self._most - self._most // 16:
            weight, account_id = heappop(heaviest)
            account = self._accounts[account_id]
            account.drop(next(iter(account.ready)))
            self._weight += weight + account.weight
            if account.ready:
                heappush(heaviest, (-account.weight, account_id))
            else:
                del self._accounts[account_id]


def key_of(socket: SocketRecord) -> _Key:
    """What is another as soon as anything that bears on the socket is."""
    return socket.epoch, socket.rules_version, socket.emails, socket.domains


def _first_end(policies: PolicySet, *, after: datetime) -> datetime:
    ends = (policy.when.before for policy in policies.policies)
    return min((end for end in ends if end is not None and end > after), default=FOREVER)
