"""What a request may be made of besides its body, on a real server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from idp_gateway.http_protocol import MAX_OVERHEAD_BYTES, BoundedHttpProtocol

BODY_BYTES = 4 * 1024 * 1024


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says how long the body was."""
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    text = str(length).encode()
    headers = [(b"x-length", text), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    place = tmp_path / "s"
    config = uvicorn.Config(
        application, uds=str(place), http=BoundedHttpProtocol, ws="none", log_config=None
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0)
    yield place
    server.should_exit = True
    await running


async def answer(path: Path, *parts: bytes) -> bytes:
    """What the server says until it closes, or nothing new comes from it."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        for part in parts:
            writer.write(part)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        async with asyncio.timeout(10):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


def status(reply: bytes) -> int:
    return int(reply.split(b" ")[1])


HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"


async def test_a_large_body_is_no_overhead(path: Path) -> None:
    head = HEAD + b"content-length: %d\r\n\r\n" % BODY_BYTES
    reply = await answer(path, head, b"x" * BODY_BYTES)
    assert status(reply) == 200
    assert b"x-length: %d" % BODY_BYTES in reply


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * MAX_OVERHEAD_BYTES,
        HEAD + b"a: " + b"b" * MAX_OVERHEAD_BYTES,
        HEAD + b"a: b\r\n" * (MAX_OVERHEAD_BYTES // 6),
    ],
    ids=["target", "one-header", "many-headers"],
)
async def test_a_head_ends_or_the_connection_does(path: Path, head: bytes) -> None:
    """Nothing after the part that is too much: the server must not wait for the end."""
    assert status(await answer(path, head)) == 400


async def test_trailers_and_marks_of_chunks_count(path: Path) -> None:
    head = HEAD + b"transfer-encoding: chunked\r\n\r\n"
    trailers = b"0\r\n" + b"a: b\r\n" * (MAX_OVERHEAD_BYTES // 6)
    assert status(await answer(path, head, trailers)) == 400
    extension = b"1;" + b"e" * MAX_OVERHEAD_BYTES
    assert status(await answer(path, head, extension)) == 400
    assert status(await answer(path, head, b"5\r\nabcde\r\n0\r\n\r\n")) == 200


async def test_a_body_before_the_next_head_is_no_overhead_of_that(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    large = b"x" * (MAX_OVERHEAD_BYTES + 1)
    first = HEAD + b"content-length: %d\r\n\r\n" % len(large) + large
    writer.write(first + HEAD + b"content-length: 0\r\n\r\n")
    async with asyncio.timeout(10):
        for _ in range(2):
            assert status(await reader.readuntil(b"\r\n\r\n")) == 200
    writer.close()


UPGRADE = HEAD + b"connection: upgrade\r\nupgrade: websocket\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    "length",
    [
        b"content-length: %d" % len(HIDDEN),
        b"transfer-encoding: chunked",
        b"transfer-encoding: 0",
    ],
)
async def test_the_body_of_an_upgrade_is_no_request(path: Path, length: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(UPGRADE + length + b"\r\n\r\n")
    async with asyncio.timeout(10):
        assert status(await reader.readuntil(b"\r\n\r\n")) == 400
        said = b""
        with contextlib.suppress(ConnectionError):
            writer.write(HIDDEN)
            await writer.drain()
            said = await reader.read()
        assert b"HTTP/1.1" not in said
    writer.close()


@pytest.mark.parametrize("length", [b"", b"content-length: 0\r\n"])
async def test_an_upgrade_without_a_body_is_a_request_as_others_are(
    path: Path, length: bytes
) -> None:
    assert status(await answer(path, UPGRADE + length + b"\r\n")) == 200


async def test_requests_of_one_connection_are_counted_apart(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    filler = b"a: " + b"b" * (MAX_OVERHEAD_BYTES // 2) + b"\r\n"
    async with asyncio.timeout(10):
        for _ in range(4):
            writer.write(HEAD + filler + b"content-length: 0\r\n\r\n")
            assert status(await reader.readuntil(b"\r\n\r\n")) == 200
    writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        HEAD + b"transfer-encoding: chunked, identity\r\n\r\n",
        HEAD + b"a: b\r\n c\r\n\r\n",
        HEAD + b"a : b\r\n\r\n",
        b"GET / HTTP/1.1\nhost: x\n\n",
    ],
    ids=["both-lengths", "two-lengths", "not-chunked-last", "folded", "blank-in-name", "bare-lf"],
)
async def test_what_two_readers_could_read_differently_is_refused(
    path: Path, request_: bytes
) -> None:
    """RFC 9112 §5 and §6.3: request smuggling begins with any of these."""
    assert status(await answer(path, request_)) == 400
