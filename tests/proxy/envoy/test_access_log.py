import asyncio
import json
from datetime import UTC, datetime

import pytest

from proxy.envoy.access_log import AccessLog, parse_record

LINE = {
    "kind": "http",
    "started_at": "2026-11-23T10:00:00.123+00:00",
    "host": "app.edge.localhost",
    "client": "203.0.113.9",
    "status": 200,
    "bytes_sent": 5,
    "email": None,
    "flags": "-",
}


def line(**changes: object) -> bytes:
    return json.dumps(LINE | changes).encode() + b"\n"


def test_a_line_becomes_a_record() -> None:
    record = parse_record(line())
    assert record.started_at == datetime(2026, 11, 23, 10, 0, 0, 123000, UTC)
    assert (record.host, record.status, record.bytes_sent) == ("app.edge.localhost", 200, 5)
    assert (record.email, record.flags, record.bytes_received) == ("", "", 0)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"kind": "x"}', b'{"kind": "http"}', b"\xff"])
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any kind of it
        parse_record(text)


async def test_bad_and_endless_lines_are_passed_over_and_the_oldest_dropped() -> None:
    log = AccessLog(capacity=2)
    reader = asyncio.StreamReader(limit=1024)
    reader.feed_data(b"x" * 3000 + b"\n" + b"nonsense\n")
    for status in (1, 2, 3):
        reader.feed_data(line(status=status))
    reader.feed_eof()
    await log.read_from(reader)
    assert log.dropped == 1
    records = log.records()
    assert [(await anext(records)).status for _ in range(2)] == [2, 3]
