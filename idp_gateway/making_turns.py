"""Whose address rules are made next, and how many at once: what takes long waits for itself."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

MAKERS = 3
SOCKETS_A_TURN = 20
"""At most; a turn ends sooner where they take their time."""
TURN_SECONDS = 0.1
"""After so long no further socket is begun in the turn."""
SLOW_SECONDS = 0.5
"""A socket whose rules take longer makes its account a slow one, for a while. All seconds are of
the processor: who is quick is so among slow ones too."""
SLOW_FOR_SECONDS = 3600.0
"""It may be quick in between: not because its rules are, but because they were made before."""
_ACCOUNTS_KNOWN = 10_000

_Value = TypeVar("_Value")


class MakingTurns:
    """For one thread at a time. One maker is for accounts that are known to be quick; one that is
    slow all the same keeps it for one socket.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._quick: OrderedDict[str, None] = OrderedDict()
        self._slow_until: OrderedDict[str, float] = OrderedDict()
        self._making: set[str] = set()

    def __bool__(self) -> bool:
        """Whether any are being made."""
        return bool(self._making)

    def may_begin(self, account_id: str) -> bool:
        """Whether there is a maker for an account."""
        if account_id in self._making:
            return False
        others = sum(one not in self._quick for one in self._making)
        return account_id in self._quick or others < MAKERS - 1

    def begin(self, account_id: str) -> None:
        """Its turn has come."""
        self._making.add(account_id)

    def end(self, account_id: str, longest: float) -> None:
        """It is over; the rules of one of its sockets took so long."""
        self._making.discard(account_id)
        now = self._seconds()
        if longest > SLOW_SECONDS:
            _keep(self._slow_until, account_id, now + SLOW_FOR_SECONDS)
        if longest > TURN_SECONDS or self._slow_until.get(account_id, 0.0) > now:
            self._quick.pop(account_id, None)
        else:
            _keep(self._quick, account_id, None)


def _keep(known: OrderedDict[str, _Value], key: str, value: _Value) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > _ACCOUNTS_KNOWN:
        known.popitem(last=False)
