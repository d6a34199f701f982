"""The request log on the screens of those who serve the sockets: what fits a person's eye.

Envoy writes a line per request to a file. Of what it appended, whole chunks are counted by a C
regular expression; only the few lines that a screen will show are read one by one.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.envoy.access_log import FlowRecord, parse_record

MAX_PATH = 300
LINES_PER_SECOND = 20.0
"""Of one socket; so many may also come at once."""
ALL_LINES_PER_SECOND = 400.0
"""Of all sockets together."""
SUMMARY_SECONDS = 1.0
"""Between two lines that say how many requests were left out."""

_NAME = re.compile(rb'\{"at":"([^"\\]+)"')
"""How a line begins (``log_format``). It can begin nothing else: quotes in values are escaped."""
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Allowance:
    """A token bucket that is full at first."""

    per_second: float
    at: float
    left: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.per_second

    def grant(self, wanted: int, now: float) -> int:
        self.left = min(self.per_second, self.left + (now - self.at) * self.per_second)
        self.at = now
        granted = min(wanted, int(self.left))
        self.left -= granted
        return granted


@dataclass(slots=True)
class _Screen:
    """What one socket's screens have seen and still wait for."""

    allowance: _Allowance
    left_out: int = 0
    last: bytes = b""
    """The newest of the lines left out."""
    summed_up: float = float("-inf")


class RequestScreens:
    """Shows each watched socket its requests, at a pace that can be read and costs next to nothing.

    Beyond the pace requests are counted, and the count is shown with the last of them, so that the
    end of a burst is always seen.
    """

    def __init__(
        self,
        *,
        show: Callable[[str, str], None],
        is_watched: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        """``show`` and ``is_watched`` are told a socket's DNS name; ``clock`` counts seconds."""
        self._show = show
        self._is_watched = is_watched
        self._clock = clock
        self._all = _Allowance(ALL_LINES_PER_SECOND, clock())
        self._screens: dict[str, _Screen] = {}

    def take(self, chunk: bytes) -> None:
        """Show what of these whole lines there is to show now; to be called without lines too."""
        now = self._clock()
        for name, count in Counter(_NAME.findall(chunk)).items():
            dns_name = name.decode("ascii", "replace")
            if self._is_watched(dns_name):
                self._take_of(dns_name, name, count, chunk, now)
        self._sum_up(now)

    def _take_of(self, dns_name: str, name: bytes, count: int, chunk: bytes, now: float) -> None:
        screen = self._screens.setdefault(dns_name, _Screen(_Allowance(LINES_PER_SECOND, now)))
        shown = 0
        if not screen.left_out:
            shown = self._all.grant(screen.allowance.grant(count, now), now)
        start = b'{"at":"' + name + b'"'
        at = 0
        for _ in range(shown):
            at = chunk.index(start, at)
            end = chunk.find(b"\n", at)
            self._show_line(dns_name, chunk[at:end])
            at = end
        if count > shown:
            at = chunk.rindex(start)
            screen.last = chunk[at : chunk.find(b"\n", at)]
            screen.left_out += count - shown

    def _sum_up(self, now: float) -> None:
        for dns_name, screen in list(self._screens.items()):
            if not screen.left_out:
                if now - screen.allowance.at > SUMMARY_SECONDS:
                    del self._screens[dns_name]
            elif now - screen.summed_up >= SUMMARY_SECONDS:
                if screen.left_out > 1:
                    self._show(dns_name, f"... and {screen.left_out - 1} more")
                self._show_line(dns_name, screen.last)
                screen.left_out, screen.summed_up = 0, now
                screen.allowance.at = now

    def _show_line(self, dns_name: str, line: bytes) -> None:
        try:
            record = parse_record(line)
        except ValueError:
            _LOG.warning("unreadable line in the request log, %d bytes", len(line))
            return
        self._show(dns_name, render_flow(record))


def render_flow(record: FlowRecord) -> str:
    """For example ``2026-11-23 12:00:01 alice@example.test GET /path 200 123B 4ms 198.51.100.7``.

    Times are UTC. Whatever a client could have chosen is shown in printable ASCII without blanks.
    """
    when = f"{record.started_at:%Y-%m-%d %H:%M:%S}"
    who = _word(record.email, 100)
    cost = f"{record.bytes_sent}B {record.duration_ms}ms {_word(record.client, 60)}"
    if record.kind == "http":
        what = f"{_word(record.method, 20)} {_word(record.path, MAX_PATH)} {record.status}"
    else:
        what = f"connection {record.bytes_received}B up"
    return f"{when} {who} {what} {cost}{_trouble(record)}"


def _trouble(record: FlowRecord) -> str:
    if record.refused:
        return f" refused: {_word(record.refused, 200)}"
    return f" failed: {_word(record.failed, 200)}" if record.failed else ""


def _word(text: str, limit: int) -> str:
    shown = "".join(
        character if "!" <= character <= "~" else character.encode("unicode_escape").decode()
        for character in text
    )
    shown = shown.replace(" ", "\\x20")
    return (shown if len(shown) <= limit else f"{shown[: limit - 3]}...") or "-"
