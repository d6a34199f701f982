"""How many certificates may be given out within a while, counted in this process.

Revoked, they are all on a list that others share: the socket's, or that of all sockets. So there is
a pace for each person on a socket, a far higher one for the socket, and one for its account:
whoever asks for very many waits alone, and no list is filled by one.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TypedDict

from idp_gateway.errors import TooManyCertificates
from idp_gateway.records import SocketRecord

WINDOW = timedelta(minutes=10)
OWNERS_WINDOW = timedelta(days=1)
MAX_REMEMBERED = 65_536
"""Keys counted at a time; the one longest unused is forgotten first."""


class Pace:
    """About ``most`` for one key in a window; safe in any thread, of a bounded size.

    Windows begin at fixed times; the one before weighs what is left of it, so that around the turn
    nobody gets twice as many at once. Over a whole window it may come to that. Counted is by a
    clock that nobody sets: one that was wrong for a moment would stop somebody for as long as it
    was ahead.
    """

    def __init__(
        self,
        most: int,
        window: timedelta,
        whose: str = "this socket",
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``monotonic`` tells seconds, from wherever."""
        self._most = most
        self._whose = whose
        self._window = window.total_seconds()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        """Number of the window, count in it, count in the one before."""

    def take(self, key: str) -> None:
        """Count one more.

        Raises:
            TooManyCertificates: that would be too many; nothing was counted.
        """
        length = self._window
        with self._lock:
            # Asked within: of two threads the one that looked first might come second.
            at = self._monotonic()
            number = int(at // length)
            window, count, before = self._counts.get(key, (number, 0, 0))
            if window != number:
                count, before = 0, count if window == number - 1 else 0
            share_left = number + 1 - at / length
            if count + before * share_left >= self._most:
                raise TooManyCertificates(
                    f"too many certificates were issued for {self._whose}; try again later",
                    retry_after=max(1, int((number + 1) * length - at)),
                )
            self._counts[key] = (number, count + 1, before)
            self._counts.move_to_end(key)
            while len(self._counts) > MAX_REMEMBERED:
                self._counts.popitem(last=False)


class Shares(TypedDict):
    """How many persons' fill there is for one socket, and for all of an account."""

    for_socket: int
    for_account: int


class CertificatePace:
    """The pace of one kind of certificate, for everybody."""

    def __init__(
        self,
        each: int,
        *,
        for_socket: int,
        for_account: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``each``: for one person on one socket; the others are multiples of it. On all sockets
        of an account one person has no more than one socket has for all.
        """
        pace = partial(Pace, window=WINDOW, monotonic=monotonic)
        self._each = pace(each, whose="you on this socket")
        self._person = pace(each * for_socket, whose="you on sockets of this account")
        self._socket = pace(each * for_socket)
        self._account = pace(each * for_account, whose="sockets of this account")

    def take(self, socket: SocketRecord, person: str) -> None:
        """Count one more certificate of a person for a socket.

        Raises:
            TooManyCertificates: that would be too many.
        """
        # The narrowest first: what one person is refused takes nothing from the others.
        self._each.take(f"{socket.socket_id} {person}")
        self._person.take(f"{socket.account_id} {person}")
        self._socket.take(socket.socket_id)
        self._account.take(socket.account_id)


class OwnersPace:
    """The pace of what an owner gets for servers and tunnels: each has a leaf in the log for good,
    and a host's certificate is good for weeks, so that those of one socket could fill its list.
    """

    def __init__(self, for_socket: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """``for_socket``: in a day; on all sockets of an account ten times that."""
        pace = partial(Pace, window=OWNERS_WINDOW, monotonic=monotonic)
        self._socket = pace(for_socket)
        self._account = pace(10 * for_socket, whose="sockets of this account")

    def take(self, socket: SocketRecord) -> None:
        """Count one more certificate for the socket.

        Raises:
            TooManyCertificates: that would be too many.
        """
        self._socket.take(socket.socket_id)
        self._account.take(socket.account_id)
