"""Sockets, tunnels and their ports, on both databases."""

from datetime import timedelta
from typing import Any

import pytest

from idp_gateway.errors import Conflict, NameTaken, NotFound, PortsExhausted, QuotaExceeded
from idp_gateway.records import ChangeKind, SocketRecord, SocketSessionRecord
from idp_gateway.store import Store, sockets
from policy.types import SocketType
from tests.support.rows import NOW, PORTS, account, login_session, owner_with_socket, race, socket


def test_a_socket_comes_back_as_it_was_kept(store: Store) -> None:
    owner, kept = owner_with_socket(
        store,
        emails=("a@b.test", "c@d.test"),
        domains=("corp.test",),
        tags={"name": "web", "ünï": "✓"},
        protected=True,
        protected_username="u",
        protected_password="p",
        description="x" * 3000,
    )
    assert store.get_socket(owner.account_id, kept.socket_id) == kept
    assert store.find_socket(kept.socket_id) == kept
    assert store.find_socket_by_dns_name(kept.dns_name) == kept
    assert store.sockets_of(owner.account_id) == (kept,)
    assert kept.port is None


def test_a_foreign_socket_and_an_unknown_one_are_told_apart_by_nothing(store: Store) -> None:
    _, kept = owner_with_socket(store)
    stranger, _ = owner_with_socket(store)
    answers: list[str] = []
    for socket_id in (kept.socket_id, "no-such"):
        for call in (
            lambda s: store.get_socket(stranger.account_id, s),
            lambda s: store.update_socket(
                stranger.account_id, s, {"name": "x"}, bump_epoch=True, ports=PORTS, now=NOW
            ),
            lambda s: store.delete_socket(stranger.account_id, s, NOW),
            lambda s: store.add_tunnel(stranger.account_id, s, tunnel_id="t", now=NOW),
            lambda s: store.get_tunnel(stranger.account_id, s, "t"),
        ):
            with pytest.raises(NotFound) as caught:
                call(socket_id)
            answers.append(f"{caught.value.reason} {caught.value.message}")
    assert len(set(answers)) == 1
    assert store.find_socket(kept.socket_id) == kept


def test_a_name_is_given_once(store: Store) -> None:
    owner, kept = owner_with_socket(store)
    with pytest.raises(NameTaken):
        store.add_socket(socket(owner, dns_name=kept.dns_name), ports=PORTS)
    with pytest.raises(Conflict):
        store.add_socket(socket(owner, socket_id=kept.socket_id), ports=PORTS)
    assert store.sockets_of(owner.account_id) == (kept,)


def test_ports_run_out_and_come_back(store: Store) -> None:
    owner = account()
    store.add_account(owner)
    made = [store.add_socket(socket(owner, socket_type=SocketType.TCP), ports=PORTS) for _ in PORTS]
    assert sorted(str(one.port) for one in made) == [str(port) for port in PORTS]
    with pytest.raises(PortsExhausted):
        store.add_socket(socket(owner, socket_type=SocketType.TLS), ports=PORTS)
    assert len(store.sockets_of(owner.account_id)) == len(PORTS)
    store.delete_socket(owner.account_id, made[3].socket_id, NOW)
    again = store.add_socket(socket(owner, socket_type=SocketType.TLS), ports=PORTS)
    assert again.port == made[3].port


def test_racing_sockets_never_share_a_port(store: Store) -> None:
    owner = account()
    store.add_account(owner)

    def add() -> SocketRecord:
        return store.add_socket(socket(owner, socket_type=SocketType.TCP), ports=PORTS)

    results: list[Any] = race([add] * (len(PORTS) + 2))
    ports = [one.port for one in results if isinstance(one, SocketRecord)]
    assert sorted(ports) == list(PORTS)
    failed = [one for one in results if not isinstance(one, SocketRecord)]
    assert [type(error) for error in failed] == [PortsExhausted] * 2


def test_racing_sockets_never_share_a_name(store: Store) -> None:
    owner = account()
    store.add_account(owner)
    wanted = [socket(owner, dns_name="same-name-1.edge.test") for _ in range(4)]
    results = race([lambda s=one: store.add_socket(s, ports=PORTS) for one in wanted])
    assert sum(isinstance(one, SocketRecord) for one in results) == 1
    assert sum(isinstance(one, NameTaken) for one in results) == 3


def test_a_change_is_kept_and_bumps_the_epoch_only_when_told(store: Store) -> None:
    owner, kept = owner_with_socket(store)
    renamed = store.update_socket(
        owner.account_id, kept.socket_id, {"name": "new"}, bump_epoch=False, ports=PORTS, now=NOW
    )
    assert (renamed.name, renamed.epoch) == ("new", 1)
    opened = store.update_socket(
        owner.account_id,
        kept.socket_id,
        {"emails": ("a@b.test",)},
        bump_epoch=True,
        ports=PORTS,
        now=NOW,
    )
    assert (opened.emails, opened.epoch) == (("a@b.test",), 2)
    assert store.find_socket(kept.socket_id) == opened


