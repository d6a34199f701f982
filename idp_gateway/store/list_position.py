"""Where the public lists stand: what has to have changed for one of them to be another.

Every revocation and every move of a CA's key gives out a revision in its own transaction, and every
certificate has a place in the log. So a list that was right at one revision and size of the log is
right still if nothing that bears on it came after: a question about little, whoever else writes.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from idp_gateway.records import CertificateKind, ChangeKind
from idp_gateway.store.base import CHANGES, StorePart, in_parts
from idp_gateway.store.issuance import CERTIFICATES
from idp_gateway.store.named import REVOCATIONS, revoked_among
from idp_gateway.tables import LogCheckpoint, table_of

CHECKPOINTS = table_of(LogCheckpoint)

MAX_BEHIND = 2_000
"""Changes or certificates to look through, at most; after more a list is made anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far everything had come."""

    revision: int
    log_size: int

    def reaches(self, later: "Position") -> bool:
        """Whether what came between can be looked through; not if time went back, as it does when
        a backup is restored.
        """
        between = (later.revision - self.revision, later.log_size - self.log_size)
        return all(0 <= one <= MAX_BEHIND for one in between)


class ListPositionStore(StorePart):
    """Looks at ``changes``, ``revocations`` and ``certificates``; keeps nothing."""

    def position(self) -> Position:
        """How far everything has come: what was committed before is behind it."""
        query = select(
            select(func.max(CHANGES.c.revision)).scalar_subquery(),
            select(func.max(CHECKPOINTS.c.tree_size)).scalar_subquery(),
        )
        with self.database.reading() as connection:
            revision, size = connection.execute(query).one()
        return Position(revision=revision or 0, log_size=size or 0)

    def is_behind(
        self, since: Position, kinds: Collection[CertificateKind], socket_id: str | None = None
    ) -> bool:
        """Whether a list of revoked certificates of these kinds may be another than at ``since``;
        that of one socket, or that of all.
        """
        with self.database.reading() as connection:
            return _changed(connection, since, socket_id) or _slipped(
                connection, since, kinds, socket_id
            )


def _changed(connection: Connection, since: Position, socket_id: str | None) -> bool:
    meant: ColumnElement[bool] = CHANGES.c.entity_id.in_(select(REVOCATIONS.c.socket_id))
    if socket_id is not None:
        meant = CHANGES.c.entity_id == socket_id
    bears = or_(
        CHANGES.c.kind == ChangeKind.TRUST, and_(CHANGES.c.kind == ChangeKind.SOCKET, meant)
    )
    query = select(exists().where(CHANGES.c.revision > since.revision, bears))
    return bool(connection.execute(query).scalar_one())


def _slipped(
    connection: Connection,
    since: Position,
    kinds: Collection[CertificateKind],
    socket_id: str | None,
) -> bool:
    """Whether a certificate is revoked that came on record after: it was being issued meanwhile."""
    columns: tuple[ColumnElement[Any], ...] = (
        CERTIFICATES.c.serial,
        CERTIFICATES.c.kind,
        CERTIFICATES.c.socket_id,
    )
    # Sorted out here: with more conditions a database may begin with all a socket ever issued.
    rows = connection.execute(select(*columns).where(CERTIFICATES.c.log_index >= since.log_size))
    serials = [
        row.serial for row in rows if row.kind in kinds and socket_id in {None, row.socket_id}
    ]
    return any(
        revoked_among(connection, CERTIFICATES.c.serial.in_(part), most=1)
        for part in in_parts(serials)
    )
