"""Of one enrolled host one question is answered at a time, and each question once.

Nobody has to be logged in to ask, and an answer takes a list that may be long, a signature and a
row. So the rest of the gateway waits for no host that asks many times over.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from ca.formats.host_messages import SyncStatement
from idp_gateway.errors import Conflict, TooManyAttempts

RETRY_SECONDS = 5
MOST_REMEMBERED = 20_000
"""Questions remembered, newest of all: those of a thousand hosts for longer than one counts."""


class HostTurns:
    """Who is being answered by one gateway, and what was; used in one thread."""

    def __init__(self) -> None:
        self._answering: set[str] = set()
        self._answered: OrderedDict[bytes, None] = OrderedDict()

    @contextmanager
    def turn(self, statement: SyncStatement) -> Iterator[None]:
        """The host's turn, which ends with the answer; one that fails may be asked for again.

        Raises:
            TooManyAttempts: another question of the host is being answered.
            Conflict: this one was answered.
        """
        digest = hashlib.sha256(statement.signed).digest()
        if digest in self._answered:
            raise Conflict(
                "this question was answered; a host makes a new one each time",
                reason="statement-repeated",
            )
        if statement.host_id in self._answering:
            raise TooManyAttempts(
                "another question of this host is being answered",
                retry_after=RETRY_SECONDS,
            )
        self._answering.add(statement.host_id)
        try:
            yield
            self._remember(digest)
        finally:
            self._answering.discard(statement.host_id)

    def _remember(self, digest: bytes) -> None:
        self._answered[digest] = None
        if len(self._answered) > MOST_REMEMBERED:
            self._answered.popitem(last=False)
