"""Whose address rules are made next, and how many at once: what takes long waits for itself."""

from collections import OrderedDict

MAKERS = 3
SOCKETS_A_TURN = 20
"""At most, where each takes little."""
SLOW_SECONDS = 0.5
"""A socket whose rules take longer makes its account a slow one."""
_QUICK_SECONDS = 0.1
"""A turn that took less may be longer the next time."""
_ACCOUNTS_KNOWN = 10_000


class MakingTurns:
    """For one thread at a time. An account begins with one socket a turn, and has as many as take
    no time; those that are slow leave one maker to the others.
    """

    def __init__(self) -> None:
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._slow: OrderedDict[str, None] = OrderedDict()
        self._making: set[str] = set()

    def __bool__(self) -> bool:
        """Whether any are being made."""
        return bool(self._making)

    def size(self, account_id: str) -> int:
        """How many sockets of an account are made in its next turn."""
        return self._sizes.get(account_id, 1)

    def may_begin(self, account_id: str) -> bool:
        """Whether there is a maker for an account."""
        if account_id in self._making:
            return False
        slow = sum(one in self._slow for one in self._making)
        return account_id not in self._slow or slow < MAKERS - 1

    def begin(self, account_id: str) -> None:
        """Its turn has come."""
        self._making.add(account_id)

    def end(self, account_id: str, sockets: int, seconds: float) -> None:
        """It is over; the rules of so many sockets took so long."""
        self._making.discard(account_id)
        size = self.size(account_id)
        self._sizes[account_id] = min(2 * size, SOCKETS_A_TURN) if seconds < _QUICK_SECONDS else 1
        self._sizes.move_to_end(account_id)
        self._slow.pop(account_id, None)
        if seconds > SLOW_SECONDS * sockets:
            self._slow[account_id] = None
        for known in (self._sizes, self._slow):
            if len(known) > _ACCOUNTS_KNOWN:
                known.popitem(last=False)
