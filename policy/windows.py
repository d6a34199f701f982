"""When something holds: a span of dates and a window that comes back every week in an IANA zone.

A window opens on each of its weekdays when the clocks of its zone first show its start, and closes
when they first show its end: on the same day, or on the next if the end is not later than the
start. No start means midnight, no end the midnight after. Where clocks are put forward over a start
or an end, it is the moment of the change; where they are put back and show a time twice, the first
one counts. So two windows of which one ends when the other starts never overlap and leave no gap.

Local times cannot be told in the year 1 and from 9999 on: weekly windows are closed then.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Self
from zoneinfo import ZoneInfo

from policy.types import When

EVER = datetime.min.replace(tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)
"""The end of what has none."""
_FIRST = datetime(2, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)
_MIDNIGHT = time(0)
_DAY = timedelta(days=1)
_MOST_ADJOINING = 32
"""Days that may follow one another without a break: six of a week, and some the calendar skips."""
_SEARCHED_DAYS = 24
"""A window of one weekday comes back within this, also where clocks skipped one such day."""


def zone_named(name: str) -> tzinfo | None:
    """The zone of this IANA name, or ``None``. ``UTC`` and ``Area/Location`` only: what ``CET`` or
    ``localtime`` mean differs between machines.
    """
    if name == "UTC":
        return UTC
    if "/" not in name or name.startswith(("right/", "posix/")):
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None


def in_utc(moment: datetime) -> datetime:
    """``moment`` as UTC; one without a zone is taken to be that already. Never raises."""
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return EVER if moment.year < 5000 else FOREVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """``When``, made ready to be asked. All moments are UTC."""

    after: datetime | None
    before: datetime | None
    starts: time
    ends: time | None
    weekdays: frozenset[int]
    zone: tzinfo | None
    """``None`` if nothing depends on it."""
    readable: bool
    """Whether it says anything that can be decided on: not so with an unknown zone, or an end that
    equals its start."""
    _seen: list[tuple[datetime, datetime]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )
    """From when to when a window was last found open: most decisions ask within the same one."""
    _shut: list[tuple[datetime, datetime]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )
    """From when to when none was last found open, ``after`` and ``before`` left aside."""

    @classmethod
    def of(cls, when: When) -> Self | None:
        """The window, or ``None`` if ``when`` leaves all times open."""
        starts = _naive(when.day_starts) or _MIDNIGHT
        ends = _naive(when.day_ends)
        odd = ends is not None and ends == _naive(when.day_starts)
        ends = None if ends == _MIDNIGHT else ends
        whole_days = starts == _MIDNIGHT and ends is None
        weekdays = frozenset(map(int, when.weekdays)) or frozenset(range(7))
        weekly = not whole_days or len(weekdays) < 7
        if not (weekly or odd or when.after or when.before):
            return None
        zone = zone_named(when.zone) if weekly else None
        return cls(
            after=in_utc(when.after) if when.after else None,
            before=in_utc(when.before) if when.before else None,
            starts=starts,
            ends=ends,
            weekdays=weekdays,
            zone=zone,
            readable=not odd and (zone is not None or not weekly),
        )

    def until(self, at: datetime) -> datetime | None:
        """When the window that is open at ``at`` closes, ``FOREVER`` if never; ``None`` if none is
        open. It is closed at the moment returned.
        """
        if not self.readable or (self.after is not None and at < self.after):
            return None
        end = FOREVER if self.before is None else self.before
        if self.before is not None and at >= self.before:
            return None
        if self.zone is None:
            return end
        weekly = self._week_until(at, self.zone)
        return None if weekly is None else min(end, weekly)

    def opens(self, at: datetime) -> datetime | None:
        """The first moment from ``at`` on at which a window is open; ``None`` if there is none."""
        if not self.readable:
            return None
        start = at if self.after is None else max(at, self.after)
        if self.zone is not None:
            found = self._week_opens(start, self.zone)
            if found is None:
                return None
            start = found
        return start if self.before is None or start < self.before else None

    def _week_opens(self, at: datetime, zone: tzinfo) -> datetime | None:
        end = _end_within(self._shut, at)
        if end is not None:
            return end
        if self._week_until(at, zone) is not None:
            return at
        found = self._next_start(at, zone)
        if found is not None:
            self._shut[:] = [(at, found)]
        return found

    def _week_until(self, at: datetime, zone: tzinfo) -> datetime | None:
        end = _end_within(self._seen, at)
        if end is not None:
            return end
        if _end_within(self._shut, at) is not None:
            return None
        found = self._search(at, zone)
        if found is not None:
            self._seen[:] = [(at, found)]
        return found

    def _search(self, at: datetime, zone: tzinfo) -> datetime | None:
        end = self._day_until(at, zone)
        for _ in range(_MOST_ADJOINING):
            further = None if end is None else self._day_until(end, zone)
            if further is None:
                break
            end = further
        return end

    def _day_until(self, at: datetime, zone: tzinfo) -> datetime | None:
        """The end of the latest day's window that is open at ``at``."""
        if not _FIRST <= at < _LAST:
            return None
        today = at.astimezone(zone).date()
        # The day after counts too: clocks put back over midnight show yesterday once more.
        for day in (today + _DAY, today, today - _DAY):
            if day.weekday() in self.weekdays and moment(day, self.starts, zone) <= at:
                end = self._end(day, zone)
                if at < end:
                    return min(end, _LAST)
        return None

    def _end(self, day: date, zone: tzinfo) -> datetime:
        if self.ends is None:
            return moment(day + _DAY, _MIDNIGHT, zone)
        return moment(day if self.ends > self.starts else day + _DAY, self.ends, zone)

    def _next_start(self, at: datetime, zone: tzinfo) -> datetime | None:
        if at >= _LAST:
            return None
        today = max(at, _FIRST).astimezone(zone).date()
        for ahead in range(_SEARCHED_DAYS):
            day = today + ahead * _DAY
            if day.weekday() in self.weekdays:
                start = max(moment(day, self.starts, zone), _FIRST)
                if at <= start < min(self._end(day, zone), _LAST):
                    return start
        return None


def _end_within(spans: list[tuple[datetime, datetime]], at: datetime) -> datetime | None:
    """The end of that of ``spans`` in which ``at`` is."""
    return next((end for start, end in spans if start <= at < end), None)


def _naive(clock: time | None) -> time | None:
    return None if clock is None else clock.replace(tzinfo=None, fold=0)


def moment(day: date, clock: time, zone: tzinfo) -> datetime:
    """When the clocks of ``zone`` first show ``clock`` on ``day``, or are put past it."""
    wall = datetime.combine(day, clock, tzinfo=zone)
    moment = wall.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return moment
    return _change(wall, zone)


def _change(wall: datetime, zone: tzinfo) -> datetime:
    """When clocks were put past ``wall``, which they never show; to the second."""
    later = wall.replace(fold=1).astimezone(UTC).replace(microsecond=0)
    seconds = int((wall.astimezone(UTC) - later).total_seconds()) + 1
    old = later.astimezone(zone).utcoffset()
    low, high = 0, seconds
    while high - low > 1:
        middle = (low + high) // 2
        if (later + timedelta(seconds=middle)).astimezone(zone).utcoffset() == old:
            low = middle
        else:
            high = middle
    return later + timedelta(seconds=high)
