"""The lines of the request log."""

import dataclasses
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from proxy.envoy.access_log import FlowRecord
from proxy.request_log import render_flow

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
    line = render_flow(flow(kind="stream", email="", denied="certificate expired"))
    assert line.endswith("refused: certificate\\x20expired")


@given(st.text(), st.text(), st.text())
def test_nothing_a_client_chooses_breaks_the_line(path: str, method: str, email: str) -> None:
    line = render_flow(flow(path=path, method=method, email=email))
    assert line.isascii()
    assert line.isprintable()
    assert len(line.split(" ")) == 9
    assert len(line) < 600
