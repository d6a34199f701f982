"""One thread makes something; the others who want the same at that moment wait for that one."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

V = TypeVar("V")


class Flights(Generic[V]):
    """What is being made now, by key; safe in any thread. Nothing is remembered of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[V]] = {}

    def once(self, key: Hashable, make: Callable[[], V]) -> V:
        """What ``make`` makes, or what another thread makes of ``key`` already; its exception, if
        it cannot. ``make`` wants nothing under the same key itself.
        """
        mine = Future[V]()
        with self._lock:
            found = self._under_way.setdefault(key, mine)
        if found is not mine:
            return found.result()
        try:
            made = make()
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(made)
            return made
        finally:
            with self._lock:
                del self._under_way[key]
