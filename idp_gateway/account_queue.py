"""What waits, account by account: whoever has much waiting keeps nobody from their turn."""

from collections import OrderedDict
from collections.abc import Callable


class AccountQueue:
    """Ids by account; each once, in the order they came. Accounts take turns."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, dict[str, None]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, account_id: str, one: str) -> None:
        """Let one wait, if it does not already."""
        self._waiting.setdefault(account_id, {})[one] = None

    def drop(self, account_id: str, one: str) -> None:
        """Let one wait no longer."""
        waiting = self._waiting.get(account_id, {})
        waiting.pop(one, None)
        if not waiting:
            self._waiting.pop(account_id, None)

    def take(self, most: int = 1, *, may: Callable[[str], bool] = lambda _: True) -> list[str]:
        """The first so many of the account whose turn it is, of those that ``may`` have one; none
        if there is none. The account comes last then.
        """
        account_id = next(filter(may, self._waiting), None)
        if account_id is None:
            return []
        waiting = self._waiting.pop(account_id)
        taken = list(waiting)[:most]
        for one in taken:
            del waiting[one]
        if waiting:
            self._waiting[account_id] = waiting
        return taken
