"""Who watches which socket's log, so that a line for a socket finds its screens at once."""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

_Watcher = TypeVar("_Watcher")


class Audience(Generic[_Watcher]):
    """Clients with a screen by the sockets they serve; the others are not in here."""

    def __init__(self) -> None:
        self._watched: dict[_Watcher, frozenset[str]] = {}
        self._watchers: dict[str, set[_Watcher]] = {}

    def place(self, watcher: _Watcher, socket_ids: AbstractSet[str]) -> None:
        """From now on the watcher sees the lines of exactly these sockets."""
        before = self._watched.pop(watcher, frozenset())
        if socket_ids:
            self._watched[watcher] = frozenset(socket_ids)
        for socket_id in socket_ids - before:
            self._watchers.setdefault(socket_id, set()).add(watcher)
        for socket_id in before - socket_ids:
            watchers = self._watchers[socket_id]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[socket_id]

    def __contains__(self, socket_id: str) -> bool:
        return socket_id in self._watchers

    def of(self, socket_id: str) -> Collection[_Watcher]:
        """Everybody who watches this socket."""
        return tuple(self._watchers.get(socket_id, ()))
