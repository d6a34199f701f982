"""The short way to the database gives and takes what the long one does, and is never stale."""

from datetime import timedelta, timezone

from idp_gateway.records import CertificateRecord, DecisionRecord, LoginSessionRecord, SocketRecord
from idp_gateway.store import Store
from idp_gateway.store.base import find_one
from idp_gateway.store.issuance import CERTIFICATES, DECISIONS
from idp_gateway.store.logins import SESSIONS
from idp_gateway.store.quick import Insertion, Lookup
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
