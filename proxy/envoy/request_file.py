"""The request log: a file Envoy appends to by itself, which this process only turns over and reads.

Envoy writes lines, in batches of the flush interval (``supervisor``), without ever waiting for us.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.1
"""Pause between two looks at the file's size: as often as Envoy writes."""
_READ = 1 << 20
_MAX_LINE = 1 << 18


class RequestFile:
    """One log file of at most ``limit`` bytes or a little more, and ``keep`` older ones beside it:
    ``name.1`` is the newest of them. All are for their owner alone.

    ``reopen`` makes Envoy open the path anew.
    """

    def __init__(
        self, path: Path, *, limit: int, keep: int, reopen: Callable[[], Awaitable[None]]
    ) -> None:
        self._path = path
        self._limit = limit
        self._keep = keep
        self._reopen = reopen
        self._start = path.stat().st_size if path.exists() else 0
        self._old_still_open = False
        """Whether the file being read was renamed and Envoy may still write to it."""

    async def follow(self) -> AsyncIterator[bytes]:
        """Yield what was appended since this object was made, in whole lines, for ever; nothing
        (``b""``) at a look that finds nothing new. Turns the file over on the way.

        Raises:
            OSError: the file cannot be opened.
        """
        descriptor = open_private(self._path)
        os.lseek(descriptor, self._start, os.SEEK_SET)
        rest = b""
        try:
            while True:
                replaced = self._old_still_open and self._path.stat().st_size > 0
                while chunk := os.read(descriptor, _READ):
                    whole, newline, tail = (rest + chunk).rpartition(b"\n")
                    rest = tail if len(tail) <= _MAX_LINE else b""
                    yield whole + newline
                    await asyncio.sleep(0)
                if replaced:  # asked before the last read: nothing comes to the old one any more
                    os.close(descriptor)
                    descriptor = open_private(self._path)
                    self._old_still_open = False
                    continue
                yield b""
                await self._turn_over_if_large(descriptor)
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            os.close(descriptor)

    async def _turn_over_if_large(self, descriptor: int) -> None:
        if not self._old_still_open and os.fstat(descriptor).st_size < self._limit:
            return
        try:
            if not self._old_still_open:
                self._rename()
                self._old_still_open = True
            if self._path.stat().st_size == 0:
                await self._reopen()
        except (OSError, ValueError) as error:
            _LOG.warning("the request log is not turned over: %s", error)

    def _rename(self) -> None:
        """Make room at the path; the new file is there, and private, before Envoy looks for it."""
        older = [self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._keep + 1)]
        names = [self._path, *older]
        for source, target in reversed(list(pairwise(names))):
            if source.exists():
                source.replace(target)
        if not older:
            self._path.unlink()
        os.close(open_private(self._path))


def open_private(path: Path) -> int:
    """A descriptor to read ``path``, which is made (0600, its folder 0700) if it is not there.

    Raises:
        OSError: it cannot be had.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor
