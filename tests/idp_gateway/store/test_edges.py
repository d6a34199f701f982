"""Revisions and the feed's rows, on both databases."""

from datetime import datetime, timedelta

from idp_gateway.records import AccountRecord, ChangeKind, SocketRecord, TunnelReportRecord
from idp_gateway.store import Store
from tests.support.rows import NOW, PORTS, account, owner_with_socket, race, socket

BEFORE = NOW - timedelta(seconds=1)


def test_every_change_has_a_revision_of_its_own_and_in_order(store: Store) -> None:
    owner = account()
    store.add_account(owner)
    wanted = [socket(owner) for _ in range(12)]
    race([lambda s=one: store.add_socket(s, ports=PORTS) for one in wanted])
    changes = store.changes_since(0)
    assert [change.revision for change in changes] == sorted(
        {change.revision for change in changes}
    )
    assert len(changes) == 13
    assert store.revision() == changes[-1].revision
    assert store.changes_since(store.revision()) == ()


def test_a_reader_who_saw_a_revision_saw_all_before_it(store: Store) -> None:
    owner = account()
    store.add_account(owner)
    seen: list[tuple[int, int]] = []

    def read() -> None:
        for _ in range(30):
            rows = store.read_feed(None)
            seen.append((rows.revision, len(rows.sockets)))

    wanted = [socket(owner) for _ in range(10)]
    race([read, read, *[lambda s=one: store.add_socket(s, ports=PORTS) for one in wanted]])
    first = store.changes_since(0)[0].revision
    # One revision per socket: a look that shows n sockets must be at the n-th of them.
    order = [change.revision for change in store.changes_since(0)]
    assert order[0] == first
    for revision, sockets in seen:
        assert order.index(revision) == sockets


def test_a_failed_change_leaves_no_revision(store: Store) -> None:
    owner, kept = owner_with_socket(store)
    before = store.revision()
    assert race([lambda: store.add_socket(socket(owner, dns_name=kept.dns_name), ports=PORTS)])
    assert store.revision() == before


def test_a_partial_look_has_what_changed_and_only_that(store: Store) -> None:
    owner, untouched = owner_with_socket(store)
    changed = store.add_socket(socket(owner), ports=PORTS, tunnel_id="t1")
    gone = store.add_socket(socket(owner), ports=PORTS)
    since = store.revision()
    store.update_socket(
        owner.account_id, changed.socket_id, {"name": "n"}, bump_epoch=True, ports=PORTS, now=NOW
    )
    store.delete_socket(owner.account_id, gone.socket_id, NOW)
    store.set_account_ssh_key(owner.account_id, "ssh-ed25519 AAAA", NOW)
    rows = store.read_feed(since)
    assert not rows.complete
    assert [(one.socket_id, one.epoch) for one in rows.sockets] == [(changed.socket_id, 2)]
    assert rows.tunnels == ()
    assert [one.ssh_key for one in rows.accounts] == ["ssh-ed25519 AAAA"]
    assert {change.entity_id for change in rows.changes} == {
        changed.socket_id,
        gone.socket_id,
        owner.account_id,
    }
    whole = store.read_feed(None)
    assert {one.socket_id for one in whole.sockets} == {untouched.socket_id, changed.socket_id}
    assert [one.account_id for one in whole.tunnels] == [owner.account_id]


def test_trust_gets_a_revision_only_when_it_differs(store: Store) -> None:
    store.note_trust("a", NOW)
    store.note_trust("a", NOW)
    store.note_trust("b", NOW)
    kinds = [(change.kind, change.entity_id) for change in store.changes_since(0)]
    assert kinds == [(ChangeKind.TRUST, "a"), (ChangeKind.TRUST, "b")]


def test_forgetting_old_changes_keeps_counting(store: Store) -> None:
    store.note_trust("a", NOW)
    owner, kept = owner_with_socket(store)
    newest = store.revision()
    store.forget_changes(NOW)
    assert len(store.changes_since(0)) == 3
    store.forget_changes(NOW + timedelta(days=1))
    assert [change.kind for change in store.changes_since(0)] == [
        ChangeKind.TRUST,
        ChangeKind.SOCKET,
    ]
    assert store.revision() == newest
    store.delete_socket(owner.account_id, kept.socket_id, NOW)
    assert store.revision() == newest + 1


def test_listeners_hear_of_changes_and_of_nothing_else(store: Store) -> None:
    heard: list[int] = []
    store.database.on_change(lambda: heard.append(store.revision()))
    store.record_failure("a", NOW)
    assert heard == []
    owner_with_socket(store)
    assert heard == [1, 2]


def test_the_last_acknowledgement_of_an_edge_counts(store: Store) -> None:
    store.note_sockets([f"s{at}" for at in range(7)], NOW)
    newest = store.revision()
    assert store.acknowledge("e1", newest - 2, NOW) == newest - 2
    store.acknowledge("e1", newest, NOW)
    store.acknowledge("e2", 1, NOW)
    known = [(edge.edge_id, edge.acked_revision) for edge in store.edges()]
    assert known == [("e1", newest), ("e2", 1)]
    assert store.acknowledge("e2", newest + 1, NOW) == 0


def _report(edge: str, tunnel_id: str, at: datetime = NOW) -> TunnelReportRecord:
    return TunnelReportRecord(
        tunnel_id=tunnel_id, edge_id=edge, connected_at=at, peer="192.0.2.1", seen_at=at
    )


def _reported(store: Store, socket_id: str, since: datetime) -> set[tuple[str, str]]:
    found = store.tunnel_reports_of([socket_id], since=since)
    return {(one.edge_id, one.tunnel_id) for one in found}


def _socket_with_tunnels(store: Store, *tunnel_ids: str) -> tuple[AccountRecord, SocketRecord]:
    owner, kept = owner_with_socket(store)
    for name in tunnel_ids:
        store.add_tunnel(owner.account_id, kept.socket_id, tunnel_id=name, now=NOW)
    return owner, kept


def test_a_report_replaces_the_last_one_and_leaves_unknown_tunnels_out(store: Store) -> None:
    owner, kept = _socket_with_tunnels(store, "t1", "t2")
    store.report_tunnels("e1", [_report("e1", name) for name in ("t1", "t2", "no-such")])
    store.report_tunnels("e2", [_report("e2", "t1")])
    store.report_tunnels("e1", [_report("e1", "t2")])
    assert _reported(store, kept.socket_id, BEFORE) == {("e1", "t2"), ("e2", "t1")}
    assert _reported(store, "other", BEFORE) == set()
    store.delete_socket(owner.account_id, kept.socket_id, NOW)
    assert _reported(store, kept.socket_id, BEFORE) == set()


def test_a_report_of_changes_leaves_the_rest_as_it_is(store: Store) -> None:
    _, kept = _socket_with_tunnels(store, "t1", "t2", "t3")
    store.report_tunnels("e1", [_report("e1", "t1"), _report("e1", "t2")])
    store.report_tunnels("e2", [_report("e2", "t1")])
    later = NOW + timedelta(seconds=40)
    changed = [_report("e1", name, later) for name in ("t2", "t3", "no-such")]
    store.report_changes("e1", changed=changed, gone=["t1", "never-there"])
    assert _reported(store, kept.socket_id, BEFORE) == {("e1", "t2"), ("e1", "t3"), ("e2", "t1")}
    assert _reported(store, kept.socket_id, NOW) == {("e1", "t2"), ("e1", "t3")}
