"""Several tunnels of one HTTP socket, through the real Envoy: they cover for each other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.envoy import Edge, a_socket, running_edge
from tests.support.tiny_http import Answer, Message, Pair

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    folder: Path = tmp_path_factory.mktemp("e")
    async with running_edge(folder) as running:
        yield running


async def test_a_dead_tunnel_is_passed_over(edge: Edge) -> None:
    await edge.add(a_socket("pair", identity_required=False))
    edge.endpoints["pair"] = (str(edge.folder / "gone.sock"), *edge.endpoints["pair"])
    await edge.apply()
    for _ in range(6):
        assert (await edge.get("pair")).status == 200
    edge.endpoints["pair"] = (str(edge.folder / "gone.sock"),)
    await edge.apply()
    assert (await edge.get("pair")).status >= 500


def hang_up(_: Message) -> Answer:
    """As a tunnel whose far end is gone: it took the connection, and the request."""
    raise ConnectionResetError


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_a_tunnel_that_ends_before_it_answers_is_passed_over(edge: Edge, method: str) -> None:
    name = f"dying-{method.lower()}"
    dying = await edge.add(a_socket(name, identity_required=False), answer=hang_up)
    alive = await edge.origin(f"{name}-2")
    edge.endpoints[name] = (str(dying.path), str(alive.path))
    await edge.apply()
    for _ in range(6):
        assert (await edge.get(name, method=method)).status == 200
    assert len(alive.requests) == 6
    assert dying.requests


@pytest.mark.parametrize(
    "headers", [(), (("connection", "upgrade"), ("upgrade", "websocket"))], ids=["get", "websocket"]
)
async def test_one_tunnel_is_asked_once(edge: Edge, headers: tuple[Pair, ...]) -> None:
    name = f"lone-{len(headers)}"
    dying = await edge.add(a_socket(name, identity_required=False), answer=hang_up)
    assert (await edge.get(name, "/", *headers)).status == 502
    assert len(dying.requests) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_one_of_three_tunnels_is_enough(edge: Edge, method: str) -> None:
    name = f"last-{method.lower()}"
    alive = await edge.add(a_socket(name, identity_required=False))
    gone = [str(edge.folder / f"gone-{at}.sock") for at in range(2)]
    edge.endpoints[name] = (gone[0], str(alive.path), gone[1])
    await edge.apply()
    assert [(await edge.get(name, method=method)).status for _ in range(9)] == [200] * 9


async def test_each_of_three_tunnels_is_asked_once(edge: Edge) -> None:
    dying = await edge.add(a_socket("three", identity_required=False), answer=hang_up)
    others = [await edge.origin(f"three-{at}", answer=hang_up) for at in range(2)]
    edge.endpoints["three"] = tuple(str(one.path) for one in (dying, *others))
    await edge.apply()
    assert (await edge.get("three")).status == 502
    assert [len(one.requests) for one in (dying, *others)] == [1, 1, 1]


async def test_no_websocket_is_opened_twice(edge: Edge) -> None:
    dying = await edge.add(a_socket("ws", identity_required=False), answer=hang_up)
    other = await edge.origin("ws-2", answer=hang_up)
    edge.endpoints["ws"] = (str(dying.path), str(other.path))
    await edge.apply()
    upgrade = ("connection", "upgrade"), ("upgrade", "websocket")
    assert (await edge.get("ws", "/", *upgrade)).status == 502
    assert len(dying.requests) + len(other.requests) == 1


async def test_what_may_have_been_carried_out_is_not_sent_again(edge: Edge) -> None:
    dying = await edge.add(a_socket("posted", identity_required=False), answer=hang_up)
    alive = await edge.origin("posted-2")
    edge.endpoints["posted"] = (str(dying.path), str(alive.path))
    await edge.apply()
    answers = [(await edge.get("posted", method="POST", body=b"pay")).status for _ in range(6)]
    assert sorted(answers) == [200] * 3 + [502] * 3
    assert (len(dying.requests), len(alive.requests)) == (3, 3)


async def test_several_tunnels_share_the_load(edge: Edge) -> None:
    first = await edge.add(a_socket("many", identity_required=False))
    second = await edge.origin("many-2")
    edge.endpoints["many"] = (str(first.path), str(second.path))
    await edge.apply()
    for _ in range(6):
        await edge.get("many")
    assert (len(first.requests), len(second.requests)) == (3, 3)
