"""How many of something one socket may be given within a while, counted in this process."""

import threading
from collections import OrderedDict
from datetime import datetime, timedelta

from idp_gateway.errors import TooManyCertificates

MAX_REMEMBERED = 65_536
"""Keys counted at a time; the one longest unused is forgotten first."""


class Pace:
    """About ``most`` for one key in a window; safe in any thread, of a bounded size.

    Windows begin at fixed times; the one before weighs what is left of it, so that around the turn
    nobody gets twice as many at once. Over a whole window it may come to that.
    """

    def __init__(self, most: int, window: timedelta) -> None:
        self._most = most
        self._window = window
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        """Number of the window, count in it, count in the one before."""

    def take(self, key: str, now: datetime) -> None:
        """Count one more.

        Raises:
            TooManyCertificates: that would be too many; nothing was counted.
        """
        number, into = divmod(now.timestamp(), self._window.total_seconds())
        share_left = 1 - into / self._window.total_seconds()
        with self._lock:
            window, count, before = self._counts.get(key, (int(number), 0, 0))
            if window != int(number):
                count, before = 0, count if window == int(number) - 1 else 0
            if count + before * share_left >= self._most:
                raise TooManyCertificates(
                    "too many certificates were issued for this socket; try again later",
                    retry_after=max(1, int(self._window.total_seconds() - into)),
                )
            self._counts[key] = (int(number), count + 1, before)
            self._counts.move_to_end(key)
            while len(self._counts) > MAX_REMEMBERED:
                self._counts.popitem(last=False)
