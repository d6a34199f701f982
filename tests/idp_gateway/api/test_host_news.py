"""Hosts that ask for news while their list takes its time, or ask the same many times."""

import asyncio
import threading
from typing import Any

import httpx
import pytest
from anyio import to_thread
from cryptography.hazmat.primitives.asymmetric import ed25519

from idp_gateway.composition import Gateway
from tests.idp_gateway.api.conftest import Person
from tests.idp_gateway.api.test_hosts import Server
from tests.idp_gateway.api.test_public_lists import slow_krls, visiting
from tests.idp_gateway.conftest import FixedClock

__all__ = ["slow_krls"]


@pytest.fixture
def server(api: httpx.Client, clock: FixedClock, tls_socket: dict[str, Any]) -> Server:
    return Server(api, clock, tls_socket, ed25519.Ed25519PrivateKey.generate())


async def test_a_host_that_waits_for_its_list_holds_no_thread_and_asks_once(
    owner: Person, server: Server, gateway: Gateway, slow_krls: tuple[threading.Event, ...]
) -> None:
    await asyncio.to_thread(server.enrol, owner)
    begun, go_on = slow_krls
    question = server.question()
    async with visiting(gateway) as client, asyncio.timeout(120):
        # One thread for all: whoever held it would keep everybody waiting.
        to_thread.current_default_thread_limiter().total_tokens = 1
        waiting = asyncio.create_task(client.post("/hosts/sync", json=question))
        assert await asyncio.to_thread(begun.wait, 60)
        assert (await client.get("/ca/log/key")).status_code == 200
        for again in (question, server.question()):
            refused = await client.post("/hosts/sync", json=again)
            assert (refused.status_code, refused.json()["reason"]) == (429, "too-many-attempts")
            assert refused.headers["retry-after"] == "5"
        assert not waiting.done()
        go_on.set()
        assert (await waiting).status_code == 200
        assert (await client.post("/hosts/sync", json=server.question())).status_code == 200


def test_a_question_is_answered_once_and_then_costs_next_to_nothing(
    owner: Person, server: Server, gateway: Gateway, api: httpx.Client, clock: FixedClock
) -> None:
    server.enrol(owner)
    question = server.question()
    assert api.post("/hosts/sync", json=question).status_code == 200
    seen = gateway.store.find_host(server.host_id)
    clock.advance(seconds=1)

    repeated = api.post("/hosts/sync", json=question)

    assert (repeated.status_code, repeated.json()["reason"]) == (409, "statement-repeated")
    assert gateway.store.find_host(server.host_id) == seen


def test_who_is_not_the_host_takes_no_turn_of_it(owner: Person, server: Server) -> None:
    server.enrol(owner)
    question = server.question()
    forged = server.question(signer=ed25519.Ed25519PrivateKey.generate())
    assert server.api.post("/hosts/sync", json=forged).status_code == 403
    assert server.api.post("/hosts/sync", json=question).status_code == 200


def test_a_question_that_found_no_answer_may_be_asked_again(
    owner: Person, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.enrol(owner)
    question = server.question()
    with monkeypatch.context() as busy:
        busy.setattr("idp_gateway.capacity.MOST_UNMADE", 0)
        refused = server.api.post("/hosts/sync", json=question)
    assert (refused.status_code, refused.json()["reason"]) == (503, "lists-busy")
    assert server.api.post("/hosts/sync", json=question).status_code == 200