def test_racing_changes_all_count_in_the_epoch(store: Store) -> None:
    owner, kept = owner_with_socket(store)

    def change() -> SocketRecord:
        return store.update_socket(
            owner.account_id, kept.socket_id, {}, bump_epoch=True, ports=PORTS, now=NOW
        )

    epochs = [one.epoch for one in race([change] * 6)]
    assert sorted(epochs) == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("field", ["socket_id", "account_id", "epoch", "port", "created_at"])
def test_what_a_socket_is_cannot_be_changed(store: Store, field: str) -> None:
    owner, kept = owner_with_socket(store)
    with pytest.raises(ValueError, match=field):
        store.update_socket(
            owner.account_id, kept.socket_id, {field: 1}, bump_epoch=False, ports=PORTS, now=NOW
        )


def test_deleting_a_socket_takes_everything_below_with_it(store: Store) -> None:
    owner, kept = owner_with_socket(store)
    tunnel = store.add_tunnel(owner.account_id, kept.socket_id, tunnel_id="t1", now=NOW)
    session = login_session()
    store.add_login_session(session)
    store.add_socket_session(
        SocketSessionRecord(
            socket_session_id="sid",
            socket_id=kept.socket_id,
            session_id=session.session_id,
            created_at=NOW,
            expires_at=NOW + timedelta(hours=1),
        )
    )
    before = store.revision()
    store.delete_socket(owner.account_id, kept.socket_id, NOW)
    assert store.find_socket(kept.socket_id) is None
    assert store.tunnels_of(kept.socket_id) == ()
    assert store.find_socket_session("sid") is None
    told = {(change.kind, change.entity_id) for change in store.changes_since(before)}
    assert told == {
        (ChangeKind.SOCKET, kept.socket_id),
        (ChangeKind.TUNNEL, tunnel.tunnel_id),
    }


def test_a_first_tunnel_comes_with_its_socket_or_not_at_all(store: Store) -> None:
    owner = account()
    store.add_account(owner)
    one = store.add_socket(socket(owner), ports=PORTS, tunnel_id="t1")
    assert [tunnel.tunnel_id for tunnel in store.tunnels_of(one.socket_id)] == ["t1"]
    with pytest.raises(Conflict):
        store.add_socket(socket(owner), ports=PORTS, tunnel_id="t1")
    assert store.sockets_of(owner.account_id) == (one,)


def test_tunnels_have_ports_of_their_own(store: Store) -> None:
    owner, kept = owner_with_socket(store)

    def add(tunnel_id: str) -> Any:
        return store.add_tunnel(owner.account_id, kept.socket_id, tunnel_id=tunnel_id, now=NOW)

    made = race([lambda n=number: add(f"t{n}") for number in range(8)])
    assert len({tunnel.local_port for tunnel in made}) == 8
    assert len(store.tunnels_of(kept.socket_id)) == 8
    store.delete_tunnel(owner.account_id, kept.socket_id, "t3", NOW)
    with pytest.raises(NotFound) as caught:
        store.get_tunnel(owner.account_id, kept.socket_id, "t3")
    assert caught.value.reason == "tunnel-unknown"


def test_a_tunnel_has_a_port_no_other_of_its_account_has(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "LOCAL_PORTS", range(5000, 5003))
    owner, kept = owner_with_socket(store)
    second = store.add_socket(socket(owner), ports=PORTS, tunnel_id="t0")
    for name in ("t1", "t2"):
        store.add_tunnel(owner.account_id, kept.socket_id, tunnel_id=name, now=NOW)
    mine = store.tunnels_of(kept.socket_id, second.socket_id)
    assert {tunnel.local_port for tunnel in mine} == {5000, 5001, 5002}
    with pytest.raises(PortsExhausted):
        store.add_tunnel(owner.account_id, kept.socket_id, tunnel_id="t3", now=NOW)
    # Somebody else has all of them too: nobody can use them up for others.
    other, theirs = owner_with_socket(store)
    for name in ("u1", "u2", "u3"):
        store.add_tunnel(other.account_id, theirs.socket_id, tunnel_id=name, now=NOW)
    assert len(store.tunnels_of(theirs.socket_id)) == 3


def test_limits_hold_in_a_race(store: Store) -> None:
    owner, kept = owner_with_socket(store)
    stranger, _ = owner_with_socket(store)

    def add() -> Any:
        return store.add_socket(socket(owner), ports=PORTS, limit=3)

    made = race([add] * 6)
    assert [type(one) for one in made].count(QuotaExceeded) == 4
    assert len(store.sockets_of(owner.account_id)) == 3
    store.add_socket(socket(stranger), ports=PORTS, limit=3)

    def add_tunnel(name: str) -> Any:
        return store.add_tunnel(owner.account_id, kept.socket_id, tunnel_id=name, limit=2, now=NOW)

    made = race([lambda n=name: add_tunnel(n) for name in "abcd"])
    assert [type(one) for one in made].count(QuotaExceeded) == 2
    assert len(store.tunnels_of(kept.socket_id)) == 2
