"""Logs as they lie on a server, plain or gzipped, and where in them a certificate stands."""

import gzip
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, cast

from clients.mysocketctl.api import Json
from clients.mysocketctl.names import printable
from clients.mysocketctl.sightings import (
    Sighting,
    Unreadable,
    lines_of,
    read_edge_log,
    read_sshd_log,
)
from clients.mysocketctl.sshd_lines import LET_IN, is_of_syslog

STANDARD_INPUT = "-"

_GZIP = b"\x1f\x8b"
_HEAD_BYTES = 512
_FIRST_LINES = 1000
_OF_SSHD = re.compile(
    rb"(?:^|.*[\s/])sshd[a-z-]*(?:\[[0-9]+\])?: "
    # Of an edge, whose tunnel server words its logins as sshd does.
    rb"|[0-9T:+-]+ [A-Z]+ proxy(?:\.[a-z_]+)*: "
    # Without a syslog's words in front, as with sshd -E.
    rb"|(?:Accepted|Partial|Failed|Postponed) \S+ for "
    rb"|(?:Server listening on|Connection (?:from|closed|reset)|Disconnected from|Received ) ?"
)
_WHO = re.compile(LET_IN + rb"(?P<login>.{1,256}?) from (?P<address>\S{1,64}) port ")


class Place(NamedTuple):
    """Where a certificate was seen."""

    file: str
    line: int
    """From 1."""
    seen_at: str | None
    login: str | None
    address: str | None

    def __str__(self) -> str:
        words = [self.seen_at, self.login, self.address and f"from {self.address}"]
        return " ".join([*(word for word in words if word), f"({self.file}:{self.line})"])


class Remark(NamedTuple):
    """What is to be said of a whole file."""

    file: str
    state: Literal["empty", "quiet", "wrong", "unread"]
    words: str

    @property
    def is_fault(self) -> bool:
        """Whether the file was not read, or surely not the one that was meant.

        A log that was turned over just now is empty, and one of a day without logins is quiet.
        """
        return self.state in {"wrong", "unread"}


Seen = tuple[Sighting | Unreadable, Place]


class _Kind(NamedTuple):
    whose: str
    read: Callable[[Iterable[bytes]], Iterator[Sighting | Unreadable]]
    knows: Callable[[bytes], bool]
    """Whether a line is of such a log, whatever it says."""
    may_be: Callable[[bytes], bool]
    """Whether a line is of a file that may hold such lines on another day."""
    who: Callable[[bytes], tuple[str | None, str | None]]
    """Login and address."""
    takes_all: bool
    """Whether every line is one of its own to the reader, also those of some other file. Then one
    of the first lines has to be of such a log.
    """


def read_sshd_file(name: str) -> Iterator[Seen | Remark]:
    """The certificates in the log of an sshd, then what is to be said of the file; ``-`` is
    standard input.
    """
    kind = _Kind("sshd's", read_sshd_log, _is_of_sshd, is_of_syslog, _sshd_who, takes_all=False)
    return _read(name, kind)


def read_edge_file(name: str) -> Iterator[Seen | Remark]:
    """The certificates in the request log of an edge, then what is to be said of the file."""
    kind = _Kind("an edge's", read_edge_log, _is_entry, _is_of_none, _edge_who, takes_all=True)
    return _read(name, kind)


def _read(name: str, kind: _Kind) -> Iterator[Seen | Remark]:
    reading = _Reading(printable(name), kind)
    with ExitStack() as stack:
        try:
            yield from reading.seen(lines_of(_opened(name, stack)))
            remark = reading.remark()
        except (OSError, EOFError, zlib.error) as error:
            why = getattr(error, "strerror", None) or "it is damaged"
            remark = reading.said("unread", f"cannot read {reading.file}: {why}")
    yield from reading.held()
    if remark is not None:
        yield remark


class _Reading:
    """One file on its way through a reader, and whether it is such a log at all."""

    def __init__(self, file: str, kind: _Kind) -> None:
        self.file = file
        self._kind = kind
        self._number = 0
        self._line = b""
        self._known = self._may_be = False
        self._held: list[Seen] = []

    def seen(self, lines: Iterable[bytes]) -> Iterator[Seen]:
        # Each finding comes before the next line is read, so the line is the one it is from.
        for found in self._kind.read(self._counted(lines)):
            at = found.seen_at if isinstance(found, Sighting) else None
            self._known = self._known or isinstance(found, Sighting) or not self._kind.takes_all
            place = Place(self.file, self._number, at, *self._kind.who(self._line))
            self._held.append((found if isinstance(found, Sighting) else _UNREADABLE, place))
            yield from self.held()

    def held(self) -> Iterator[Seen]:
        """What was found, once it is known that the file is such a log."""
        if self._known:
            yield from self._held
            self._held.clear()

    def remark(self) -> Remark | None:
        if self._known:
            return None
        if not self._number:
            return self.said("empty", f"{self.file} is empty")
        said = f"no line of {self.file} is {self._kind.whose}"
        if self._may_be:
            return self.said("quiet", f"{said}: it is a log without logins, or of other programs")
        return self.said("wrong", f"{said}: is it the right file?")

    def said(self, state: Literal["empty", "quiet", "wrong", "unread"], words: str) -> Remark:
        return Remark(self.file, state, words)

    def _counted(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for self._number, self._line in enumerate(lines, 1):
            self._known = self._known or self._kind.knows(self._line)
            self._may_be = self._may_be or (not self._known and self._kind.may_be(self._line))
            if self._kind.takes_all and not self._known and self._number >= _FIRST_LINES:
                return
            yield self._line


_UNREADABLE = Unreadable(b"")
"""Of what cannot be read the place is kept: a line may be a mebibyte."""


def _is_of_sshd(line: bytes) -> bool:
    return bool(_OF_SSHD.match(line[:_HEAD_BYTES]))


def _is_of_none(_line: bytes) -> bool:
    return False


def _opened(name: str, stack: ExitStack) -> BinaryIO:
    raw = cast("BufferedReader", sys.stdin.buffer)
    if name != STANDARD_INPUT:
        raw = stack.enter_context(Path(name).open("rb"))  # noqa: SIM115 - left to the stack
    if raw.peek(2)[:2] == _GZIP:
        return cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=raw)))
    return raw


def _sshd_who(line: bytes) -> tuple[str | None, str | None]:
    found = _WHO.search(line[: 2 * _HEAD_BYTES])
    if found is None:
        return None, None
    return _text(found["login"]), _text(found["address"])


def _edge_who(line: bytes) -> tuple[str | None, str | None]:
    entry = _entry(line)
    login, address = entry.get("email"), entry.get("client")
    return (
        login if isinstance(login, str) and login not in {"", "-"} else None,
        address if isinstance(address, str) else None,
    )


def _entry(line: bytes) -> dict[str, Json]:
    """A line of an edge; empty if it is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) and "kind" in entry else {}


def _is_entry(line: bytes) -> bool:
    return bool(_entry(line))


def _text(raw: bytes) -> str:
    return printable(raw.decode("utf-8", "replace"))
