"""Who is blocked is in rows of its own: found by socket, scope and value, however many stand."""

import pytest
from sqlalchemy import event, insert, text

from idp_gateway.errors import QuotaExceeded
from idp_gateway.records import RevocationScope, SocketRecord
from idp_gateway.store import Store, revocations
from idp_gateway.store.base import values_of
from idp_gateway.store.blocked import REVOCATIONS
from tests.idp_gateway.store.test_hosts import host
from tests.idp_gateway.store.test_revocations import revocation
from tests.support.rows import NOW, owner_with_socket

PERSON, KEY = RevocationScope.PERSON, RevocationScope.KEY


def stand(store: Store, socket: SocketRecord, count: int, scope: RevocationScope = PERSON) -> None:
    """Put many revocations into the table at once."""
    made = [
        values_of(revocation(socket, scope=scope, value=f"p{number}@corp.test"))
        for number in range(count)
    ]
    with store.database.writing() as connection:
        connection.execute(insert(REVOCATIONS), made)


def test_blocked_is_what_stands_on_this_socket_by_this_scope(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    _, other = owner_with_socket(store)
    ids = [socket.socket_id, other.socket_id]
    ann = store.add_revocation(owner.account_id, revocation(socket))
    store.add_revocation(owner.account_id, revocation(socket, scope=KEY, value="SHA256:k"))

    assert store.blocks_person(socket.socket_id, "ann@corp.test")
    assert not store.blocks_person(other.socket_id, "ann@corp.test")
    assert not store.blocks_person(socket.socket_id, "SHA256:k")
    assert store.blocks_key(socket.socket_id, "SHA256:k")
    assert not store.blocks_key(socket.socket_id, "ann@corp.test")
    assert store.sockets_blocking("ann@corp.test", ids) == {socket.socket_id}
    assert store.people_blocked(ids) == {socket.socket_id: {"ann@corp.test"}}

    store.lift_revocation(owner.account_id, socket.socket_id, ann.revocation_id, NOW)
    assert not store.blocks_person(socket.socket_id, "ann@corp.test")
    assert not store.sockets_blocking("ann@corp.test", ids)
    assert not store.people_blocked(ids)
    store.add_revocation(owner.account_id, revocation(socket))
    assert store.blocks_person(socket.socket_id, "ann@corp.test")


def test_the_row_of_a_socket_does_not_grow_with_who_is_blocked(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    for number in range(5):
        wanted = revocation(socket, value=f"p{number}@corp.test")
        store.add_revocation(owner.account_id, wanted)
    after = store.find_socket(socket.socket_id)
    assert after is not None
    assert values_of(after) == values_of(socket) | {"epoch": socket.epoch + 5}


@pytest.mark.parametrize("scope", [PERSON, KEY, RevocationScope.SOCKET])
def test_a_revocation_writes_as_little_whatever_stands(
    store: Store, scope: RevocationScope
) -> None:
    """No statement carries what else is revoked."""
    owner, socket = owner_with_socket(store)
    stand(store, socket, 500)
    written: list[int] = []

    def note(_connection: object, _cursor: object, _sql: str, values: object, *_: object) -> None:
        written.append(len(repr(values)))

    event.listen(store.database.engine, "before_cursor_execute", note)
    store.add_revocation(owner.account_id, revocation(socket, scope=scope, value="new@corp.test"))
    event.remove(store.database.engine, "before_cursor_execute", note)
    assert written
    assert sum(written) < 4000


@pytest.mark.parametrize("ready_url", ["sqlite"], indirect=True)
def test_what_stands_is_counted_and_looked_up_in_an_index(store: Store) -> None:
    """PostgreSQL plans by what is in the table."""
    _, socket = owner_with_socket(store)
    stand(store, socket, 10)
    among = "FROM revocations WHERE socket_id = 's' AND scope = 'person' AND lifted_at IS NULL"
    with store.database.reading() as connection:
        counted = connection.execute(text(f"EXPLAIN QUERY PLAN SELECT count(*) {among}")).all()
        found = connection.execute(
            text(f"EXPLAIN QUERY PLAN SELECT 1 {among} AND value = 'v'")
        ).all()
    assert "COVERING INDEX ix_revocations_standing" in str(counted)
    assert "INDEX ix_revocations_named (socket_id=? AND scope=? AND value=?)" in str(found)


def test_hosts_are_refused_by_the_key_that_is_blocked_and_by_too_many(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "MAX_STANDING", 3)
    monkeypatch.setattr("idp_gateway.store.hosts.MAX_STANDING", 3)
    owner, socket = owner_with_socket(store)
    stand(store, socket, 3)
    store.keep_host(owner.account_id, host(socket))
    stand(store, socket, 3, KEY)
    with pytest.raises(QuotaExceeded):
        store.keep_host(owner.account_id, host(socket))
