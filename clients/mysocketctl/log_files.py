"""Logs as they lie on a server, plain or gzipped, and where in them a certificate stands."""

import gzip
import json
import math
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from clients.mysocketctl.api import Json
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.names import printable
from clients.mysocketctl.sightings import (
    Sighting,
    Unreadable,
    lines_of,
    read_edge_log,
    read_sshd_log,
)
from clients.mysocketctl.sshd_lines import LET_IN

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


class _Kind(NamedTuple):
    whose: str
    read: Callable[[Iterable[bytes]], Iterator[Sighting | Unreadable]]
    knows: Callable[[bytes], bool]
    """Whether a line is of such a log, whatever it says."""
    who: Callable[[bytes], tuple[str | None, str | None]]
    """Login and address."""
    first: float = math.inf
    """One of so many lines at the beginning is of such a log."""


def read_sshd_file(name: str) -> Iterator[tuple[Sighting | Unreadable, Place]]:
    """The certificates in the log of an sshd; ``-`` is standard input. Raises InvalidInput."""
    knows = _OF_SSHD.match
    return _read(name, _Kind("sshd's", read_sshd_log, lambda line: bool(knows(line)), _sshd_who))


def read_edge_file(name: str) -> Iterator[tuple[Sighting | Unreadable, Place]]:
    """The certificates in the request log of an edge. Raises InvalidInput."""
    kind = _Kind("an edge's", read_edge_log, _is_entry, _edge_who, first=_FIRST_LINES)
    return _read(name, kind)


def _read(name: str, kind: _Kind) -> Iterator[tuple[Sighting | Unreadable, Place]]:
    number, line, known = 0, b"", False

    def numbered(file: BinaryIO) -> Iterator[bytes]:
        nonlocal number, line, known
        for number, line in enumerate(lines_of(file), 1):
            known = known or kind.knows(line[:_HEAD_BYTES] if kind.whose == "sshd's" else line)
            if not known and number >= kind.first:
                raise wrong
            yield line

    shown = printable(name)
    wrong = InvalidInput(f"no line of {shown} is {kind.whose}: is it the right file?")
    with ExitStack() as stack:
        try:
            # Each finding comes before the next line is read, so the line is the one it is from.
            for found in kind.read(numbered(_opened(name, stack))):
                at = found.seen_at if isinstance(found, Sighting) else None
                known = known or isinstance(found, Sighting)
                yield found, Place(shown, number, at, *kind.who(line))
        except (OSError, EOFError, zlib.error) as error:
            why = getattr(error, "strerror", None) or "it is damaged"
            raise InvalidInput(f"cannot read {shown}: {why}") from error
    if not known:
        raise wrong


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
