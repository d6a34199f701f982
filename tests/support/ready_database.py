"""Databases that are at today's schema from the start, and a gateway's state with all its keys.

Migrating and making keys anew for each test took most of the time. The migrations themselves are
tested where they are (``test_migrations``), from nothing and back; first starts in ``test_main``.
"""

import atexit
import shutil
import sqlite3
import tempfile
from contextlib import closing
from datetime import datetime
from functools import cache
from pathlib import Path

from idp_gateway.composition import build_gateway
from idp_gateway.settings import Settings
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


def place_state(state: Path, at: datetime) -> None:
    """Make a state directory as a gateway with default settings leaves it that began at ``at``."""
    shutil.copytree(_state(at), state)


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
    path = _folder() / "gateway.db"
    migrate(f"sqlite:///{path}")
    _whole(path)
    return path


@cache
def _state(at: datetime) -> Path:
    state = _folder() / "state"
    place_sqlite(state / "gateway.db")
    build_gateway(Settings(state_dir=state), clock=lambda: at).close()
    _whole(state / "gateway.db")
    return state


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ready-database-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _whole(database: Path) -> None:
    """Bring everything into the one file."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@cache
def _template(server: Postgres) -> str:
    return migrate(server.new_database()).partition("@/")[2].partition("?")[0]
