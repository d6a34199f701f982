"""One engine, two kinds of transaction, for SQLite and PostgreSQL alike.

Reading sees one consistent state of everything. Writing is durable when it returns: SQLite runs in
WAL mode with ``synchronous=FULL`` (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from idp_gateway.account_turns import MOST_AT_ONCE, AccountTurns

_WRITE_OPTION = "mysocket_write"
_CHANGE_LOCK = 0x6D79736F636B  # any fixed number of ours: "mysock"
_BUSY_MILLISECONDS = 10_000
_WAL_PAUSE_SECONDS = 0.01
_LONGEST_WORDS = 500


DatabaseFailure = (SQLAlchemyError, sqlite3.Error)
"""What asking the database raises when it is the database that fails; some statements go to
SQLite's driver at once."""
DatabaseUnavailable = (
    InterfaceError,
    InternalError,
    OperationalError,
    PoolTimeout,
    sqlite3.OperationalError,
)
"""Of these what may be over soon: it is away, locked, full, or takes no write. Whatever else it
says is our mistake."""


def words_of(failure: Exception) -> str:
    """What the database said, in one line, and without the statement: that holds secrets."""
    said = failure.orig if isinstance(failure, DBAPIError) else failure
    return f"{type(said).__name__}: {' '.join(str(said).split())}"[:_LONGEST_WORDS]


class Database:
    """The connection pool and the rules of its transactions."""

    def __init__(self, url: str, *, turns: AccountTurns | None = None) -> None:
        """Open a database by its SQLAlchemy address; nothing is connected or created yet. With
        ``turns`` each account has one change at a time that may take long.

        ``sqlite:///path`` and ``postgresql://…`` (driver psycopg) are what is tested.
        """
        self.url = make_url(url)
        if self.url.drivername == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._listeners: list[Callable[[], None]] = []
        # SQLite waits for a lock by polling with growing pauses; our own threads queue here.
        self._writers = threading.Lock()
        self.turns = turns
        self._rows = threading.Lock()
        self._row_reader: sqlite3.Connection | None = None
        self.engine = self._open_sqlite() if self.is_sqlite else self._open_postgresql()
        self._writing = self.engine.execution_options(**{_WRITE_OPTION: True})
        self._reading = (
            self.engine
            if self.is_sqlite
            else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )

    def _open_sqlite(self) -> Engine:
        if self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(self.url, pool_size=8, max_overflow=40)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _open_postgresql(self) -> Engine:
        return create_engine(self.url, pool_size=8, max_overflow=40, pool_pre_ping=True)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every commit that gave out a revision; it must not block."""
        self._listeners.append(listener)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with self._reading.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed and durable on leaving the block without an error."""
        if not self.is_sqlite:
            with self._writing.begin() as connection:
                yield connection
            return
        with self._writers, self._writing.begin() as connection:
            yield connection

    def turn_of(self, whose: str, *, most: int = MOST_AT_ONCE) -> AbstractContextManager[None]:
        """The turn at what may take long: an account's, or one beside it for what is not to wait
        with the account's own changes.

        Raises:
            TooManyAttempts: ``most`` have this turn or wait for it already.
        """
        return nullcontext() if self.turns is None else self.turns.turn(whose, most=most)

    @contextmanager
    def changing_of(self, whose: str, *, most: int = MOST_AT_ONCE) -> Iterator[Connection]:
        """As ``changing``, in somebody's turn: others who write wait for one such transaction of
        theirs at most.

        Raises:
            TooManyAttempts: as ``turn_of``.
        """
        with self.turn_of(whose, most=most), self.changing() as connection:
            yield connection

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """As ``writing``, for what edges must learn of: one such transaction at a time.

        On PostgreSQL an advisory lock makes revisions appear in their order, so that a reader who
        has seen revision n has seen all before it.
        """
        with self.writing() as connection:
            if not self.is_sqlite:
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CHANGE_LOCK}
                )
            yield connection
        for listener in self._listeners:
            listener()

    def read_row(self, query: str, *values: str) -> tuple[Any, ...] | None:
        """The first row that a query with some values finds, as SQLite's driver gives it.

        A transaction of its own, in a few microseconds; for SQLite only.
        """
        with self._rows:
            if self._row_reader is None:
                self._row_reader = sqlite3.connect(
                    str(self.url.database), isolation_level=None, check_same_thread=False
                )
                _prepare_sqlite(self._row_reader, None)
            row: tuple[Any, ...] | None = self._row_reader.execute(query, values).fetchone()
        return row

    def close(self) -> None:
        """Give every connection back."""
        with self._rows:
            if self._row_reader is not None:
                self._row_reader.close()
                self._row_reader = None
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry | None) -> None:
    # The driver's own transaction control would begin too late; _begin_sqlite does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    _use_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switch a fresh file to WAL. Unlike statements, the switch does not wait for its lock while
    another process opens the same new file, so ask again.
    """
    deadline = time.monotonic() + _BUSY_MILLISECONDS / 1000
    while cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_WAL_PAUSE_SECONDS)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITE_OPTION)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
