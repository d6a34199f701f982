"""Databases that are at today's schema from the start: migrating each anew took half the time.

The migrations themselves are tested where they are (``test_migrations``), from nothing and back.
"""

import atexit
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from idp_gateway.store.database import Database
from idp_gateway.store.migrate import upgrade
from tests.support.postgres import Postgres


def place_sqlite(path: Path) -> Path:
    """Put a migrated, otherwise empty database file there, if there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(_sqlite(), path)
        path.chmod(0o600)
    return path


def migrate(database_url: str) -> str:
    """Bring the database to today's schema; its address."""
    database = Database(database_url)
    with database.writing() as connection:
        upgrade(connection)
    database.close()
    return database_url


def new_postgres(server: Postgres) -> str:
    """Make a migrated, otherwise empty database; its address."""
    return server.new_database(template=_template(server))


@cache
def _sqlite() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ready-database-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "gateway.db"
    migrate(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@cache
def _template(server: Postgres) -> str:
    return migrate(server.new_database()).partition("@/")[2].partition("?")[0]
