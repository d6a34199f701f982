"""The feed: snapshot, deltas whose digests an edge can check, heartbeats, acknowledgements."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from idp_gateway import feed as feed_module
from idp_gateway.ca_generations import SSH_TUNNEL
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.feed import Feed
from idp_gateway.feed_state import FeedState
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.rotation import Step
from idp_gateway.settings import Settings
from policy.types import SocketType
from tests.idp_gateway.conftest import FixedClock
from tests.support import rows

ID_OF = {"sockets": "socket_id", "tunnels": "tunnel_id", "tunnel_users": "user_name"}


class FakeEdge:
    """What an edge does with the lines, written from the contract alone."""

    def __init__(
        self, gateway: Gateway, name: str | None = "e1", since: int = 0, digest: str = ""
    ) -> None:
        self.lines: AsyncIterator[bytes] = gateway.feed.stream(since, name, digest)
        self.state: dict[str, Any] = {}
        self.revision, self.digest = since, digest
        self.seen: list[str] = []

    def follow(self, feed: Feed, name: str = "e1") -> None:
        """From now on."""
        self.lines = feed.stream(self.revision, name, self.digest)

    @property
    def late(self) -> tuple[str, ...]:
        """The sockets whose rules are told to be of before."""
        sockets = self.state["sockets"].items()
        return tuple(key for key, one in sockets if "rules_wanted" in one)

    async def next(self) -> dict[str, Any]:
        line = await asyncio.wait_for(anext(self.lines), 10)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        message: dict[str, Any] = json.loads(line)
        self.seen.append(message["type"])
        self._apply(message)
        return message

    def _apply(self, message: dict[str, Any]) -> None:
        if message["type"] == "heartbeat":
            assert message["revision"] == self.revision
            return
        if message["type"] == "snapshot":
            self.state = message["state"]
        else:
            assert message["base"] == self.revision
            for section, key in ID_OF.items():
                for gone in message["remove"][section]:
                    del self.state[section][gone]
                for entity in message["upsert"][section]:
                    self.state[section][entity[key]] = entity
            self.state["trust"] = message["trust"] or self.state["trust"]
        text = json.dumps(self.state, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == message["digest"]
        self.revision, self.digest = message["revision"], message["digest"]


def fill(gateway: Gateway) -> tuple[AccountRecord, SocketRecord]:
    owner = rows.account(ssh_key="ssh-ed25519 AAAA")
    gateway.store.add_account(owner)
    socket = rows.socket(
        owner,
        name='Ünï "quoted" \\ ✓',
        protected=True,
        protected_username="u",
        protected_password="p",
        upstream_http_hostname="inner.test",
    )
    return owner, gateway.store.add_socket(socket, ports=rows.PORTS, tunnel_id="t1")


async def test_a_new_edge_is_told_everything(gateway: Gateway) -> None:
    owner, socket = fill(gateway)
    edge = FakeEdge(gateway)
    assert (await edge.next())["type"] == "snapshot"
    assert edge.revision == gateway.store.revision()
    assert edge.state["sockets"] == {
        socket.socket_id: {
            "socket_id": socket.socket_id,
            "dns_name": socket.dns_name,
            "name": socket.name,
            "socket_type": "http",
            "ports": [8080, 8443],
            "epoch": 1,
            "identity_required": False,
            "basic_auth": {"username": "u", "password": "p"},
            "upstream_http_hostname": "inner.test",
        }
    }
    (tunnel,) = edge.state["tunnels"].values()
    assert (tunnel["tunnel_id"], tunnel["user_name"]) == ("t1", owner.user_name)
    assert edge.state["tunnel_users"] == {
        owner.user_name: {
            "user_name": owner.user_name,
            "public_keys": ["ssh-ed25519 AAAA"],
            "generation": 1,
        }
    }
    trust = edge.state["trust"]
    assert trust["issuer"] == gateway.settings.base_url
    assert "d" not in trust["session_jwks"]["keys"][0]
    assert trust["client_ca"].count("BEGIN CERTIFICATE") == 1


async def test_changes_arrive_as_deltas_that_add_up(gateway: Gateway) -> None:
    owner, socket = fill(gateway)
    edge = FakeEdge(gateway)
    await edge.next()
    store = gateway.store
    store.update_socket(
        owner.account_id,
        socket.socket_id,
        {"emails": ("a@b.test",)},
        bump_epoch=True,
        ports=rows.PORTS,
        now=rows.NOW,
    )
    delta = await edge.next()
    assert delta["type"] == "delta"
    assert [one["epoch"] for one in delta["upsert"]["sockets"]] == [2]
    assert delta["upsert"]["tunnels"] == []
    assert delta["trust"] is None
    tcp = store.add_socket(rows.socket(owner, socket_type=SocketType.TCP), ports=rows.PORTS)
    store.set_account_ssh_key(owner.account_id, "", rows.NOW)
    while edge.revision < store.revision():
        await edge.next()
    assert edge.state["sockets"][tcp.socket_id]["ports"] == [tcp.port]
    assert edge.state["tunnel_users"][owner.user_name]["public_keys"] == []
    store.delete_socket(owner.account_id, socket.socket_id, rows.NOW)
    while edge.revision < store.revision():
        await edge.next()
    assert set(edge.state["sockets"]) == {tcp.socket_id}
    assert edge.state["tunnels"] == {}
    assert edge.seen.count("snapshot") == 1


async def test_something_made_and_removed_between_two_looks_is_only_removed(
    gateway: Gateway,
) -> None:
    owner, _ = fill(gateway)
    edge = FakeEdge(gateway)
    await edge.next()
    passing = gateway.store.add_socket(rows.socket(owner), ports=rows.PORTS)
    gateway.store.delete_socket(owner.account_id, passing.socket_id, rows.NOW)
    base = edge.revision
    line = json.loads(await anext(edge.lines))
    assert line["base"] == base
    assert line["remove"]["sockets"] == [passing.socket_id]
    assert line["upsert"]["sockets"] == []


async def test_an_edge_that_returns_gets_what_it_missed(gateway: Gateway) -> None:
    owner, _ = fill(gateway)
    edge = FakeEdge(gateway)
    await edge.next()
    await edge.lines.aclose()  # type: ignore[attr-defined]
    gateway.store.add_socket(rows.socket(owner), ports=rows.PORTS)
    again = FakeEdge(gateway, since=edge.revision, digest=edge.digest)
    again.state = edge.state
    assert (await again.next())["type"] == "delta"
    assert len(again.state["sockets"]) == 2


@pytest.mark.parametrize("since", [1, 10_000])
async def test_an_edge_from_another_time_gets_a_snapshot(gateway: Gateway, since: int) -> None:
    fill(gateway)
    await FakeEdge(gateway).next()
    gateway.feed._oldest = gateway.store.revision()
    edge = FakeEdge(gateway, since=since)
    assert (await edge.next())["type"] == "snapshot"


async def test_after_a_restart_the_gateway_answers_with_a_snapshot_or_nothing_new(
    gateway: Gateway, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(gateway)
    edge = FakeEdge(gateway)
    await edge.next()
    again = build_gateway(gateway.settings, clock=clock)
    behind = FakeEdge(again, since=edge.revision - 1, digest=edge.digest)
    assert (await behind.next())["type"] == "snapshot"
    # At its revision, but with what another gateway told of it.
    other = FakeEdge(again, since=edge.revision, digest="0" * 64)
    assert (await other.next())["type"] == "snapshot"
    monkeypatch.setattr(feed_module, "HEARTBEAT_SECONDS", 0.1)
    same = FakeEdge(again, since=edge.revision, digest=edge.digest)
    assert (await same.next())["type"] == "heartbeat"
    again.close()


async def test_after_a_long_pause_forgotten_changes_are_not_missed(gateway: Gateway) -> None:
    owner, socket = fill(gateway)
    edge = FakeEdge(gateway)
    await edge.next()
    await edge.lines.aclose()  # type: ignore[attr-defined]
    gateway.store.delete_socket(owner.account_id, socket.socket_id, rows.NOW)
    gateway.store.add_socket(rows.socket(owner), ports=rows.PORTS)
    gateway.store.forget_changes(rows.NOW + timedelta(days=8))
    gateway.feed._refreshed_at -= 8 * 24 * 3600
    again = FakeEdge(gateway, since=edge.revision)
    assert (await again.next())["type"] == "snapshot"
    assert socket.socket_id not in again.state["sockets"]


@pytest.mark.parametrize("failing", ["read_feed", "revision"])
async def test_a_look_that_fails_is_taken_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    owner, socket = fill(gateway)
    passing = gateway.store.add_socket(rows.socket(owner), ports=rows.PORTS)
    gateway.store.delete_socket(owner.account_id, passing.socket_id, rows.NOW)
    # Only the last change is remembered, as after a week: a partial look would lack the socket.
    gateway.store.forget_changes(rows.NOW + timedelta(days=8))
    if failing == "revision":
        await FakeEdge(gateway).next()
        gateway.store.set_account_ssh_key(owner.account_id, "", rows.NOW)
    real, failures = getattr(gateway.store, failing), iter([OSError("disk")])

    def fail_once(*args: Any) -> Any:
        for failure in failures:
            raise failure
        return real(*args)

    monkeypatch.setattr(gateway.store, failing, fail_once)
    with pytest.raises(OSError, match="disk"):
        await FakeEdge(gateway).next()
    edge = FakeEdge(gateway)
    assert (await edge.next())["type"] == "snapshot"
    assert set(edge.state["sockets"]) == {socket.socket_id}
    gateway.store.delete_socket(owner.account_id, socket.socket_id, rows.NOW)
    while edge.revision < gateway.store.revision():
        await edge.next()
    assert edge.state["sockets"] == {}


async def test_a_state_applied_half_is_read_anew(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, socket = fill(gateway)
    await FakeEdge(gateway).next()
    gateway.store.set_account_ssh_key(owner.account_id, "", rows.NOW)
    with monkeypatch.context() as broken:
        broken.setattr(FeedState, "digest", lambda _state: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await FakeEdge(gateway).next()
    edge = FakeEdge(gateway)
    assert (await edge.next())["type"] == "snapshot"
    assert set(edge.state["sockets"]) == {socket.socket_id}
    assert gateway.feed._oldest == gateway.store.revision()


async def test_revision_0_is_always_answered_with_a_snapshot(
    gateway: Gateway,
) -> None:
    fill(gateway)
    await FakeEdge(gateway).next()
    gateway.feed._oldest = 0
    assert (await FakeEdge(gateway).next())["type"] == "snapshot"


async def test_changes_of_another_gateway_are_found(gateway: Gateway, clock: FixedClock) -> None:
    other = build_gateway(gateway.settings, clock=clock)
    edge = FakeEdge(gateway)
    await edge.next()
    _, socket = fill(other)
    while socket.socket_id not in edge.state["sockets"]:
        await edge.next()
    other.close()


async def test_other_ports_in_the_settings_reach_edges(gateway: Gateway, clock: FixedClock) -> None:
    fill(gateway)
    before = gateway.store.revision()
    same = build_gateway(gateway.settings, clock=clock)
    assert same.store.revision() == before
    same.close()
    settings = Settings(state_dir=gateway.settings.state_dir, https_port=9443)
    moved = build_gateway(settings, clock=clock)
    assert moved.store.revision() > before
    moved.close()


async def test_a_writer_waits_for_the_edges_that_are_connected(gateway: Gateway) -> None:
    fill(gateway)
    edge, silent = FakeEdge(gateway), FakeEdge(gateway, name=None)
    await edge.next()
    await silent.next()
    revision = edge.revision
    wait = asyncio.create_task(gateway.feed.serving.wait_until_acknowledged(revision, 30))
    assert not await gateway.feed.serving.wait_until_acknowledged(revision, 0.01)
    await asyncio.to_thread(gateway.feed.serving.acknowledge, "e1", revision - 1)
    assert not wait.done()
    await asyncio.to_thread(gateway.feed.serving.acknowledge, "e1", revision)
    assert await asyncio.wait_for(wait, 10)
    assert await gateway.feed.serving.settled(0.01)
    assert [edge.acked_revision for edge in gateway.store.edges()] == [revision]


async def test_a_change_is_not_in_force_while_a_silent_edge_may_serve_what_was_before(
    gateway: Gateway, clock: FixedClock
) -> None:
    owner, _ = fill(gateway)
    gateway.feed.serving.acknowledge("e1", gateway.store.revision())
    assert await gateway.feed.serving.settled(30)
    gateway.store.set_account_ssh_key(owner.account_id, "", rows.NOW)
    # Alive, but connected to another gateway: its acknowledgement comes by the database.
    wait = asyncio.create_task(gateway.feed.serving.settled(30))
    assert not await gateway.feed.serving.settled(0.01)
    gateway.store.acknowledge("e1", gateway.store.revision(), clock())
    assert await asyncio.wait_for(wait, 10)
    gateway.store.set_account_ssh_key(owner.account_id, "ssh-ed25519 AAAA", rows.NOW)
    clock.advance(seconds=90)
    assert not await asyncio.wait_for(gateway.feed.serving.settled(30), 10)
    clock.advance(hours=24)
    assert await gateway.feed.serving.settled(0.01)


async def test_a_writer_does_not_wait_for_an_edge_that_leaves(gateway: Gateway) -> None:
    edge = FakeEdge(gateway)
    await edge.next()
    wait = asyncio.create_task(gateway.feed.serving.wait_until_acknowledged(edge.revision, 30))
    await asyncio.sleep(0.05)
    await edge.lines.aclose()  # type: ignore[attr-defined]
    assert await asyncio.wait_for(wait, 10)


async def test_with_no_edge_connected_nobody_waits(gateway: Gateway) -> None:
    fill(gateway)
    assert await asyncio.wait_for(gateway.feed.serving.settled(30), 10)


async def test_closing_ends_streams_and_waits(gateway: Gateway) -> None:
    edge = FakeEdge(gateway)
    await edge.next()
    wait = asyncio.create_task(gateway.feed.serving.wait_until_acknowledged(10**6, 60))
    await asyncio.sleep(0.05)
    gateway.feed.close()
    async with asyncio.timeout(10):
        assert [line async for line in edge.lines] == []
        assert not await wait


async def test_edges_hear_of_keys_that_another_gateway_publishes(
    gateway: Gateway, clock: FixedClock
) -> None:
    edge = FakeEdge(gateway)
    await edge.next()
    other = build_gateway(gateway.settings, clock=clock)
    old = edge.state["trust"]
    for step in (Step.PREPARE, Step.PUBLISH):
        other.rotation.take(SSH_TUNNEL, step)
    while edge.state["trust"]["tunnel_user_ca"] == old["tunnel_user_ca"]:
        await edge.next()
    assert edge.state["trust"]["tunnel_user_ca"] == list(other.authority.tunnel_user_ca)

    gateway.feed.serving.acknowledge("e1", 1)
    assert [one.name for one in other.rotation.standing(SSH_TUNNEL).awaited] == ["e1"]
    gateway.feed.serving.acknowledge("e1", edge.revision)
    other.rotation.take(SSH_TUNNEL, Step.ACTIVATE)
    clock.advance(minutes=15)
    other.rotation.take(SSH_TUNNEL, Step.RETIRE)
    while edge.state["trust"]["tunnel_user_ca_past"] == []:
        await edge.next()
    assert edge.state["trust"]["tunnel_user_ca_past"] == old["tunnel_user_ca"]
    other.close()
