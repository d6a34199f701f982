"""Answers of the gateway that nobody takes, through the real Envoy: nobody else waits for them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.envoy import GATEWAY, Edge, running_edge
from tests.support.http2 import Http2Client, Stream
from tests.support.tiny_http import Answer, Message, read_message

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = b"x" * 70_000
LIST = b"y" * 900_000
"""What the gateway answers with the largest list of addresses."""
MORE = b"z" * 4_000_000
CONNECTIONS, LONG_BODIES = 4, 2
STALL, KEPT = 4.0, 15.0
AT_ONCE = 3.5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    folder: Path = tmp_path_factory.mktemp("e")
    async with running_edge(
        folder,
        gateway_connections=CONNECTIONS,
        gateway_long_bodies=LONG_BODIES,
        gateway_stall_timeout=STALL,
        gateway_keep_timeout=KEPT,
    ) as running:
        running.gateway.answer = answered
        yield running


def answered(request: Message) -> Answer:
    if "list" in request.target:
        return Answer(body=LIST)
    return Answer(body=MORE if "more" in request.target else b"ok")


@asynccontextmanager
async def asked(
    edge: Edge, count: int, method: str, path: str, body: bytes = b""
) -> AsyncIterator[list[Stream]]:
    """Streams of one client, which takes nothing of their answers unless told to."""
    client = await Http2Client.connect(edge)
    try:
        yield [await client.ask(method, path, body) for _ in range(count)]
    finally:
        await client.close()


async def answer_to_others(edge: Edge, seconds: float) -> set[int]:
    """The statuses of a page and of a change with a long body."""
    async with asyncio.timeout(seconds):
        page = await edge.get(GATEWAY, "/login")
        change = await edge.get(GATEWAY, "/prefix-lists/x", method="PUT", body=LONG)
    return {page.status, change.status}


@pytest.mark.parametrize(
    ("count", "method", "path", "body"),
    [
        (CONNECTIONS, "GET", "/prefix-lists/list", b""),
        (LONG_BODIES, "PUT", "/prefix-lists/list", LONG),
    ],
)
async def test_answers_that_nobody_takes_hold_no_connection(
    edge: Edge, count: int, method: str, path: str, body: bytes
) -> None:
    async with asked(edge, count, method, path, body) as streams:
        async with asyncio.timeout(AT_ONCE):
            for stream in streams:
                await stream.answered.wait()
        assert await answer_to_others(edge, AT_ONCE) == {200}
        assert not any(stream.ended.is_set() for stream in streams)


async def test_they_are_not_kept_for_ever(edge: Edge) -> None:
    async with asked(edge, 1, "GET", "/prefix-lists/list") as (stream,), asyncio.timeout(KEPT + 5):
        await stream.ended.wait()
        assert (stream.reset, stream.taken) == (True, 0)


async def test_answers_longer_than_is_kept_are_ended_soon(edge: Edge) -> None:
    async with asked(edge, CONNECTIONS, "GET", "/audit?more") as streams:
        await asyncio.sleep(STALL / 2)  # whoever waits just as long is ended as well
        assert await answer_to_others(edge, KEPT - STALL) == {200}
        async with asyncio.timeout(KEPT - STALL):
            for stream in streams:
                await stream.ended.wait()
        assert all(stream.reset for stream in streams)


@pytest.mark.parametrize(("path", "length"), [("/x?list", len(LIST)), ("/x?more", len(MORE))])
async def test_who_is_slow_to_take_an_answer_gets_all_of_it(
    edge: Edge, path: str, length: int
) -> None:
    """Slower than anything may stand still, and all the time a little."""
    client = await Http2Client.connect(edge)
    stream = await client.ask("GET", path)
    begun = time.monotonic()
    while not stream.ended.is_set() and time.monotonic() - begun < 2 * KEPT:
        client.widen(stream, length // 12)
        await asyncio.sleep(STALL / 8)
    assert (stream.reset, stream.taken) == (False, length)
    assert time.monotonic() - begun > STALL
    await client.close()


async def test_a_long_body_that_stands_still_is_ended_as_soon(edge: Edge) -> None:
    head = f"PUT /prefix-lists/x HTTP/1.1\r\nhost: {GATEWAY}\r\ncontent-length: {len(LONG)}\r\n\r\n"
    reader, writer = await edge.connect(GATEWAY)
    writer.write(head.encode() + LONG[:-1])
    await writer.drain()
    async with asyncio.timeout(KEPT):
        assert (await read_message(reader)).status == 408
    writer.close()
