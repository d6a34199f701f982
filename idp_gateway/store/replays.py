"""Recorded decisions in bulk, as they lie in the database: for asking them all again.

Rows come as tuples of the driver's own values; only what is really looked at is converted. They
come in sets, each in a transaction of its own: whoever reads slowly holds up nobody.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, Text, cast, func, literal_column, select, tuple_

from idp_gateway.store.base import StorePart, in_parts
from idp_gateway.store.issuance import DECISIONS

ROWS_AT_ONCE = 20_000

ASKED: Final = (
    "issuer",
    "subject",
    "email",
    "provider",
    "assurance",
    "groups",
    "service_account",
    "action",
    "source_ip",
    "country",
    "asn",
    "client_proof",
)
"""The first columns of a row, in this order: what was asked, but for the time."""
AUTHENTICATED_AT: Final = len(ASKED)
AT: Final = len(ASKED) + 1
_DECISION_ID: Final = len(ASKED) + 2


class ReplayStore(StorePart):
    """Reads table ``decisions`` from its beginning to its end."""

    def count_decisions(self, socket_ids: Sequence[str], since: datetime) -> dict[str, int]:
        """How many decisions there are about each of the sockets that has any."""
        found: dict[str, int] = {}
        with self.database.reading() as connection:
            for part in in_parts(socket_ids):
                query = (
                    select(DECISIONS.c.socket_id, func.count())
                    .where(DECISIONS.c.socket_id.in_(part), DECISIONS.c.at >= since)
                    .group_by(DECISIONS.c.socket_id)
                )
                found.update({row[0]: row[1] for row in connection.execute(query)})
        return found

    def decisions_since(self, socket_id: str, since: datetime) -> Iterator[Sequence[Sequence[Any]]]:
        """The decisions about one socket, oldest first, some thousands at a time."""
        query = _rows(socket_id).where(DECISIONS.c.at >= since)
        while True:
            with self.database.reading() as connection:
                rows = _fetch(connection, query)
            if rows:
                yield rows
            if len(rows) < ROWS_AT_ONCE:
                return
            last = rows[-1]
            # Compared as the driver gave them, which is how they are kept.
            here = tuple_(literal_column("at"), literal_column("decision_id"))
            query = _rows(socket_id).where(here > (last[AT], last[_DECISION_ID]))


def moment(value: Any) -> datetime:
    """A time as the driver gives it."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    found: datetime = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return found


def _rows(socket_id: str) -> Select[Any]:
    columns: list[Any] = [
        cast(DECISIONS.c.groups, Text) if name == "groups" else literal_column(name)
        for name in (*ASKED, "authenticated_at", "at", "decision_id")
    ]
    return (
        select(*columns)
        .select_from(DECISIONS)
        .where(DECISIONS.c.socket_id == socket_id)
        .order_by(DECISIONS.c.at, DECISIONS.c.decision_id)
        .limit(ROWS_AT_ONCE)
    )


def _fetch(connection: Connection, query: Select[Any]) -> Sequence[Sequence[Any]]:
    return connection.execute(query).fetchall()
