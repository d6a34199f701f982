"""Each account has one turn at a time, and few that wait."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from idp_gateway import account_turns
from idp_gateway.account_turns import AccountTurns
from idp_gateway.errors import TooManyAttempts
from tests.support.processes import eventually


def test_one_at_a_time_and_the_others_wait() -> None:
    turns, running, most = AccountTurns(), [], []

    def work() -> None:
        with turns.turn("a"):
            running.append(1)
            most.append(len(running))
            time.sleep(0.01)  # long enough for another to come in, if it could
            running.pop()

    with ThreadPoolExecutor(account_turns.MOST_AT_ONCE) as threads:
        for done in [threads.submit(work) for _ in range(12)]:
            done.result()
    assert most == [1] * 12
    assert not turns._queues


def test_more_than_may_wait_are_sent_away_and_other_accounts_are_not() -> None:
    turns, end = AccountTurns(), threading.Event()

    def work() -> None:
        with turns.turn("a"):
            end.wait(timeout=30)

    with ThreadPoolExecutor(account_turns.MOST_AT_ONCE) as threads:
        waiting = [threads.submit(work) for _ in range(account_turns.MOST_AT_ONCE)]
        eventually(
            lambda: "a" in turns._queues and turns._queues["a"].length == len(waiting),
            what="all who may wait",
        )
        with pytest.raises(TooManyAttempts), turns.turn("a"):
            pass
        with turns.turn("b"):
            pass
        end.set()
    with turns.turn("a"):
        pass


def test_a_turn_that_fails_is_over() -> None:
    turns = AccountTurns()
    for _ in range(2 * account_turns.MOST_AT_ONCE):
        with pytest.raises(ZeroDivisionError), turns.turn("a"):
            raise ZeroDivisionError
    assert not turns._queues


def test_of_all_accounts_together_few_wait() -> None:
    """Whoever waits has one of the threads all share; who has one wish at a time never does."""
    turns = AccountTurns()
    joined = []
    for at in range(account_turns.MOST_WAITING):
        joined.append((f"a{at}", turns._join(f"a{at}")))
        joined.append((f"a{at}", turns._join(f"a{at}")))
    with pytest.raises(TooManyAttempts):
        turns._join("a0")
    with turns.turn("b"), pytest.raises(TooManyAttempts), turns.turn("b"):
        pass
    for name, queue in joined:
        turns._leave(name, queue)
    assert (turns._waiting.total(), turns._queues) == (0, {})
    with turns.turn("b"):
        pass


def test_waiting_changes_take_no_room_from_revocations() -> None:
    turns = AccountTurns()
    for at in range(account_turns.MOST_WAITING):
        turns._join(f"a{at}")
        turns._join(f"a{at}")
    one = turns._join("revoking:b")
    two = turns._join("revoking:b")
    assert one is two
    with pytest.raises(TooManyAttempts):
        turns._join("a0")
