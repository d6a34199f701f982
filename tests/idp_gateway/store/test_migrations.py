"""Migrations: models and head agree, starting at once is safe, everything can be undone."""

import dataclasses

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlmodel import SQLModel

from idp_gateway.policy_records import PrefixListRecord
from idp_gateway.store import Database, Store
from idp_gateway.store.migrate import alembic_config, upgrade
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


def test_whose_certificates_of_before_are_nobody_guesses(store: Store) -> None:
    kept = certificate(holder_issuer="https://idp.test", holder_subject="ann")
    store.record_certificate(kept)
    with store.database.writing() as connection:
        command.downgrade(alembic_config(connection), "0007")
    with store.database.writing() as connection:
        upgrade(connection)
    of_before = dataclasses.replace(kept, holder_issuer=None, holder_subject=None)
    assert store.find_certificate(kept.serial) == of_before


def test_undoing_leaves_nothing_behind(store: Store) -> None:
    with store.database.writing() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert inspect(store.database.engine).get_table_names() == ["alembic_version"]
