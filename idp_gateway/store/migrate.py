"""Brings the database to the schema of this version, one gateway at a time."""

from functools import cache

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from idp_gateway.settings import Settings
from idp_gateway.store.database import Database

SCRIPTS = "idp_gateway:migrations"
_LOCK = 0x6D79736F636C


def migrate(settings: Settings) -> None:
    """Apply every migration that is missing; all of them or none."""
    database = Database(settings.database_url)
    try:
        with database.writing() as connection:
            upgrade(connection)
    finally:
        database.close()


def upgrade(connection: Connection) -> None:
    """As ``migrate``, inside a transaction that is open."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    if MigrationContext.configure(connection).get_current_heads() != (_newest(),):
        command.upgrade(alembic_config(connection), "head")


@cache
def _newest() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings for one connection; there is no ``alembic.ini``."""
    config = _config()
    config.attributes["connection"] = connection
    return config


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    return config
