"""The lines of the request log, and how many of them screens show."""

import dataclasses
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from proxy.envoy.access_log import FlowRecord
from proxy.request_log import ALL_LINES_PER_SECOND, RequestScreens, render_flow

AT = datetime(2026, 11, 23, 12, 0, 1, tzinfo=UTC)


def flow(**changes: object) -> FlowRecord:
    values: dict[str, object] = {
        "kind": "http",
        "started_at": AT,
        "host": "web.edge.localhost",
        "socket_id": "",
        "email": "alice@example.test",
        "client": "198.51.100.7",
        "method": "GET",
        "path": "/path",
        "status": 200,
        "bytes_received": 10,
        "bytes_sent": 123,
        "duration_ms": 4,
    }
    for field in dataclasses.fields(FlowRecord):
        values.setdefault(field.name, 0 if field.type in {int, "int"} else "")
    return FlowRecord(**(values | changes))  # type: ignore[arg-type]


def test_a_request() -> None:
    expected = "2026-11-23 12:00:01 alice@example.test GET /path 200 123B 4ms 198.51.100.7"
    assert render_flow(flow()) == expected


def test_a_request_of_nobody() -> None:
    assert " - GET /path " in render_flow(flow(email=""))


def test_a_connection() -> None:
    line = render_flow(flow(kind="stream", host="", method="", path=""))
    expected = "alice@example.test connection 10B up 123B 4ms 198.51.100.7"
    assert line == f"2026-11-23 12:00:01 {expected}"


def test_a_refused_connection_says_why() -> None:
    line = render_flow(flow(kind="stream", email="", refused="certificate expired"))
    assert line.endswith("refused: certificate\\x20expired")


def test_a_request_without_an_answer_says_why() -> None:
    line = render_flow(flow(status=503, failed="no_healthy_upstream"))
    assert line.endswith("198.51.100.7 failed: no_healthy_upstream")


@given(st.text(), st.text(), st.text())
def test_nothing_a_client_chooses_breaks_the_line(path: str, method: str, email: str) -> None:
    line = render_flow(flow(path=path, method=method, email=email))
    assert line.isascii()
    assert line.isprintable()
    assert len(line.split(" ")) == 9
    assert len(line) < 600


class Screens:
    """Screens of two sockets that somebody watches, at a time of our choice."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lines: list[tuple[str, str]] = []
        self.screens = RequestScreens(
            show=lambda name, line: self.lines.append((name, line)),
            is_watched=lambda name: name.startswith("web"),
            clock=lambda: self.now,
        )

    def take(self, *paths: str, name: str = "web") -> None:
        self.screens.take(b"".join(logged(name, paths)))

    def shown(self) -> list[str]:
        """What was shown since the last time: paths, and what is no request as it is."""
        lines, self.lines = self.lines, []
        return [line.split(" ")[4] if " GET " in line else line for _, line in lines]


def logged(name: str, paths: Iterable[str]) -> Iterable[bytes]:
    for path in paths:
        entry = {"at": name, "kind": "http", "method": "GET", "path": path, "status": 200}
        entry |= {"started_at": AT.isoformat(), "details": "via_upstream"}
        yield json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def paths(count: int, start: int = 0) -> list[str]:
    return [f"/{number}" for number in range(start, start + count)]


def test_few_requests_are_all_shown() -> None:
    screens = Screens()
    screens.take("/a", "/b")
    screens.take("/c")
    assert screens.shown() == ["/a", "/b", "/c"]


def test_a_burst_is_counted_and_its_end_shown_at_once() -> None:
    screens = Screens()
    screens.take(*paths(532))
    assert screens.shown() == [*paths(20), "... and 511 more", "/531"]
    screens.now += 2
    screens.take()
    assert screens.shown() == []
    screens.take("/later")
    assert screens.shown() == ["/later"]


def test_a_stream_of_requests_is_summed_up_once_a_second() -> None:
    screens = Screens()
    for tick in range(50):
        screens.take(*paths(100, tick * 100))
        screens.now += 0.1
    screens.now += 1
    screens.take()
    lines = screens.shown()
    assert len(lines) <= 20 + 7 * 22
    assert lines[-1] == "/4999"
    counted = sum(int(line.split(" ")[2]) for line in lines if line.startswith("..."))
    assert counted + len([line for line in lines if line.startswith("/")]) == 5000
    shown = [int(line[1:]) for line in lines if line.startswith("/")]
    assert shown == sorted(shown)


def test_one_request_too_many_is_shown_and_not_counted() -> None:
    screens = Screens()
    screens.take(*paths(21))
    assert screens.shown() == paths(21)


def test_sockets_nobody_watches_and_broken_lines_are_passed_over() -> None:
    screens = Screens()
    screens.take("/x", name="other")
    screens.screens.take(b'nonsense\n{"at":"web","kind":"http",\n')
    screens.take("/y")
    assert screens.shown() == ["/y"]


def test_every_socket_has_its_own_pace_and_all_together_theirs() -> None:
    screens = Screens()
    for number in range(100):
        screens.take(*paths(15), name=f"web{number}")
    assert len(screens.lines) <= ALL_LINES_PER_SECOND + 2 * 100
    for number in range(100):
        mine = [line for name, line in screens.lines if name == f"web{number}"]
        assert " /14 " in mine[-1]


def test_a_name_in_a_value_is_no_line() -> None:
    screens = Screens()
    screens.take('/{"at":"web2"', name="other")
    assert screens.shown() == []
