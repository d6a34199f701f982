"""The short way to the database gives and takes what the long one does, and is never stale."""

import dataclasses
from datetime import timedelta, timezone
from typing import Any

import pytest

from idp_gateway.records import CertificateRecord, DecisionRecord, LoginSessionRecord, SocketRecord
from idp_gateway.store import Store, quick
from idp_gateway.store.base import find_one
from idp_gateway.store.issuance import CERTIFICATES, DECISIONS
from idp_gateway.store.logins import SESSIONS
from idp_gateway.store.quick import Insertion, Lookup, Remembered, bytes_of
from idp_gateway.store.sockets import SOCKETS
from policy.types import Action, Effect
from tests.support import rows

ELSEWHERE = timezone(timedelta(hours=5, minutes=30))


def test_both_ways_read_the_same(store: Store) -> None:
    owner = rows.account()
    store.add_account(owner)
    made = rows.socket(owner, emails=("ann@corp.test",), tags={"a": "b"}, protected=True)
    with store.database.writing() as connection:
        Insertion(SocketRecord, SOCKETS, connection.dialect).run(connection, [made])
    lookup = Lookup(store.database, SocketRecord, SOCKETS, "dns_name")
    with store.database.reading() as connection:
        usual = find_one(connection, SocketRecord, SOCKETS, SOCKETS.c.socket_id == made.socket_id)
    assert lookup.find(made.dns_name) == usual == made
    assert lookup.find("nobody.edge.test") is None


def test_a_revocation_is_seen_by_the_next_look(store: Store) -> None:
    session = rows.login_session()
    store.add_login_session(session)
    lookup = Lookup(store.database, LoginSessionRecord, SESSIONS, "session_id")
    for _ in range(3):
        assert lookup.find(session.session_id) == session
    store.revoke_login_session(session.session_id, now=rows.NOW)
    found = lookup.find(session.session_id)
    assert found is not None
    assert found.revoked_at == rows.NOW


def test_what_is_inserted_the_short_way_is_read_the_long_way(store: Store) -> None:
    made = [
        rows.certificate(
            issued_at=rows.NOW.astimezone(ELSEWHERE) + timedelta(microseconds=7),
            proven=number % 2 == 0,
            log_index=number or None,
            body="x" * number,
        )
        for number in range(100)
    ]
    decision = DecisionRecord(
        decision_id="d",
        at=rows.NOW.astimezone(ELSEWHERE),
        effect=Effect.ALLOW,
        reasons=("email-allowed",),
        issuer="i",
        subject="s",
        email=None,
        socket_id="s",
        action=Action.SSH,
        source_ip="::1",
    )
    with store.database.writing() as connection:
        Insertion(CertificateRecord, CERTIFICATES, connection.dialect).run(connection, made)
        Insertion(DecisionRecord, DECISIONS, connection.dialect).run(connection, [decision])
        Insertion(DecisionRecord, DECISIONS, connection.dialect).run(connection, [])
    assert [store.find_certificate(one.serial) for one in made] == made
    assert store.find_decision("d") == decision


def test_a_row_in_a_transaction_that_was_undone_was_never_there(store: Store) -> None:
    made = rows.certificate()
    with store.database.engine.connect() as connection, connection.begin() as transaction:
        Insertion(CertificateRecord, CERTIFICATES, connection.dialect).run(connection, [made])
        transaction.rollback()
    assert store.find_certificate(made.serial) is None


def row_and_record(**changes: Any) -> tuple[tuple[Any, ...], SocketRecord]:
    record = dataclasses.replace(rows.socket(rows.account()), **changes)
    return dataclasses.astuple(record), record


def test_what_is_remembered_of_rows_is_bounded_whatever_their_size() -> None:
    known: Remembered[SocketRecord] = Remembered(64 << 10)
    made = [row_and_record(socket_id=str(number), description="x" * 4096) for number in range(50)]
    for row, record in made:
        known.keep(record.socket_id, row, record)
    kept = [record for row, record in made if known.find(record.socket_id, row) is record]
    assert kept == [record for _, record in made[-len(kept) :]]
    assert 2 <= len(kept) <= (64 << 10) // (2 * 4096)


def test_a_row_that_changes_again_and_again_takes_one_place() -> None:
    known: Remembered[SocketRecord] = Remembered(1 << 20)
    other_row, other = row_and_record(socket_id="other")
    known.keep("other", other_row, other)
    for epoch in range(1, 1000):
        known.keep("s", *row_and_record(socket_id="s", epoch=epoch))
    row, record = row_and_record(socket_id="s")
    known.keep("s", row, record)
    assert known.find("s", row) is record
    assert known.find("s", row_and_record(socket_id="s", epoch=7)[0]) is None
    assert known.find("other", other_row) is other


def test_a_row_that_would_push_out_most_others_is_not_kept() -> None:
    known: Remembered[SocketRecord] = Remembered(64 << 10)
    row, record = row_and_record(socket_id="s")
    known.keep("s", row, record)
    large_row, large = row_and_record(socket_id="l", emails=("ann@corp.test",) * 2000)
    known.keep("l", large_row, large)
    assert known.find("l", large_row) is None
    assert known.find("s", row) is record


@pytest.mark.parametrize("ready_url", ["sqlite"], indirect=True)  # there alone it is short
def test_a_look_up_reads_a_row_once_until_it_changes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, socket = rows.owner_with_socket(store)
    lookup = Lookup(store.database, SocketRecord, SOCKETS, "socket_id")
    first = lookup.find(socket.socket_id)
    assert lookup.find(socket.socket_id) is first
    monkeypatch.setattr(quick, "REMEMBERED_BYTES", 1)
    forgetful = Lookup(store.database, SocketRecord, SOCKETS, "socket_id")
    again = forgetful.find(socket.socket_id)
    assert again == first
    assert forgetful.find(socket.socket_id) is not again


def test_the_bytes_of_a_value_are_those_of_all_it_holds() -> None:
    large = "x" * 10_000
    for value in ((large,), [large], {"a": large}, {large: "a"}, (("b", large),)):
        assert 10_000 < bytes_of(value) < 11_000
