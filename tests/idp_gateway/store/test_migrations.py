"""Migrations: models and head agree, starting at once is safe, everything can be undone."""

import dataclasses
import json
from datetime import timedelta
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlmodel import SQLModel

from idp_gateway.policy_records import PrefixListRecord
from idp_gateway.records import RevocationScope
from idp_gateway.store import Database, Store
from idp_gateway.store.migrate import alembic_config, upgrade
from idp_gateway.store.rules import list_heads
from tests.idp_gateway.store.test_revocations import fresh, issued, named, revocation
from tests.support.rows import NOW, certificate, owner_with_socket, race


def test_models_and_migrations_agree(store: Store) -> None:
    with store.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_gateways_that_start_at_once_migrate_once(database_url: str) -> None:
    def start() -> None:
        database = Database(database_url)
        with database.writing() as connection:
            upgrade(connection)
        database.close()

    assert race([start] * 3) == [None] * 3
    database = Database(database_url)
    assert Store(database).revision() == 0
    database.close()


def test_tunnels_outlive_the_migrations(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    tunnel = store.add_tunnel(owner.account_id, socket.socket_id, tunnel_id="t1", now=NOW)
    with store.database.writing() as connection:
        command.downgrade(alembic_config(connection), "0001")
    with store.database.writing() as connection:
        upgrade(connection)
    assert store.tunnels_of(socket.socket_id) == (tunnel,)


def test_the_history_of_a_list_that_is_there_begins_with_it(store: Store) -> None:
    owner, _ = owner_with_socket(store)
    office = PrefixListRecord(
        account_id=owner.account_id,
        name="office",
        prefixes=("192.0.2.0/24",),
        summary={"count": 1},
        source="list",
        updated_at=NOW,
        changed_by=owner.email,
        why="we moved",
    )
    store.put_prefix_list(office)
    with store.database.writing() as connection:
        command.downgrade(alembic_config(connection), "0006")
    with store.database.writing() as connection:
        upgrade(connection)
    assert store.prefix_lists_at(owner.account_id, ["office"], NOW) == (office,)


def test_the_networks_of_a_list_that_is_there_are_counted(store: Store) -> None:
    owner, _ = owner_with_socket(store)
    office = PrefixListRecord(
        account_id=owner.account_id,
        name="office",
        prefixes=("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"),
        summary={},
        source="list",
        updated_at=NOW,
        changed_by=owner.email,
        why="",
    )
    store.put_prefix_list(office)
    with store.database.writing() as connection:
        command.downgrade(alembic_config(connection), "0009")
        upgrade(connection)
        heads = list_heads(connection, owner.account_id, ["office"])
    assert heads == {"office": office.head}
    assert office.head.networks == 3


def test_whose_certificates_of_before_are_nobody_guesses(store: Store) -> None:
    kept = certificate(holder_issuer="https://idp.test", holder_subject="ann")
    store.record_certificate(kept)
    with store.database.writing() as connection:
        command.downgrade(alembic_config(connection), "0007")
    with store.database.writing() as connection:
        upgrade(connection)
    of_before = dataclasses.replace(kept, holder_issuer=None, holder_subject=None)
    assert store.find_certificate(kept.serial) == of_before


def test_who_is_blocked_is_carried_over_and_back(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    _, other = owner_with_socket(store)
    ann = revocation(socket)
    key = revocation(socket, scope=RevocationScope.KEY, value="SHA256:k")
    bob = revocation(socket, value="bob@corp.test")
    for one in (ann, key, bob):
        store.add_revocation(owner.account_id, one)
    store.lift_revocation(owner.account_id, socket.socket_id, bob.revocation_id, NOW)
    lists = "SELECT blocked_emails, blocked_keys FROM sockets WHERE socket_id = :id"

    with store.database.writing() as connection:
        command.downgrade(alembic_config(connection), "0008")
        rows = [
            connection.execute(text(lists), {"id": one.socket_id}).one() for one in (socket, other)
        ]
        assert [[_read(words) for words in row] for row in rows] == [
            [["ann@corp.test"], ["SHA256:k"]],
            [[], []],
        ]
        # Of before there might be somebody whose revocation nobody kept.
        unkept = "UPDATE sockets SET blocked_emails = :words WHERE socket_id = :id"
        words = '["ann@corp.test", "eve@corp.test"]'
        connection.execute(text(unkept), {"words": words, "id": socket.socket_id})
        upgrade(connection)

    expected = {"ann@corp.test", "eve@corp.test"}
    assert store.people_blocked([socket.socket_id, other.socket_id]) == {socket.socket_id: expected}
    assert store.blocks_key(socket.socket_id, "SHA256:k")
    standing = store.revocations_of(owner.account_id, socket.socket_id)
    assert len(standing) == 4
    assert {one.revocation_id for one in standing} >= {one.revocation_id for one in (ann, key, bob)}


def test_what_was_revoked_before_epochs_were_kept_stays_so(store: Store) -> None:
    """One that stands ends the epoch it is lifted in; of one that was lifted the time is known."""
    owner, socket = owner_with_socket(store)
    account, socket_id = owner.account_id, socket.socket_id
    people = ("ann@corp.test", "bob@corp.test")
    old = [issued(store, socket, subject=email) for email in people]
    ann, bob = (store.add_revocation(account, revocation(socket, value=one)) for one in people)
    store.lift_revocation(account, socket_id, bob.revocation_id, NOW)
    with store.database.writing() as connection:
        command.downgrade(alembic_config(connection), "0010")
        upgrade(connection)
    assert [one.ended_epoch for one in store.revocations_of(account, socket_id)] == [None, None]
    assert named(store, socket) == {one.serial for one in old}
    before = fresh(store, socket)
    issued(store, before, subject="bob@corp.test", issued_at=NOW + timedelta(seconds=1))

    store.lift_revocation(account, socket_id, ann.revocation_id, NOW)

    after = fresh(store, socket)
    assert after.epoch == before.epoch + 1
    issued(store, after, subject="ann@corp.test", issued_at=NOW - timedelta(minutes=1))
    assert named(store, socket) == {one.serial for one in old}


def _read(words: Any) -> Any:
    return json.loads(words) if isinstance(words, str) else words


def test_undoing_leaves_nothing_behind(store: Store) -> None:
    with store.database.writing() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert inspect(store.database.engine).get_table_names() == ["alembic_version"]
