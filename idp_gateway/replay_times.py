"""Which moments are alike to a set of policies: at those the same windows are open.

Of the time a decision looks at nothing else than which windows are open and how old the login is.
So what was decided at one moment holds at all that are alike, in other weeks and on other sockets.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from policy.policy_set import PolicySet
from policy.types import When
from policy.windows import EVER, FOREVER, Window

MAX_SPANS = 50_000
"""Spans that are remembered; the windows of ten policies make some 600 a month."""
_NEVER = When(before=EVER)


class _Stay(NamedTuple):
    """A window does not open or close from ``start`` until ``end``."""

    start: datetime
    end: datetime
    open: bool


class Times:
    """Immutable but for what it remembers of its own results."""

    def __init__(self, policies: PolicySet) -> None:
        whens = {policy.when for policy in policies.policies}
        whens |= {rule.when for policy in policies.policies for rule in policy.denies if rule.when}
        made = [(when, Window.of(when)) for when in whens]
        self._windows = [window for _, window in made if window is not None]
        timed = [when for when, window in made if window is not None]
        self._numbers = {when: number for number, when in enumerate(timed)}
        lengths = {policy.max_session for policy in policies.policies}
        self._lengths: Sequence[timedelta] = sorted(one for one in lengths if one is not None)
        self._stays: list[_Stay | None] = [None] * len(self._windows)
        self._starts: list[datetime] = []
        self._spans: list[tuple[datetime, int]] = []
        """The end of each span, and which windows are open in it, as bits."""
        self._start, self._end, self._open = FOREVER, FOREVER, 0

    @property
    def matter(self) -> bool:
        """Whether the time can matter to a decision, or how long ago somebody logged in."""
        return bool(self._windows or self._lengths)

    @property
    def logins_matter(self) -> bool:
        """Whether it matters how long ago somebody logged in."""
        return bool(self._lengths)

    def kind(self, at: datetime, age: timedelta | None) -> tuple[int, int]:
        """The same for moments that are alike. ``age`` is the time since the login, ``None`` if it
        is not known or does not matter.
        """
        if not self._start <= at < self._end:
            self._move(at)
        return self._open, -1 if age is None else bisect_right(self._lengths, age)

    def stopped(self, policies: PolicySet, opened: int) -> PolicySet:
        """Policies that decide at any moment as these do when just those windows are open. Asking
        them is quicker, as no clock is looked at; making them takes as long as making these did.
        """
        return PolicySet.build(
            (
                replace(
                    policy,
                    when=When() if self._is_open(policy.when, opened) else _NEVER,
                    denies=tuple(
                        replace(rule, when=None)
                        for rule in policy.denies
                        if rule.when is None or self._denies(rule.when, opened)
                    ),
                )
                for policy in policies.policies
            ),
            policies.prefix_lists,
        )

    def _is_open(self, when: When, opened: int) -> bool:
        number = self._numbers.get(when)
        return number is None or bool(opened >> number & 1)

    def _denies(self, when: When, opened: int) -> bool:
        """A deny rule whose times make no sense holds always."""
        number = self._numbers.get(when)
        readable = number is None or self._windows[number].readable
        return not readable or self._is_open(when, opened)

    def _move(self, at: datetime) -> None:
        place = bisect_right(self._starts, at) - 1
        if place < 0 or at >= self._spans[place][0]:
            place = self._add(at, place + 1)
        self._start = self._starts[place]
        self._end, self._open = self._spans[place]

    def _add(self, at: datetime, place: int) -> int:
        """Where the span is now that begins at ``at`` or earlier."""
        if len(self._starts) >= MAX_SPANS:
            self._starts.clear()
            self._spans.clear()
            place = 0
        end, opened = FOREVER, 0
        for number, window in enumerate(self._windows):
            stay = self._stays[number]
            if stay is None or not stay.start <= at < stay.end:
                stay = self._stays[number] = _stay(window, at)
            end = min(end, stay.end)
            opened |= stay.open << number
        if place < len(self._starts) and self._spans[place] == (end, opened):
            self._starts[place] = at  # the same one, known from a later moment on
        else:
            self._starts.insert(place, at)
            self._spans.insert(place, (end, opened))
        return place


def _stay(window: Window, at: datetime) -> _Stay:
    closes = window.until(at)
    if closes is not None:
        return _Stay(at, closes, open=True)
    opens = window.opens(at)
    return _Stay(at, FOREVER if opens is None else opens, open=False)
