"""SQLite's own rules, where PostgreSQL has nothing to be told."""

from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from idp_gateway.store import Database, Store
from tests.support.rows import account


def test_sqlite_is_durable_and_keeps_references(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'deep' / 'gateway.db'}")
    with database.reading() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }
    database.close()


def test_a_time_without_a_zone_is_not_stored(store: Store) -> None:
    naive = datetime(2026, 11, 23, 12)  # noqa: DTZ001 - the wrong thing, on purpose
    with pytest.raises((ValueError, StatementError)):
        store.add_account(account(created_at=naive))
    assert store.accounts() == ()


def test_a_plain_postgresql_address_means_our_driver() -> None:
    database = Database("postgresql://user@/name?host=/nowhere")
    assert database.url.drivername == "postgresql+psycopg"
    assert not database.is_sqlite
    database.close()
