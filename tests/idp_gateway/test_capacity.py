"""Nobody waits behind others: changes an edge never serves, and passwords being guessed."""

import asyncio
import threading
import time
from collections.abc import Callable

import httpx
import pytest
from anyio import CapacityLimiter

from ca.errors import SignerBusyError
from idp_gateway import accounts, capacity
from idp_gateway.app import create_app
from idp_gateway.composition import Gateway
from idp_gateway.in_force import IN_FORCE_HEADER
from idp_gateway.problems import status_of
from idp_gateway.providers.local import local_identity
from idp_gateway.sessions import begin_session, login_life
from tests.support import rows

WRITERS = 60
QUICK_SECONDS = 10
"""Far less than all those in front of one would take, even on a slow machine."""


def asked(gateway: Gateway) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=create_app(gateway))
    return httpx.AsyncClient(transport=transport, base_url=gateway.settings.base_url, timeout=120)


def token_of(gateway: Gateway) -> str:
    owner = rows.account()
    gateway.store.add_account(owner)
    identity = local_identity(owner, issuer=gateway.settings.base_url, now=gateway.clock())
    _, session = begin_session(
        gateway.store, identity, life=login_life(gateway.settings), now=gateway.clock()
    )
    return gateway.tokens.api_token(
        account_id=owner.account_id,
        email=owner.email,
        session_id=session.session_id,
        expires_at=session.expires_at,
    )


async def question(client: httpx.AsyncClient, gateway: Gateway) -> int:
    headers = {
        "host": "no-such-1000.edge.localhost",
        "x-mysocket-edge-key": gateway.edge_key.decode(),
        "x-forwarded-for": "192.0.2.1",
    }
    return (await client.get("/internal/authorize/", headers=headers)).status_code


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in threads
        await asyncio.sleep(0.01)


async def test_writers_that_wait_for_an_edge_keep_no_visitor_waiting(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"x-access-token": token_of(gateway)}
    lines = gateway.feed.stream(0, "never-acknowledges")
    await anext(lines)
    waits = gateway.feed.serving.wait_until_acknowledged

    async def patiently(revision: int, _timeout: float = 0) -> bool:
        return await waits(revision, 120)

    monkeypatch.setattr(gateway.feed.serving, "wait_until_acknowledged", patiently)
    async with asked(gateway) as client, asyncio.timeout(120):
        body = {"name": "s"}
        writers = [
            asyncio.create_task(client.post("/socket", json=body, headers=headers))
            for _ in range(WRITERS)
        ]
        await until(lambda: len(gateway.feed.serving._writers) == WRITERS)
        begun = time.monotonic()
        assert await question(client, gateway) == 404
        assert (await client.get("/socket", headers=headers)).status_code == 200
        assert time.monotonic() - begun < QUICK_SECONDS
        assert not any(writer.done() for writer in writers)
        gateway.feed.close()
        replies = await asyncio.gather(*writers)
    assert {reply.headers[IN_FORCE_HEADER] for reply in replies} == {"false"}


async def test_guesses_keep_no_visitor_waiting_and_are_checked_a_few_at_a_time(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, lock, checking, most = threading.Event(), threading.Lock(), [0], [0]

    def slowly(_password: str, _hash: str | None) -> bool:
        with lock:
            checking[0] += 1
            most[0] = max(most[0], checking[0])
        assert gate.wait(60)
        with lock:
            checking[0] -= 1
        return False

    monkeypatch.setattr(accounts, "check_password", slowly)
    headers = {"x-access-token": token_of(gateway)}
    async with asked(gateway) as client, asyncio.timeout(120):
        guesses = [
            asyncio.create_task(
                client.post("/login", json={"email": f"a{number}@b.test", "password": "p"})
            )
            for number in range(WRITERS)
        ]
        await until(lambda: checking[0] == capacity.PASSWORDS)
        begun = time.monotonic()
        assert await question(client, gateway) == 404
        assert (await client.get("/socket", headers=headers)).status_code == 200
        assert time.monotonic() - begun < QUICK_SECONDS
        gate.set()
        statuses = {reply.status_code for reply in await asyncio.gather(*guesses)}
    assert statuses <= {401, 429}
    assert most[0] == capacity.PASSWORDS


async def test_past_those_who_wait_to_be_signed_the_signer_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capacity, "MOST_UNSIGNED", 1)
    limiter, signed = CapacityLimiter(1), threading.Event()
    waiting = [asyncio.create_task(capacity.sign_in_thread(limiter, signed.wait)) for _ in range(2)]
    await until(lambda: limiter.statistics().tasks_waiting == 1)

    with pytest.raises(SignerBusyError) as caught:
        await capacity.sign_in_thread(limiter, signed.wait)

    assert status_of(caught.value) == 503
    signed.set()
    assert await asyncio.gather(*waiting) == [True, True]
