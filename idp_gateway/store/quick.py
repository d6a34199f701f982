"""The hottest statements, straight to SQLite's driver: one row read, many rows inserted.

SQLAlchemy's own way costs ten times the query where a row is found by its key. Columns are still
converted by their own types, so both ways give and take the same values. Nothing is remembered but
how a row reads: every call asks the database, and sees what was committed before it.
"""

import sqlite3
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Select,
    Table,
    bindparam,
    insert,
    literal_column,
    select,
)

from idp_gateway.store.base import columns_for, find_one
from idp_gateway.store.database import Database

RecordType = TypeVar("RecordType")

REMEMBERED_BYTES = 16 << 20
"""What one look-up remembers of rows and of the records made of them, in all."""
_ROWS_AT_ONCE = 32
"""Of one statement; SQLite allows 999 values and more."""

_Conversion = Callable[[Any], Any]


class Remembered(Generic[RecordType]):
    """How the rows found last read, one for each value: a row that changed takes its own place.

    So many bytes in all; what has been here longest goes first, and one that would take a quarter
    of the room is not kept. Safe in any thread.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[tuple[Any, ...], RecordType, int]] = OrderedDict()

    def find(self, value: str, row: tuple[Any, ...]) -> RecordType | None:
        """The record of exactly this row."""
        known = self._known.get(value)
        return known[1] if known is not None and known[0] == row else None

    def keep(self, value: str, row: tuple[Any, ...], record: RecordType) -> None:
        """Remember a row and its record, in the place of what the value found before."""
        size = bytes_of(row) + sum(bytes_of(getattr(record, name)) for name in _names_of(record))
        with self._lock:
            self._drop(value)
            if size > self._most // 4:
                return
            self._known[value] = (row, record, size)
            self._bytes += size
            while self._bytes > self._most:
                self._drop(next(iter(self._known)))

    def _drop(self, value: str) -> None:
        known = self._known.pop(value, None)
        if known is not None:
            self._bytes -= known[2]


def bytes_of(value: Any) -> int:
    """Memory that a value of a row or a record takes, with all that it holds."""
    if isinstance(value, Mapping):
        inner = sum(bytes_of(key) + bytes_of(one) for key, one in value.items())
    elif isinstance(value, tuple | list):
        inner = sum(map(bytes_of, value))
    else:
        inner = 0
    return sys.getsizeof(value) + inner


def _names_of(record: Any) -> tuple[str, ...]:
    return tuple(record.__dataclass_fields__)


class Lookup(Generic[RecordType]):
    """Finds one row of a table by the value of one unique column of text."""

    def __init__(
        self, database: Database, record_type: type[RecordType], table: Table, column: str
    ) -> None:
        self._database = database
        self._record_type = record_type
        self._table = table
        self._column = table.c[column]
        dialect = database.engine.dialect
        columns = columns_for(record_type, table)
        query = select(*columns).where(self._column == bindparam("value"))
        self._query = str(query.compile(dialect=dialect))
        self._names = tuple(record_type.__dataclass_fields__)  # type: ignore[attr-defined]
        self._conversions = [
            (place, conversion)
            for place, one in enumerate(columns)
            if (conversion := one.type.dialect_impl(dialect).result_processor(dialect, None))
        ]
        self._known: Remembered[RecordType] = Remembered(REMEMBERED_BYTES)

    def find(self, value: str) -> RecordType | None:
        """The row as its record, as it is committed now."""
        if not self._database.is_sqlite:
            with self._database.reading() as connection:
                return find_one(connection, self._record_type, self._table, self._column == value)
        row = self._database.read_row(self._query, value)
        if row is None:
            return None
        known = self._known.find(value, row)
        if known is None:
            known = self._read(row)
            self._known.keep(value, row, known)
        return known

    def _read(self, row: tuple[Any, ...]) -> RecordType:
        values = list(row)
        for place, conversion in self._conversions:
            values[place] = conversion(values[place])
        return self._record_type(**dict(zip(self._names, values, strict=True)))


class Presence:
    """Whether a table has a row with some values of text columns, among those that ``where`` says.

    Without values ``where`` needs: its text has to be the whole of it.
    """

    def __init__(
        self,
        database: Database,
        table: Table,
        columns: Sequence[str],
        where: ColumnElement[bool],
    ) -> None:
        self._database = database
        self._columns = columns
        matching = [table.c[name] == bindparam(name) for name in columns]
        self._statement: Select[Any] = (
            select(literal_column("1")).select_from(table).where(*matching, where)
        )
        self._query = str(self._statement.compile(dialect=database.engine.dialect))

    def find(self, *values: str) -> bool:
        """Whether there is one, as it is committed now; the values in the order of the columns."""
        if self._database.is_sqlite:
            return self._database.read_row(self._query, *values) is not None
        with self._database.reading() as connection:
            given = dict(zip(self._columns, values, strict=True))
            return connection.execute(self._statement, given).first() is not None


class Insertion:
    """Inserts many records at once; the driver is let go of once for dozens of them."""

    def __init__(self, record_type: type[Any], table: Table, dialect: Dialect) -> None:
        self._table = table
        self._names = tuple(record_type.__dataclass_fields__)
        self._values = attrgetter(*self._names)
        self._conversions = [
            (place, conversion)
            for place, name in enumerate(self._names)
            if (conversion := table.c[name].type.dialect_impl(dialect).bind_processor(dialect))
        ]
        columns = ", ".join(self._names)
        self._head = f"INSERT INTO {table.name} ({columns}) VALUES "  # noqa: S608 - our own names
        self._row = f"({', '.join('?' * len(self._names))})"
        self._is_sqlite = dialect.name == "sqlite"

    def run(self, connection: Connection, records: Sequence[Any]) -> None:
        """Insert them all.

        Raises:
            sqlalchemy.exc.IntegrityError: PostgreSQL; of SQLite ``sqlite3.IntegrityError``.
        """
        if not records:
            return
        rows = [list(self._values(record)) for record in records]
        if not self._is_sqlite:
            names = self._names
            connection.execute(
                insert(self._table), [dict(zip(names, row, strict=True)) for row in rows]
            )
            return
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - the dialect says so
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            statement = self._head + ",".join([self._row] * len(part))
            driver.execute(statement, [value for row in part for value in self._bound(row)])

    def _bound(self, row: list[Any]) -> list[Any]:
        for place, conversion in self._conversions:
            row[place] = conversion(row[place])
        return row
