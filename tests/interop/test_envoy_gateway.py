"""Requests for the gateway itself through the real Envoy: long bodies, and answers that last."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.envoy import GATEWAY, Edge, running_edge
from tests.support.tiny_http import Answer, Message, read_message

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = b"x" * 200_000
LISTS = ("/prefix-lists/office", "/api/v1/prefix-lists/office")
POLICIES = ("/policies", "/api/v1/policies/1", "/policy/1", "/policies/diff")
LONG_BODIES = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    folder: Path = tmp_path_factory.mktemp("e")
    async with running_edge(
        folder,
        gateway_request_timeout=0.5,
        gateway_answer_timeout=1.0,
        gateway_idle_timeout=2.0,
        gateway_long_bodies=LONG_BODIES,
        gateway_long_timeout=4.0,
    ) as running:
        running.gateway.answer = answered
        yield running


def answered(request: Message) -> Answer:
    """What takes two seconds in all, and no second without a byte; or what takes six."""
    if "lasts" in request.target:
        return Answer(pieces=(b"more\n",) * 8, pause=0.25)
    if "hangs" in request.target:
        return Answer(pieces=(b"more\n",) * 2, pause=4)
    return Answer(body=b"taken")


def head(path: str, length: int | None, method: str = "PUT") -> bytes:
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"{method} {path} HTTP/1.1\r\nhost: {GATEWAY}\r\n{framing}\r\n\r\n".encode()


async def sent(edge: Edge, *parts: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await edge.connect(GATEWAY)
    writer.write(b"".join(parts))
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("path", [*LISTS, *POLICIES])
async def test_long_bodies_reach_the_gateway_where_it_takes_them(edge: Edge, path: str) -> None:
    for method in ("PUT", "POST"):
        response = await edge.get(GATEWAY, path, method=method, body=LONG)
        assert (response.status, response.body) == (200, b"taken")
        assert edge.gateway.requests[-1].body == LONG


async def test_so_do_long_bodies_of_a_length_not_said(edge: Edge) -> None:
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(LONG), LONG)
    reader, writer = await sent(edge, head(LISTS[0], None), chunks)
    assert (await read_message(reader)).status == 200
    writer.close()
    assert edge.gateway.requests[-1].body == LONG


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/login"),
        ("PUT", "/prefix-lists"),
        ("PUT", "/policiesx"),
        ("PUT", "/x/policies"),
        ("PUT", "/api/v2/policies"),
        ("GET", "/policies"),
        ("DELETE", "/prefix-lists/office"),
    ],
)
async def test_nowhere_else(edge: Edge, method: str, path: str) -> None:
    served = len(edge.gateway.requests)
    response = await edge.get(GATEWAY, path, method=method, body=LONG)
    assert (response.status, response.json()["reason"]) == (413, "body-too-large")
    assert len(edge.gateway.requests) == served


async def test_long_bodies_that_are_slow_to_come_keep_nobody_else_out(edge: Edge) -> None:
    """They have a few connections for themselves, and an end."""
    path = LISTS[0]
    begun = time.monotonic()
    slow = [await sent(edge, head(path, len(LONG)), b"x" * 100_000) for _ in range(2 * LONG_BODIES)]
    # As many as have connections are on their way, as many again wait for one.
    refused = await edge.get(GATEWAY, path, method="PUT", body=LONG)
    assert (refused.status, refused.json()["reason"]) == (503, "too-many-at-once")
    for target in (path, "/policies", "/login"):
        short = await edge.get(GATEWAY, target, method="PUT", body=b"short")
        assert (short.status, edge.gateway.requests[-1].body) == (200, b"short")
    for reader, writer in slow:
        async with asyncio.timeout(8):
            assert (await read_message(reader)).status == 408
        writer.close()
    assert time.monotonic() - begun > 3


async def test_a_short_body_has_less_time(edge: Edge) -> None:
    begun = time.monotonic()
    reader, writer = await sent(edge, head("/login", 10, "POST"), b"half")
    async with asyncio.timeout(5):
        assert (await read_message(reader)).status == 408
    writer.close()
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("path", ["/policies/diff", "/api/v1/policies/diff"])
@pytest.mark.parametrize("body", [b"short", LONG], ids=["short", "long"])
async def test_a_replay_is_answered_for_longer_than_anything_else(
    edge: Edge, path: str, body: bytes
) -> None:
    response = await edge.get(GATEWAY, f"{path}?lasts", method="POST", body=body)
    assert (response.status, response.body) == (200, b"more\n" * 8)


async def test_any_other_answer_has_an_end(edge: Edge) -> None:
    for path in ("/policies?lasts", "/login?lasts"):
        with pytest.raises(asyncio.IncompleteReadError):
            await edge.get(GATEWAY, path, method="POST", body=b"short")


async def test_a_replay_that_says_nothing_any_more_has_one_too(edge: Edge) -> None:
    begun = time.monotonic()
    with pytest.raises(asyncio.IncompleteReadError):
        await edge.get(GATEWAY, "/policies/diff?hangs", method="POST", body=b"short")
    assert time.monotonic() - begun < 3.5
