"""Refused clients in the log: enough to see what happens, never as many lines as they can make."""

import logging
from datetime import datetime, timedelta

from proxy.clock import Clock

MOST_LINES = 20
PERIOD = timedelta(minutes=1)


class RefusalLog:
    """At most ``MOST_LINES`` lines in a ``PERIOD``; those left out are counted in the next one."""

    def __init__(self, logger: logging.Logger, clock: Clock) -> None:
        self._logger = logger
        self._clock = clock
        self._period_ends: datetime | None = None
        self._written = 0
        self._left_out = 0

    def write(self, message: str, *values: object) -> None:
        """As ``Logger.info``, if there is room for it."""
        now = self._clock()
        if self._period_ends is None or now >= self._period_ends:
            if self._left_out:
                self._logger.info("%d more refusals are not listed here", self._left_out)
            self._period_ends = now + PERIOD
            self._written = self._left_out = 0
        if self._written >= MOST_LINES:
            self._left_out += 1
            return
        self._written += 1
        self._logger.info(message, *values)
