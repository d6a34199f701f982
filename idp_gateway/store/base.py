"""What the parts of the store share: rows to records and back, and the note of a change."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, insert, select

from idp_gateway.records import ChangeKind
from idp_gateway.store.database import Database
from idp_gateway.tables import Change, table_of

CHANGES = table_of(Change)

RecordType = TypeVar("RecordType")
Key = TypeVar("Key", str, int)

_LARGEST_SET = 500


class StorePart:
    """Base of the store's parts; holds the database and nothing else."""

    def __init__(self, database: Database) -> None:
        self.database = database


def _names(record_type: type[Any]) -> tuple[str, ...]:
    return tuple(record_type.__dataclass_fields__)


def values_of(record: Any) -> dict[str, Any]:
    """The record's fields by column name."""
    return {name: getattr(record, name) for name in _names(type(record))}


def columns_for(record_type: type[Any], table: Table) -> list[ColumnElement[Any]]:
    """The table's columns that make the record."""
    return [table.c[name] for name in _names(record_type)]


def find_one(
    connection: Connection,
    record_type: type[RecordType],
    table: Table,
    *where: ColumnElement[bool],
) -> RecordType | None:
    """The one row that matches, as its record."""
    query = select(*columns_for(record_type, table)).where(*where)
    row = connection.execute(query).mappings().first()
    return None if row is None else record_type(**row)


def find_all(
    connection: Connection,
    record_type: type[RecordType],
    table: Table,
    *where: ColumnElement[bool],
    order_by: Iterable[ColumnElement[Any]] = (),
) -> tuple[RecordType, ...]:
    """Every row that matches, as records."""
    query = select(*columns_for(record_type, table)).where(*where).order_by(*order_by)
    return tuple(record_type(**row) for row in connection.execute(query).mappings())


def note_change(
    connection: Connection, kind: ChangeKind, entity_ids: Iterable[str], now: datetime
) -> None:
    """Give out revisions for changed entities; call only inside ``Database.changing``."""
    rows = [{"kind": kind, "entity_id": entity_id, "at": now} for entity_id in entity_ids]
    if rows:
        connection.execute(insert(CHANGES), rows)


def in_parts(values: Iterable[Key]) -> Iterator[Sequence[Key]]:
    """The values, each once and sorted, in sets small enough for ``IN (…)`` in every database."""
    ordered = sorted(set(values))
    for start in range(0, len(ordered), _LARGEST_SET):
        yield ordered[start : start + _LARGEST_SET]
