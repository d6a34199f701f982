"""The addresses an edge lets in, while somebody is let in for a while and when that is over."""

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from idp_gateway import server, upkeep
from idp_gateway.composition import Gateway
from idp_gateway.policy_records import PolicyRecord
from idp_gateway.records import SocketRecord
from idp_gateway.store.ends import CLOCKS_APART
from idp_gateway.store.policies import Author
from policy.types import Action, SocketType
from tests.idp_gateway.conftest import FixedClock
from tests.idp_gateway.test_feed import FakeEdge
from tests.support.requests import ask, guest_of, owner_person, person
from tests.support.rows import NOW, PORTS, owner_with_socket

OFFICE = "192.0.2.0/24"
DOCUMENT = (
    '{"action":["tls"],"condition":{"where":{"allowed_ip":["192.0.2.0/24"]},'
    '"who":{"domain":["corp.test"]}},"version":"v2"}'
)
RULE = {"allow": [OFFICE], "deny": []}


@pytest.fixture(params=["approval", "guest"])
def socket(request: pytest.FixtureRequest, gateway: Gateway) -> SocketRecord:
    """A socket for an office, to which somebody is let in from anywhere, for an hour."""
    store = gateway.store
    owner, made = owner_with_socket(
        store, socket_type=SocketType.TLS, cloud_authentication_enabled=True
    )
    policy = PolicyRecord(
        policy_id="office",
        account_id=owner.account_id,
        name="office",
        description="",
        document=DOCUMENT,
        org_wide=True,
        created_at=NOW,
        updated_at=NOW,
    )
    store.add_policy(policy, Author(email=owner.email, at=NOW))
    ann = person("ann", issuer=gateway.settings.base_url, provider="local")
    if request.param == "guest":
        guest = store.add_guest(guest_of(made), owner_person(owner), limit=9)
        store.claim_guest(guest.code_hash, ann, NOW)
    else:
        asked = ask(store, ann, made, action=Action.TLS).request_id
        store.approve_access_request(asked, owner_person(owner), minutes=60, note="", now=NOW)
    return made


def rule_of(edge: FakeEdge, socket: SocketRecord) -> Any:
    return edge.state["sockets"][socket.socket_id].get("source_rule")


async def test_addresses_are_closed_again_when_it_is_over(
    gateway: Gateway, clock: FixedClock, socket: SocketRecord
) -> None:
    edge = FakeEdge(gateway)
    await edge.next()
    assert rule_of(edge, socket) is None
    clock.advance(hours=1)
    upkeep.follow_time(gateway)
    await edge.next()
    assert rule_of(edge, socket) == RULE
    told = gateway.store.revision()
    upkeep.follow_time(gateway)
    assert gateway.store.revision() == told


async def test_they_are_closed_though_a_gateways_clock_is_ahead(
    gateway: Gateway, clock: FixedClock, socket: SocketRecord
) -> None:
    """It notes the end while this one, which tells the edge, still lets somebody in."""
    edge = FakeEdge(gateway)
    await edge.next()
    clock.advance(minutes=59, seconds=40)
    ahead = clock() + CLOCKS_APART
    assert gateway.store.renew_after_ends(ahead - timedelta(days=1), ahead) == (socket.socket_id,)
    await edge.next()
    assert rule_of(edge, socket) is None
    for seconds in (20, 30):
        clock.advance(seconds=seconds)
        upkeep.follow_time(gateway)
    await edge.next()
    assert rule_of(edge, socket) == RULE
    told = gateway.store.revision()
    clock.advance(minutes=5)
    upkeep.follow_time(gateway)
    assert gateway.store.revision() == told


async def test_a_change_of_something_else_closes_them_as_well(
    gateway: Gateway, clock: FixedClock, socket: SocketRecord
) -> None:
    """No number in the socket's row tells that the rules, which are remembered, are others now."""
    edge = FakeEdge(gateway)
    await edge.next()
    clock.advance(hours=1)
    gateway.store.update_socket(
        *(socket.account_id, socket.socket_id, {"name": "new"}),
        bump_epoch=False,
        ports=PORTS,
        now=clock(),
    )
    await edge.next()
    assert rule_of(edge, socket) == RULE


async def test_a_gateway_that_serves_looks_by_itself(
    gateway: Gateway, clock: FixedClock, socket: SocketRecord
) -> None:
    edge = FakeEdge(gateway)
    await edge.next()
    clock.advance(hours=1)

    class Serving:
        async def serve(self, sockets: object) -> None:
            while rule_of(edge, socket) != RULE:
                await edge.next()

    async with asyncio.timeout(10):
        await server._run(cast("server._Server", Serving()), gateway, [])
