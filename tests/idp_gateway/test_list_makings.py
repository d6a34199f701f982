"""Who waits for a public list: each has one that was made after they asked, and soon."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import replace
from threading import Semaphore
from typing import Any

import pytest
from anyio import CapacityLimiter

from idp_gateway.capacity import MOST_OF_ONE, AskedList, Capacity, Making, list_in_thread
from idp_gateway.errors import ListsBusy
from tests.idp_gateway.test_capacity import until

MANY = 30
PATIENCE_SECONDS = 60


class Looked(dict[Hashable, Making]):
    """Counts who has looked for a making, and so settled which one they wait for."""

    settled = 0

    def get(self, *given: Any) -> Any:
        self.settled += 1
        return super().get(*given)


class Lists:
    """A list that is never right for long: something came that bears on it, whenever one looks."""

    def __init__(self, name: Hashable = "a", whose: Hashable = None) -> None:
        self.begun: list[int] = []
        self.go_on = Semaphore(0)
        self.asked = AskedList(name=name, whose=whose or name, look=lambda: None, make=self._make)

    def _make(self) -> bytes:
        number = len(self.begun) + 1
        self.begun.append(number)
        assert self.go_on.acquire(timeout=PATIENCE_SECONDS)
        return b"%d" % number

    def end(self, makings: int = 1) -> None:
        self.go_on.release(makings)


def capacity_of(threads: int = 2) -> tuple[Capacity, Looked]:
    looked = Looked()
    return Capacity(made_lists=CapacityLimiter(threads), making=looked), looked


def ask(capacity: Capacity, lists: Lists, times: int = 1) -> list[asyncio.Task[bytes]]:
    asked: Callable[[], AskedList] = lambda: lists.asked  # noqa: E731
    return [asyncio.create_task(list_in_thread(capacity, asked)) for _ in range(times)]


async def test_nobody_waits_for_more_than_two_makings_however_much_comes_meanwhile() -> None:
    capacity, looked = capacity_of()
    lists = Lists()
    async with asyncio.timeout(PATIENCE_SECONDS):
        (first,) = ask(capacity, lists)
        await until(lambda: lists.begun == [1])
        others = ask(capacity, lists, MANY)
        await until(lambda: looked.settled == 1 + MANY)
        lists.end()
        assert await first == b"1"
        lists.end()
        # The first may miss what those who came later know of.
        assert set(await asyncio.gather(*others)) == {b"2"}
    assert lists.begun == [1, 2]
    assert not capacity.making


async def test_who_asks_before_a_making_has_begun_needs_no_other() -> None:
    capacity, looked = capacity_of(threads=1)
    before, lists = Lists("b"), Lists()
    async with asyncio.timeout(PATIENCE_SECONDS):
        (in_front,) = ask(capacity, before)
        await until(lambda: before.begun == [1])
        waiting = ask(capacity, lists, MANY)
        await until(lambda: looked.settled == 1 + MANY)
        lists.end()
        before.end()
        assert await in_front == b"1"
        assert set(await asyncio.gather(*waiting)) == {b"1"}
    assert lists.begun == [1]


async def test_a_list_that_turns_out_to_be_right_is_not_made_again() -> None:
    capacity, looked = capacity_of()
    lists, kept = Lists(), list[bytes]()
    asked = replace(lists.asked, look=lambda: kept[-1] if kept else None)
    async with asyncio.timeout(PATIENCE_SECONDS):
        first = asyncio.create_task(list_in_thread(capacity, lambda: asked))
        await until(lambda: lists.begun == [1])
        second = asyncio.create_task(list_in_thread(capacity, lambda: asked))
        await until(lambda: looked.settled == 2)
        kept.append(b"kept")
        lists.end()
        assert await first == b"1"
        assert await second == b"kept"


async def test_who_asked_first_and_went_away_takes_nobody_elses_list_along() -> None:
    capacity, looked = capacity_of(threads=1)
    before, lists = Lists("b"), Lists()
    async with asyncio.timeout(PATIENCE_SECONDS):
        (in_front,) = ask(capacity, before)
        await until(lambda: before.begun == [1])
        first, second = ask(capacity, lists, 2)
        await until(lambda: looked.settled == 3)
        first.cancel()
        lists.end()
        before.end()
        assert await second == b"1"
        assert first.cancelled()
        await in_front


async def test_everybody_hears_why_there_is_no_list_and_the_next_tries_again() -> None:
    capacity, looked = capacity_of(threads=1)
    before, lists, tried = Lists("b"), Lists(), list[int]()

    def fail() -> bytes:
        tried.append(1)
        raise LookupError

    failing = replace(lists.asked, make=fail)
    async with asyncio.timeout(PATIENCE_SECONDS):
        (in_front,) = ask(capacity, before)
        await until(lambda: before.begun == [1])
        waiting = [
            asyncio.create_task(list_in_thread(capacity, lambda: failing)) for _ in range(MANY)
        ]
        await until(lambda: looked.settled == 1 + MANY)
        before.end()
        await in_front
        heard = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(one) for one in heard} == {LookupError}
        assert len(tried) == 1
        with pytest.raises(LookupError):
            await list_in_thread(capacity, lambda: failing)
    assert len(tried) == 2


async def test_lists_of_one_account_are_made_one_after_the_other() -> None:
    """However many changed, those of others have the next thread."""
    capacity, _ = capacity_of()
    hers = [Lists(at, whose="mallory") for at in range(3)]
    his = Lists("his", whose="bob")
    async with asyncio.timeout(PATIENCE_SECONDS):
        waiting = [ask(capacity, one)[0] for one in hers]
        await until(lambda: hers[0].begun == [1])
        (asked,) = ask(capacity, his)
        await until(lambda: his.begun == [1])
        assert [one.begun for one in hers] == [[1], [], []]
        for one in (his, *hers):
            one.end()
        assert await asyncio.gather(asked, *waiting) == [b"1"] * 4
    assert not capacity.unmade


async def test_an_account_of_which_many_lists_wait_is_refused_alone() -> None:
    capacity, _ = capacity_of()
    hers = [Lists(at, whose="mallory") for at in range(MOST_OF_ONE + 1)]
    his = Lists("his", whose="bob")
    async with asyncio.timeout(PATIENCE_SECONDS):
        waiting = [ask(capacity, one)[0] for one in hers[:-1]]
        await until(lambda: len(capacity.unmade.get("mallory", ())) == MOST_OF_ONE)
        with pytest.raises(ListsBusy):
            await ask(capacity, hers[-1])[0]
        his.end()
        assert await ask(capacity, his)[0] == b"1"
        for one in hers:
            one.end()
        await asyncio.gather(*waiting)
    assert not capacity.unmade


async def test_a_list_that_was_made_meanwhile_lets_nobody_pass() -> None:
    """One that need not be made any more leaves its turn to the next only when it has come."""
    capacity, _ = capacity_of()
    first, second, third = (Lists(at, whose="mallory") for at in range(3))
    looks: list[bytes | None] = [None, None, b"kept"]
    first.asked = replace(first.asked, look=lambda: looks.pop(0))
    async with asyncio.timeout(PATIENCE_SECONDS):
        (before,) = ask(capacity, first)
        await until(lambda: first.begun == [1])
        waiting = ask(capacity, second)
        await until(lambda: len(capacity.unmade["mallory"]) == 2)
        again = ask(capacity, first)
        await until(lambda: len(capacity.unmade["mallory"]) == 3)
        waiting += ask(capacity, third)
        await until(lambda: len(capacity.unmade["mallory"]) == 4)
        first.end()
        assert await before == b"1"
        await until(lambda: second.begun == [1])
        assert not again[0].done()
        assert third.begun == []
        second.end()
        assert await again[0] == b"kept"
        third.end()
        await asyncio.gather(*waiting)
