"""Windows of the week: midnight, zones, and the nights when clocks change."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import windows
from policy.types import Weekday, When
from policy.windows import FOREVER, Window, moment, zone_named
from tests.support.policies import CLOCKS, NEAR_MOMENTS, RELAXED, WHENS, ZONES

AMSTERDAM = "Europe/Amsterdam"


def window(
    starts: str = "", ends: str = "", days: str = "", zone: str = AMSTERDAM, **span: datetime
) -> Window:
    made = Window.of(
        When(
            day_starts=time.fromisoformat(starts) if starts else None,
            day_ends=time.fromisoformat(ends) if ends else None,
            weekdays=frozenset(Weekday[day] for day in days.split()),
            zone=zone,
            **span,
        )
    )
    assert made is not None
    return made


def local(text: str, zone: str = AMSTERDAM, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


NIGHT = window("22:00", "06:00", "FRIDAY")


@pytest.mark.parametrize(
    ("asked", "at", "until"),
    [
        (window("09:00", "17:00"), "2026-11-23T08:59:59", None),
        (window("09:00", "17:00"), "2026-11-23T09:00", "2026-11-23T17:00"),
        (window("09:00", "17:00"), "2026-11-23T17:00", None),
        (window("09:00"), "2026-11-23T12:00", "2026-11-24T00:00"),
        (window("", "17:00"), "2026-11-23T00:00", "2026-11-23T17:00"),
        (window("09:00", "00:00"), "2026-11-23T23:59", "2026-11-24T00:00"),
        (window("", "", "MONDAY"), "2026-11-23T12:00", "2026-11-24T00:00"),
        (window("", "", "MONDAY TUESDAY"), "2026-11-23T12:00", "2026-11-25T00:00"),
        (window("", "", "SUNDAY MONDAY"), "2026-11-22T12:00", "2026-11-24T00:00"),
        (window("", "", "TUESDAY"), "2026-11-23T12:00", None),
        (NIGHT, "2026-11-27T23:00", "2026-11-28T06:00"),
        (NIGHT, "2026-11-28T05:59", "2026-11-28T06:00"),
        (NIGHT, "2026-11-27T05:59", None),
        (NIGHT, "2026-11-28T23:00", None),
        # Clocks go from 02:00 to 03:00 on 2026-03-29 and from 03:00 to 02:00 on 2026-10-25.
        (window("02:30", "05:00"), "2026-03-29T03:00", "2026-03-29T05:00"),
        (window("02:30", "05:00"), "2026-03-29T01:59:59", None),
        (window("01:00", "02:30"), "2026-03-29T01:30", "2026-03-29T03:00"),
        (window("02:10", "02:50"), "2026-03-29T03:00", None),
        (window("02:15", "02:45"), "2026-10-25T02:20", "2026-10-25T02:45"),
        (window("02:15", "04:00"), "2026-10-25T02:20", "2026-10-25T04:00"),
        (window("03:00", "02:00"), "2026-03-28T22:00", "2026-03-30T02:00"),
    ],
)
def test_a_window_is_open_until_its_end(asked: Window, at: str, until: str | None) -> None:
    assert asked.until(local(at)) == (until and local(until))


def test_a_time_that_clocks_show_twice_counts_the_first_time() -> None:
    short = window("02:15", "02:45")
    assert short.until(local("2026-10-25T02:20", fold=1)) is None
    long = window("02:15", "04:00")
    assert long.until(local("2026-10-25T02:05", fold=1)) == local("2026-10-25T04:00")


def test_clocks_put_back_over_midnight_show_the_day_before_once_more() -> None:
    sunday = window("", "", "SUNDAY", "America/Goose_Bay")
    again = datetime(2010, 11, 7, 3, 30, tzinfo=UTC)
    assert again.astimezone(ZoneInfo("America/Goose_Bay")).strftime("%A %H:%M") == "Saturday 23:30"
    assert sunday.until(again) == datetime(2010, 11, 8, 4, tzinfo=UTC)


def test_a_day_that_the_calendar_skipped_has_no_window() -> None:
    friday = window("", "", "FRIDAY", "Pacific/Apia")
    thursday_evening = local("2011-12-29T20:00", "Pacific/Apia")
    assert friday.opens(thursday_evening) == local("2012-01-06T00:00", "Pacific/Apia")
    most = window("", "", "THURSDAY SATURDAY", "Pacific/Apia")
    assert most.until(thursday_evening) == local("2012-01-01T00:00", "Pacific/Apia")


def test_a_change_of_half_an_hour_is_found_to_the_second() -> None:
    half = window("02:10", "05:00", "", "Australia/Lord_Howe")
    start = half.opens(local("2026-10-04T01:00", "Australia/Lord_Howe"))
    assert start == datetime(2026, 10, 3, 15, 30, tzinfo=UTC)


def test_the_next_window_begins_when_it_says() -> None:
    assert NIGHT.opens(local("2026-11-23T12:00")) == local("2026-11-27T22:00")
    assert NIGHT.opens(local("2026-11-27T23:00")) == local("2026-11-27T23:00")
    spring = window("02:30", "05:00")
    assert spring.opens(local("2026-03-29T00:00")) == local("2026-03-29T03:00")


def test_a_span_begins_with_its_first_moment_and_ends_before_its_last() -> None:
    first, last = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    span = window(after=first, before=last)
    tick = timedelta(microseconds=1)
    assert span.until(first - tick) is None
    assert span.opens(first - tick) == first
    assert span.until(first) == last
    assert span.until(last) is None
    assert span.opens(last) is None
    assert window(after=first).until(last) == FOREVER


NO_ZONES = [
    *("", "CET", "localtime", "Europe", "Europe/", "../etc/passwd", "right/UTC"),
    *("posix/Europe/Paris", "Nowhere/Land", "a/\0", "é/é"),
]


@pytest.mark.parametrize("name", NO_ZONES)
def test_what_is_no_zone_everywhere_is_none_here(name: str) -> None:
    assert zone_named(name) is None
    unreadable = window("09:00", "17:00", zone=name)
    assert not unreadable.readable
    assert unreadable.until(datetime(2026, 1, 1, 12, tzinfo=UTC)) is None


def test_a_window_that_ends_as_it_starts_says_nothing() -> None:
    assert not window("09:00", "09:00").readable


def test_no_condition_is_no_window() -> None:
    assert Window.of(When()) is None
    assert Window.of(When(weekdays=frozenset(Weekday), zone=AMSTERDAM)) is None
    assert Window.of(When(day_ends=time(0))) is None


@RELAXED
@given(WHENS, NEAR_MOMENTS | st.datetimes(timezones=st.just(UTC)))
def test_until_and_opens_agree(when: When, at: datetime) -> None:
    made = Window.of(when)
    if made is None:
        return
    until, opens = made.until(at), made.opens(at)
    assert (opens == at) == (until is not None)
    if until is not None:
        assert until > at
        assert made.until(until - timedelta(microseconds=1)) == until
        assert until == FOREVER or made.until(until) is None
    elif opens is not None:
        assert opens > at
        assert made.until(opens) is not None
        assert made.until(opens - timedelta(microseconds=1)) is None


@RELAXED
@given(CLOCKS, CLOCKS, st.sampled_from(ZONES), NEAR_MOMENTS)
def test_two_windows_that_make_up_a_day_never_overlap_and_leave_no_gap(
    first: time, second: time, zone: str, at: datetime
) -> None:
    if first == second:
        return
    halves = [
        Window.of(When(day_starts=start, day_ends=end, zone=zone))
        for start, end in pairwise([first, second, first])
    ]
    assert sum(half is not None and half.until(at) is not None for half in halves) == 1


@RELAXED
@given(CLOCKS, CLOCKS, st.sampled_from(ZONES), NEAR_MOMENTS)
def test_on_other_nights_a_window_is_what_clocks_show(
    starts: time, ends: time, zone: str, at: datetime
) -> None:
    clocks = at.astimezone(ZoneInfo(zone))
    offsets = {
        (at + timedelta(hours=hours)).astimezone(ZoneInfo(zone)).utcoffset() for hours in (-30, 30)
    }
    if starts == ends or len(offsets) > 1:
        return
    made = Window.of(When(day_starts=starts, day_ends=ends, zone=zone))
    now = clocks.time()
    shown = starts <= now < ends if starts < ends else now >= starts or now < ends
    assert made is None or (made.until(at) is not None) == shown


@RELAXED
@given(WHENS, st.lists(NEAR_MOMENTS, min_size=2, max_size=12))
def test_what_a_window_remembers_changes_no_answer(when: When, moments: list[datetime]) -> None:
    used = Window.of(when)
    if used is None:
        return
    for at in moments:
        for near in (at, at + timedelta(minutes=20), used.opens(at) or at):
            fresh = Window.of(when)
            assert fresh is not None
            assert (used.opens(near), used.until(near)) == (fresh.opens(near), fresh.until(near))


def test_a_closed_window_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that is closed is asked at every decision, and there may be thousands."""
    looks: list[str] = []

    def counted(*place: Any) -> datetime:
        looks.append("look")
        return moment(*place)

    monkeypatch.setattr(windows, "moment", counted)
    at = local("2026-11-23T12:00")
    made = Window.of(When(day_starts=time(18), zone=AMSTERDAM))
    assert made is not None
    assert made.opens(at) == local("2026-11-23T18:00")
    assert looks
    looks.clear()
    for minutes in range(60):
        later = at + timedelta(minutes=minutes)
        assert made.until(later) is None
        assert made.opens(later) == local("2026-11-23T18:00")
    assert looks == []
