"""How many of something within a while."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp_gateway import paces
from idp_gateway.errors import TooManyCertificates
from idp_gateway.paces import CertificatePace, Pace
from tests.support import rows

START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(minutes=10)


def test_what_is_too_much_waits_for_the_window_and_others_do_not() -> None:
    pace = Pace(3, WINDOW)
    for _ in range(3):
        pace.take("a", START)
    with pytest.raises(TooManyCertificates) as refused:
        pace.take("a", START)
    assert refused.value.retry_after == 600
    pace.take("b", START)
    pace.take("a", START + 2 * WINDOW)


@given(st.lists(st.integers(0, 1500), max_size=80))
def test_no_time_has_more_than_twice_what_it_may(pauses: list[int]) -> None:
    """The older window is weighed, not counted: at once there are never more than it may have."""
    pace, now, taken = Pace(10, WINDOW), START, []
    for pause in pauses:
        now += timedelta(seconds=pause / 10)
        try:
            pace.take("a", now)
        except TooManyCertificates:
            continue
        taken.append(now)
    for moment in taken:
        assert sum(moment - WINDOW < one <= moment for one in taken) <= 20
        assert sum(moment - WINDOW / 20 < one <= moment for one in taken) <= 11


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paces, "MAX_REMEMBERED", 2)
    pace = Pace(1, WINDOW)
    for key in "abc":
        pace.take(key, START)
    assert len(pace._counts) == 2
    with pytest.raises(TooManyCertificates):
        pace.take("c", START)


def test_a_clock_that_goes_back_and_a_thread_that_comes_late_give_nothing_more() -> None:
    pace = Pace(10, WINDOW)
    turn = START + WINDOW
    for _ in range(10):
        pace.take("a", turn - timedelta(seconds=1))
    taken = 0
    for _ in range(50):
        for moment in (turn - timedelta(seconds=0.1), turn, turn - 3 * WINDOW):
            with contextlib.suppress(TooManyCertificates):
                pace.take("a", moment)
                taken += 1
    assert taken == 0


def test_what_is_counted_while_a_clock_is_behind_counts_when_it_is_right() -> None:
    pace = Pace(3, WINDOW)
    pace.take("a", START)
    for _ in range(2):
        pace.take("a", START - timedelta(seconds=30))
    with pytest.raises(TooManyCertificates) as refused:
        pace.take("a", START - timedelta(seconds=30))
    assert refused.value.retry_after == 630
    with pytest.raises(TooManyCertificates):
        pace.take("a", START)


def test_one_person_does_not_use_up_what_an_account_has_for_all() -> None:
    """However many of its sockets are asked for."""
    pace = CertificatePace(2, for_socket=3, for_account=12)
    owner = rows.account()
    sockets = [rows.socket(owner, socket_id=f"s-{number}") for number in range(10)]
    given = 0
    for socket in sockets:
        for _ in range(2):
            with contextlib.suppress(TooManyCertificates):
                pace.take(socket, "mallory@example.com", START)
                given += 1
    assert given == 6
    pace.take(sockets[0], "alice@example.com", START)
