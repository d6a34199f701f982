"""How many of something within a while."""

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp_gateway import paces
from idp_gateway.errors import TooManyCertificates
from idp_gateway.paces import CertificatePace, Pace
from tests.support import rows

WINDOW = timedelta(minutes=10)
SECONDS = WINDOW.total_seconds()


class Stopwatch:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.at = 100 * SECONDS

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


def test_what_is_too_much_waits_for_the_window_and_others_do_not(watch: Stopwatch) -> None:
    pace = Pace(3, WINDOW, monotonic=watch)
    for _ in range(3):
        pace.take("a")
    with pytest.raises(TooManyCertificates) as refused:
        pace.take("a")
    assert refused.value.retry_after == 600
    pace.take("b")
    watch.at += 2 * SECONDS
    pace.take("a")


@given(st.lists(st.integers(0, 1500), max_size=80))
def test_no_time_has_more_than_twice_what_it_may(pauses: list[int]) -> None:
    """The older window is weighed, not counted: at once there are never more than it may have."""
    watch = Stopwatch()
    pace, taken = Pace(10, WINDOW, monotonic=watch), []
    for pause in pauses:
        watch.at += pause / 10
        try:
            pace.take("a")
        except TooManyCertificates:
            continue
        taken.append(watch.at)
    for moment in taken:
        assert sum(moment - SECONDS < one <= moment for one in taken) <= 20
        assert sum(moment - SECONDS / 20 < one <= moment for one in taken) <= 11


def test_around_the_turn_of_a_window_nobody_gets_more(watch: Stopwatch) -> None:
    pace = Pace(10, WINDOW, monotonic=watch)
    watch.at += SECONDS - 1
    for _ in range(10):
        pace.take("a")
    watch.at += 1
    with pytest.raises(TooManyCertificates):
        pace.take("a")


def test_what_is_remembered_is_bounded(watch: Stopwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paces, "MAX_REMEMBERED", 2)
    pace = Pace(1, WINDOW, monotonic=watch)
    for key in "abc":
        pace.take(key)
    assert len(pace._counts) == 2
    with pytest.raises(TooManyCertificates):
        pace.take("c")


def test_one_person_does_not_use_up_what_an_account_has_for_all(watch: Stopwatch) -> None:
    """However many of its sockets are asked for."""
    pace = CertificatePace(2, for_socket=3, for_account=12, monotonic=watch)
    owner = rows.account()
    sockets = [rows.socket(owner, socket_id=f"s-{number}") for number in range(10)]
    given = 0
    for socket in sockets:
        for _ in range(2):
            with contextlib.suppress(TooManyCertificates):
                pace.take(socket, "mallory@example.com")
                given += 1
    assert given == 6
    pace.take(sockets[0], "alice@example.com")
