"""An approval that ends while rules with it are being made does not outlive its end at edges."""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta

from idp_gateway.address_rules import AddressRules, RememberedRules
from idp_gateway.composition import Gateway
from idp_gateway.feed import Feed
from idp_gateway.policy_records import PolicyRecord
from idp_gateway.records import SocketRecord
from idp_gateway.store.policies import Author
from policy.types import SocketType
from tests.idp_gateway.conftest import FixedClock
from tests.idp_gateway.test_feed import FakeEdge
from tests.support import rows
from tests.support.requests import ask, owner_person, person
from tests.support.rows import owner_with_socket

ANN = person("ann")
OFFICE = {
    "version": "v2",
    "action": ["tls"],
    "condition": {"who": {"email": ["a@b.test"]}, "where": {"allowed_ip": ["192.0.2.0/24"]}},
}


async def test_what_ended_while_rules_were_made_is_told(
    gateway: Gateway, clock: FixedClock
) -> None:
    gateway.rules._temporary.issuers["okta"] = "https://idp.test"
    store, remembered = gateway.store, RememberedRules(gateway.rules)
    gate, begun, slow = threading.Event(), threading.Event(), False

    def make(sockets: Sequence[SocketRecord]) -> Mapping[str, AddressRules]:
        found = remembered(sockets)
        begun.set()
        assert not slow or gate.wait(20)
        return found

    feed = Feed(
        store=store, trust=gateway.trust, http_ports=(80,), clock=clock, address_rules=make,
    )  # fmt: skip
    fields = {"socket_type": SocketType.TLS, "cloud_authentication_enabled": True}
    owner, socket = owner_with_socket(store, **fields)
    policy = PolicyRecord(
        policy_id="p", account_id=owner.account_id, name="p", description="",
        document=json.dumps(OFFICE), org_wide=True, created_at=clock(), updated_at=clock(),
    )  # fmt: skip
    store.add_policy(policy, Author(email=owner.email, why="", at=clock()))
    request_id, by = ask(store, ANN, socket).request_id, owner_person(owner)
    store.approve_access_request(request_id, by, minutes=60, note="", now=clock())
    edge = FakeEdge(gateway)
    edge.follow(feed)

    async def told() -> Mapping[str, list[str]] | None:
        async with asyncio.timeout(5):
            while edge.revision < store.revision():
                await edge.next()
        rule: Mapping[str, list[str]] | None = edge.state["sockets"][socket.socket_id].get(
            "source_rule"
        )
        return rule

    assert await told() is None  # whoever is approved comes from anywhere
    slow = True
    begun.clear()
    clock.advance(minutes=59, seconds=58)
    store.update_socket(
        owner.account_id, socket.socket_id, {"name": "other"},
        bump_epoch=True, ports=rows.PORTS, now=clock(),
    )  # fmt: skip
    assert await told() is None
    assert await asyncio.to_thread(begun.wait, 5)
    clock.advance(seconds=4)
    gate.set()
    async with asyncio.timeout(5):
        while feed._rules._pending:
            await told()
            await asyncio.sleep(0.01)
    store.renew_after_ends(clock() - timedelta(days=7), clock())
    async with asyncio.timeout(5):
        while (rule := await told()) is None:
            await edge.next()
    assert rule["allow"] == ["192.0.2.0/24"]
    feed.close()
