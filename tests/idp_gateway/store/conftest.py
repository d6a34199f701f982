"""A migrated store on SQLite and on PostgreSQL: every test here runs on both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from idp_gateway.store import Database, Store
from idp_gateway.store.migrate import upgrade
from tests.support.postgres import Postgres, running_postgres


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


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    database = Database(database_url)
    with database.writing() as connection:
        upgrade(connection)
    yield Store(database)
    database.close()
