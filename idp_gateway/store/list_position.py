"""Where the public lists stand: what has to have changed for one of them to be another.

Every revocation and every move of a CA's key gives out a revision in its own transaction, and every
certificate has a place in the log. So a list that was right at one revision and size of the log is
right still if nothing that bears on it came after: a question about little, whoever else writes.
"""

from collections.abc import Collection, Container
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, func, select

from idp_gateway.records import CertificateKind, ChangeKind
from idp_gateway.store.base import CHANGES, StorePart, in_parts
from idp_gateway.store.issuance import CERTIFICATES
from idp_gateway.store.named import REVOCATIONS, revoked_among
from idp_gateway.tables import LogCheckpoint, table_of

CHECKPOINTS = table_of(LogCheckpoint)

MAX_BEHIND = 2_000
"""Changes or certificates to look through, at most; after more a list is made anew."""
MAX_CHANGED = 50
MAX_GOOD = 200
"""Sockets that changed, and what they have that is still good: so many are looked through for what
a list does not name. A revocation often names no certificate at all; with more a list is made anew.
"""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Which list is asked about, and what it names."""

    kinds: Collection[CertificateKind]
    named: Container[str]
    """Serial numbers; nothing, for a list that names no single ones."""
    socket_id: str | None = None
    """Of one socket, or of all."""
    ca_key_id: str | None = None
    """Of one CA, or of all."""


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

    def is_behind(self, since: Position, listed: Listed, now: datetime) -> bool:
        """Whether a list may be another now than at ``since``; ``now`` is when what still has to be
        on it was good.
        """
        with self.database.reading() as connection:
            changed = _changed(connection, since, listed.socket_id)
            if changed is None:
                return True
            good = _good(connection, changed, listed.kinds, now)
            if good is None:
                return True
            slipped = _slipped(connection, since, listed.kinds, listed.socket_id)
            return _lacks(connection, listed, {*good, *slipped})


def _changed(connection: Connection, since: Position, socket_id: str | None) -> list[str] | None:
    """Which sockets changed on which anything was revoked; ``None`` if they are many, or the key of
    a CA moved: a socket's own CA moves with the socket.
    """
    later = CHANGES.c.revision > since.revision
    moved = select(exists().where(later, CHANGES.c.kind == ChangeKind.TRUST))
    if connection.execute(moved).scalar_one():
        return None
    meant: ColumnElement[bool] = CHANGES.c.entity_id.in_(select(REVOCATIONS.c.socket_id))
    most = MAX_CHANGED
    if socket_id is not None:
        meant, most = CHANGES.c.entity_id == socket_id, 0
    query = select(CHANGES.c.entity_id).where(later, CHANGES.c.kind == ChangeKind.SOCKET, meant)
    found = connection.execute(query.distinct().limit(most + 1)).scalars().all()
    return None if len(found) > most else list(found)


def _good(
    connection: Connection,
    socket_ids: Collection[str],
    kinds: Collection[CertificateKind],
    now: datetime,
) -> list[str] | None:
    """Serial numbers of what these sockets have that is still good; ``None`` if it is much."""
    if not socket_ids:
        return []
    query = (
        select(CERTIFICATES.c.serial)
        .where(
            CERTIFICATES.c.socket_id.in_(socket_ids),
            CERTIFICATES.c.not_after > now,
            CERTIFICATES.c.kind.in_(kinds),
        )
        .limit(MAX_GOOD + 1)
    )
    found = connection.execute(query).scalars().all()
    return None if len(found) > MAX_GOOD else list(found)


def _slipped(
    connection: Connection,
    since: Position,
    kinds: Collection[CertificateKind],
    socket_id: str | None,
) -> list[str]:
    """What came on record after: it may have been revoked while it was being issued."""
    columns: tuple[ColumnElement[Any], ...] = (
        CERTIFICATES.c.serial,
        CERTIFICATES.c.kind,
        CERTIFICATES.c.socket_id,
    )
    # Sorted out here: with more conditions a database may begin with all a socket ever issued.
    rows = connection.execute(select(*columns).where(CERTIFICATES.c.log_index >= since.log_size))
    return [row.serial for row in rows if row.kind in kinds and socket_id in {None, row.socket_id}]


def _lacks(connection: Connection, listed: Listed, serials: Collection[str]) -> bool:
    """Whether any of these certificates is revoked and not named."""
    for part in in_parts(sorted(serials)):
        for one in revoked_among(connection, CERTIFICATES.c.serial.in_(part)):
            if listed.ca_key_id in {None, one.ca_key_id} and one.serial not in listed.named:
                return True
    return False
