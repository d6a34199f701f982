"""Room in histories: what is not in force makes it for what comes, the oldest first, after a day.

A change that keeps somebody out must not wait for a year to pass, and nobody hides what they just
did by doing more of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Table, Text, cast, delete, func, not_, select

from idp_gateway.errors import QuotaExceeded
from idp_gateway.store.base import in_parts

NOT_PUSHED_OUT = timedelta(days=1)
"""How old an entry is before a newer one may take its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Rows of a table that are bounded together."""

    table: Table
    where: Sequence[ColumnElement[bool]]
    keep: ColumnElement[bool]
    """Those that are in force: they never go. There always is room for half a limit beside them,
    so that however many there are, all of it can be changed."""

    def make_room(self, connection: Connection, at: datetime, *, limit: int) -> None:
        """Remove what must go so that one more may come, of ``limit`` entries.

        Raises:
            QuotaExceeded: that would remove what is of the last day.
        """
        entries = self._count(connection)
        if entries < limit:
            return
        surplus = entries + 1 - max(limit, self._count(connection, self.keep) + limit // 2)
        if surplus <= 0:
            return
        entry = self.table.c.entry_id
        old = self.table.c.at <= at - NOT_PUSHED_OUT
        query = select(entry).where(*self.where, old, not_(self.keep))
        oldest = connection.execute(query.order_by(entry).limit(surplus)).scalars().all()
        if len(oldest) < surplus:
            raise QuotaExceeded(
                f"the history is full: its {entries} entries are of the last day or still in force"
            )
        self._remove(connection, oldest)

    def make_space(
        self, connection: Connection, at: datetime, *, column: str, limit: int, coming: int
    ) -> None:
        """Remove what must go so that a text of ``coming`` characters may come into ``column``,
        where all that is not in force may have ``limit``.

        Raises:
            QuotaExceeded: that would remove what is of the last day.
        """
        entry, size = self.table.c.entry_id, func.length(cast(self.table.c[column], Text))
        query = select(entry, size, self.table.c.at).where(*self.where, not_(self.keep))
        rows = connection.execute(query.order_by(entry)).all()
        surplus, going = sum(row[1] or 0 for row in rows) + coming - limit, list[int]()
        for entry_id, length, made_at in rows:
            if surplus > 0 and length and made_at <= at - NOT_PUSHED_OUT:
                surplus -= length
                going.append(entry_id)
        if surplus > 0 and rows:
            raise QuotaExceeded(
                f"the history is full: the changes of the last day come to {limit} characters"
            )
        self._remove(connection, going)

    def _count(self, connection: Connection, *where: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(self.table).where(*self.where, *where)
        return connection.execute(query).scalar_one()

    def _remove(self, connection: Connection, entries: Iterable[int]) -> None:
        for part in in_parts(entries):
            connection.execute(delete(self.table).where(self.table.c.entry_id.in_(part)))
