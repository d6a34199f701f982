"""What the real Envoy does when it has taken as much memory as it may."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from proxy.envoy.admin import ask
from tests.support.envoy import GATEWAY, Edge, a_socket, running_edge
from tests.support.http2 import Http2Client
from tests.support.tiny_http import Answer, Message

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMORY = 200 << 20
LIST = b"y" * 900_000
CLIENTS, STREAMS = 14, 30
"""They would take nearly twice as much."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    folder: Path = tmp_path_factory.mktemp("e")
    async with running_edge(folder, max_heap_bytes=MEMORY) as running:
        await running.add(a_socket("open", identity_required=False))
        running.gateway.answer = answered
        yield running


def answered(request: Message) -> Answer:
    return Answer(body=LIST if "list" in request.target else b"ok")


async def allocated(edge: Edge) -> int:
    _, body = await ask(edge.settings.admin_socket, "/memory")
    return int(json.loads(body[body.index("{") : body.index("}") + 1])["allocated"])


async def test_who_holds_most_is_ended_and_everybody_else_is_served(edge: Edge) -> None:
    assert CLIENTS * STREAMS * len(LIST) > 1.8 * MEMORY
    async with AsyncExitStack() as clients, asyncio.timeout(25):  # less than they are kept
        streams = []
        for _ in range(CLIENTS):
            client = await Http2Client.connect(edge)
            clients.push_async_callback(client.close)
            asked = [await client.ask("GET", "/prefix-lists/list") for _ in range(STREAMS)]
            for stream in asked:
                await stream.answered.wait()
            # Envoy looks twenty times a second, and a flood in no time would be ahead of it.
            await asyncio.sleep(0.15)
            streams += asked
        for _ in range(20):  # a flood as fast as this may be ahead of Envoy for a moment
            served = {(await edge.get(GATEWAY, "/login")).status, (await edge.get("open")).status}
            if served == {200}:
                break
            await asyncio.sleep(0.1)
        assert served == {200}
        assert await allocated(edge) < MEMORY
        assert 0 < sum(stream.reset for stream in streams) < len(streams)
