"""How long to wait before trying again.

Ten lines instead of a library: the loops that use it never give up and are not calls to be
repeated, which is what the retry libraries are made for.
"""

from random import SystemRandom

_RANDOM = SystemRandom()


class Backoff:
    """A random time below a bound that doubles, so that many edges do not march in step."""

    def __init__(self, first: float = 0.2, last: float = 5.0) -> None:
        """``first`` and ``last`` bound the waiting time, in seconds."""
        self._first = first
        self._last = last
        self._bound = first

    def reset(self) -> None:
        """Something worked; the next wait is short again."""
        self._bound = self._first

    def next(self) -> float:
        """Seconds to wait now."""
        bound, self._bound = self._bound, min(self._bound * 2, self._last)
        return _RANDOM.uniform(bound / 4, bound)
