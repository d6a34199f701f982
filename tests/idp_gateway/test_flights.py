"""What several threads want at a time is made once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from idp_gateway.flights import Flights


def test_who_comes_later_waits_and_has_the_same() -> None:
    flights, made, begun = Flights[object](), list[str](), threading.Event()

    def slowly() -> object:
        made.append("")
        begun.set()
        time.sleep(0.05)
        return object()

    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(flights.once, "a", slowly)
        assert begun.wait(timeout=30)
        later = [threads.submit(flights.once, "a", slowly) for _ in range(3)]
        assert {id(one.result()) for one in later} == {id(first.result())}
    assert len(made) == 1
    assert flights.once("a", slowly) is not first.result()


def test_other_things_are_made_meanwhile() -> None:
    flights = Flights[str]()
    assert flights.once("a", lambda: flights.once("b", lambda: "made")) == "made"


def test_who_waits_hears_that_it_cannot_be_made_and_the_next_tries_again() -> None:
    flights, begun, fail = Flights[str](), threading.Event(), threading.Event()

    def failing() -> str:
        begun.set()
        fail.wait(timeout=30)
        raise LookupError

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(flights.once, "a", failing)
        assert begun.wait(timeout=30)
        second = threads.submit(flights.once, "a", failing)
        time.sleep(0.02)
        fail.set()
        for one in (first, second):
            with pytest.raises(LookupError):
                one.result()
    assert flights.once("a", lambda: "made") == "made"
