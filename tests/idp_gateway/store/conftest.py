"""A migrated store on SQLite and on PostgreSQL: every test here runs on both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from idp_gateway.store import Database, Store
from tests.support.postgres import Postgres, running_postgres
from tests.support.ready_database import new_postgres, place_sqlite


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def ready_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database at today's schema."""
    if request.param == "sqlite":
        return f"sqlite:///{place_sqlite(tmp_path / 'gateway.db')}"
    return new_postgres(request.getfixturevalue("postgres"))


@pytest.fixture
def store(ready_url: str) -> Iterator[Store]:
    database = Database(ready_url)
    yield Store(database)
    database.close()
