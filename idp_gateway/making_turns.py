"""Whose address rules are made next, and how many at once: what takes long waits for itself."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

MAKERS = 3
SOCKETS_A_TURN = 20
"""At most, where each takes little."""
SLOW_SECONDS = 0.5
"""A socket whose rules take longer makes its account a slow one, for a while. All seconds are of
the processor: who is quick is so among slow ones too."""
SLOW_FOR_SECONDS = 3600.0
"""It may be quick in between: not because its rules are, but because they were made before."""
_QUICK_SECONDS = 0.1
"""A turn that took less may be longer the next time."""
_ACCOUNTS_KNOWN = 10_000


class MakingTurns:
    """For one thread at a time. An account begins with one socket a turn, and has as many as take
    no time. One maker is for accounts that are known to be quick.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._slow_until: OrderedDict[str, float] = OrderedDict()
        self._making: set[str] = set()

    def __bool__(self) -> bool:
        """Whether any are being made."""
        return bool(self._making)

    def size(self, account_id: str) -> int:
        """How many sockets of an account are made in a turn; more than one if it is quick."""
        return self._sizes.get(account_id, 1)

    def may_begin(self, account_id: str) -> bool:
        """Whether there is a maker for an account."""
        if account_id in self._making:
            return False
        others = sum(self.size(one) == 1 for one in self._making)
        return self.size(account_id) > 1 or others < MAKERS - 1

    def begin(self, account_id: str) -> None:
        """Its turn has come."""
        self._making.add(account_id)

    def end(self, account_id: str, sockets: int, seconds: float) -> None:
        """It is over; the rules of so many sockets took so long."""
        self._making.discard(account_id)
        if seconds > SLOW_SECONDS * sockets:
            _keep(self._slow_until, account_id, self._seconds() + SLOW_FOR_SECONDS)
        is_slow = self._slow_until.get(account_id, 0.0) > self._seconds()
        is_quick = seconds < _QUICK_SECONDS and not is_slow
        size = min(2 * self.size(account_id), SOCKETS_A_TURN) if is_quick else 1
        _keep(self._sizes, account_id, size)


_Value = TypeVar("_Value")


def _keep(known: OrderedDict[str, _Value], key: str, value: _Value) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > _ACCOUNTS_KNOWN:
        known.popitem(last=False)
