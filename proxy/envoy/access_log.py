"""Reading what Envoy says about every request and connection, as typed records.

Envoy writes JSON lines to its standard output, a pipe this process reads: no file grows, nothing is
polled. Lines come in batches of the flush interval (``supervisor``), 0.1 s.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

_LOG = logging.getLogger(__name__)
_MAX_LINE = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRecord:
    """One finished HTTP request, or one finished connection to a TCP or TLS socket."""

    kind: Literal["http", "stream"]
    started_at: datetime
    host: str
    """The HTTP socket's DNS name; empty for streams."""
    socket_id: str
    """The stream's socket; empty for HTTP."""
    upstream: str
    """Unix path of the tunnel that served it; empty if none did."""
    email: str
    """Who, if an identity was needed and found."""
    client: str
    """Address of the client, without port."""
    method: str = ""
    path: str = ""
    """Without its query."""
    protocol: str = ""
    status: int = 0
    """0 for streams, and for requests that ended before an answer."""
    user_agent: str = ""
    policy: str = ""
    """How an HTTP request was let in: ``identity``, ``public``, ``basic``, or ``ask`` (gateway)."""
    bytes_received: int
    bytes_sent: int
    duration_ms: int
    flags: str = ""
    """Envoy's response flags, such as ``UH`` for no tunnel."""
    denied: str = ""
    """Why a handshake failed, or Envoy's details of an HTTP answer."""


def parse_record(line: bytes) -> FlowRecord:
    """Read one line of ``log_format``.

    Raises:
        ValueError: not such a line.
    """
    entry = json.loads(line.decode("utf-8", "replace"))
    if not isinstance(entry, dict) or entry.get("kind") not in {"http", "stream"}:
        raise ValueError("not an access log entry")
    return FlowRecord(
        kind=entry["kind"],
        started_at=datetime.fromisoformat(_word(entry, "started_at")).astimezone(UTC),
        host=_word(entry, "host"),
        socket_id=_word(entry, "socket_id"),
        upstream=_word(entry, "upstream"),
        email=_word(entry, "email"),
        client=_word(entry, "client"),
        method=_word(entry, "method"),
        path=_word(entry, "path"),
        protocol=_word(entry, "protocol"),
        status=_number(entry, "status"),
        user_agent=_word(entry, "user_agent"),
        policy=_word(entry, "policy"),
        bytes_received=_number(entry, "bytes_received"),
        bytes_sent=_number(entry, "bytes_sent"),
        duration_ms=_number(entry, "duration_ms"),
        flags=_word(entry, "flags"),
        denied=_word(entry, "denied"),
    )


class AccessLog:
    """A bounded queue between Envoy's pipe and one consumer.

    A consumer that falls behind loses the oldest records, counted in ``dropped``: Envoy must never
    wait for us.
    """

    def __init__(self, *, capacity: int = 10_000) -> None:
        self._queue: asyncio.Queue[FlowRecord] = asyncio.Queue(capacity)
        self.dropped = 0

    async def records(self) -> AsyncIterator[FlowRecord]:
        """Yield records as they come, without end."""
        while True:
            yield await self._queue.get()

    async def read_from(self, stream: asyncio.StreamReader) -> None:
        """Take lines until the pipe's end."""
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError as error:
                await stream.readexactly(error.consumed)
                continue
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            record = parse_record(line)
        except ValueError:
            _LOG.warning("unreadable line in the access log, %d bytes", len(line))
            return
        if self._queue.full():
            self._queue.get_nowait()
            self.dropped += 1
        self._queue.put_nowait(record)


def line_limit() -> int:
    """Longest line taken, in bytes; also the reader's buffer."""
    return _MAX_LINE


def _word(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) and value != "-" else ""


def _number(entry: Mapping[str, Any], name: str) -> int:
    value = entry.get(name)
    return int(value) if isinstance(value, int | float) else 0
