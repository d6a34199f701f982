"""The transparency log's tables; the tree itself is ``ca.formats.merkle``.

Whoever appends holds the one write lock of the database (SQLite) or the log's own (PostgreSQL)
until the commit, so two gateways never give one index to two leaves.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Select,
    and_,
    delete,
    func,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.exc import IntegrityError

from ca.formats.merkle import Node
from idp_gateway.errors import Conflict
from idp_gateway.records import (
    CertificateKind,
    CertificateRecord,
    DecisionRecord,
    LogCheckpointRecord,
    LogLeafRecord,
    LogNodeRecord,
)
from idp_gateway.store.base import (
    StorePart,
    find_all,
    find_one,
    in_parts,
)
from idp_gateway.store.issuance import CERTIFICATES, DECISIONS
from idp_gateway.store.quick import Insertion
from idp_gateway.store.sockets import SOCKETS
from idp_gateway.tables import LogCheckpoint, LogLeaf, LogNode, table_of

LEAVES = table_of(LogLeaf)
NODES = table_of(LogNode)
CHECKPOINTS = table_of(LogCheckpoint)

_LOG_LOCK = 0x6D79736F6C6F  # any fixed number of ours: "mysolo"
_NODES_AT_ONCE = 200
_QUERIES_AT_ONCE = 40
"""In one statement; SQLite takes 500, and 999 values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGrowth:
    """What one transaction adds: all of it is kept, or nothing."""

    certificates: Sequence[CertificateRecord]
    """With their ``log_index``."""
    decisions: Sequence[DecisionRecord]
    """What the certificates rest on, where it is not on record yet."""
    leaves: Sequence[LogLeafRecord]
    nodes: Mapping[Node, bytes]
    """Every subtree completed by the leaves; leaves themselves are left out."""
    checkpoint: LogCheckpointRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """Which entries somebody looks for, among those that are theirs to see."""

    account_id: str
    """Whoever owns the socket sees what was issued for it."""
    issuer: str
    """With ``holder``, the identity they logged in as, who sees what was issued to it."""
    holder: str
    socket_id: str | None = None
    subject: str | None = None
    serial: str | None = None
    key_fingerprint: str | None = None
    kind: CertificateKind | None = None
    since: datetime | None = None
    before: int | None = None
    """Only leaves below this index."""


class _Insertions:
    """How rows get into the five tables."""

    def __init__(self, dialect: Dialect) -> None:
        self.certificates = Insertion(CertificateRecord, CERTIFICATES, dialect)
        self.decisions = Insertion(DecisionRecord, DECISIONS, dialect)
        self.leaves = Insertion(LogLeafRecord, LEAVES, dialect)
        self.nodes = Insertion(LogNodeRecord, NODES, dialect)
        self.checkpoints = Insertion(LogCheckpointRecord, CHECKPOINTS, dialect)


class LogTransaction:
    """One append under way; nothing is kept unless ``add`` was called and the block left well."""

    def __init__(self, connection: Connection, into: _Insertions) -> None:
        self._connection = connection
        self._into = into

    def tip(self) -> tuple[int, bytes] | None:
        """Size and root of the tree as it stands; nothing before the first leaf."""
        query = select(CHECKPOINTS.c.tree_size, CHECKPOINTS.c.root_hash)
        newest = query.order_by(CHECKPOINTS.c.tree_size.desc()).limit(1)
        row = self._connection.execute(newest).first()
        return None if row is None else (row[0], row[1])

    def hashes(self, nodes: Iterable[Node]) -> dict[Node, bytes]:
        """The hashes of complete subtrees."""
        return _hashes(self._connection, nodes)

    def add(self, growth: LogGrowth) -> None:
        """Write certificates, leaves, nodes and checkpoint.

        Raises:
            Conflict: a serial number was given out before; the transaction is lost.
        """
        nodes = [
            LogNodeRecord(level=level, node_index=index, node_hash=node_hash)
            for (level, index), node_hash in growth.nodes.items()
        ]
        try:
            self._into.certificates.run(self._connection, growth.certificates)
            self._into.leaves.run(self._connection, growth.leaves)
            self._into.decisions.run(self._connection, growth.decisions)
            self._into.nodes.run(self._connection, nodes)
            self._into.checkpoints.run(self._connection, [growth.checkpoint])
        except (IntegrityError, sqlite3.IntegrityError) as error:
            raise Conflict("this serial number was given out before") from error


class LogStore(StorePart):
    """Tables ``log_leaves``, ``log_nodes`` and ``log_checkpoints``."""

    @contextmanager
    def appending(self) -> Iterator[LogTransaction]:
        """The only way to add leaves; durable when the block is left without an error."""
        with self.database.writing() as connection:
            if not self.database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOG_LOCK})
            yield LogTransaction(connection, self._insertions)

    @cached_property
    def _insertions(self) -> _Insertions:
        return _Insertions(self.database.engine.dialect)

    def newest_checkpoint(self) -> LogCheckpointRecord | None:
        """What the log last committed to; nothing before the first leaf."""
        with self.database.reading() as connection:
            largest = select(func.max(CHECKPOINTS.c.tree_size)).scalar_subquery()
            return find_one(
                connection, LogCheckpointRecord, CHECKPOINTS, CHECKPOINTS.c.tree_size == largest
            )

    def log_hashes(self, nodes: Iterable[Node]) -> dict[Node, bytes]:
        """The hashes of complete subtrees; what is not there is left out."""
        with self.database.reading() as connection:
            return _hashes(connection, nodes)

    def find_leaf(self, serial: str) -> LogLeafRecord | None:
        """The leaf of a certificate."""
        with self.database.reading() as connection:
            return find_one(connection, LogLeafRecord, LEAVES, LEAVES.c.serial == serial)

    def issued_among(self, serials: Iterable[str]) -> tuple[CertificateRecord, ...]:
        """The certificates on record among these serial numbers."""
        found: list[CertificateRecord] = []
        with self.database.reading() as connection:
            for part in in_parts(serials):
                where = CERTIFICATES.c.serial.in_(part)
                found += find_all(connection, CertificateRecord, CERTIFICATES, where)
        return tuple(found)

    def logged_among(self, serials: Iterable[str]) -> tuple[LogLeafRecord, ...]:
        """The leaves among these serial numbers, whether or not a record is kept."""
        found: list[LogLeafRecord] = []
        with self.database.reading() as connection:
            for part in in_parts(serials):
                found += find_all(connection, LogLeafRecord, LEAVES, LEAVES.c.serial.in_(part))
        return tuple(found)

    def log_entries(self, sought: Sought, *, limit: int) -> tuple[CertificateRecord, ...]:
        """Certificates in the log that match, newest first.

        Looked for socket by socket, and beside that by holder: whoever has little in a log of
        millions is not shown it by going through all of them.
        """
        with self.database.reading() as connection:
            own = select(SOCKETS.c.socket_id).where(SOCKETS.c.account_id == sought.account_id)
            sockets = connection.execute(own).scalars().all()
            whose = [_held_by(sought), *((CERTIFICATES.c.socket_id == one,) for one in sockets)]
            newest: list[tuple[int, str]] = []
            for start in range(0, len(whose), _QUERIES_AT_ONCE):
                # What is older than the last of so many is not wanted any more.
                above = newest[-1][0] if len(newest) == limit else -1
                some = [
                    _newest(sought, limit, above, one)
                    for one in whose[start : start + _QUERIES_AT_ONCE]
                ]
                rows: set[tuple[int, str]] = set(map(tuple, connection.execute(union_all(*some))))
                newest = sorted(rows.union(newest), reverse=True)[:limit]
            serials = [serial for _, serial in newest]
            found = [
                one
                for part in in_parts(serials)
                for one in find_all(
                    connection, CertificateRecord, CERTIFICATES, CERTIFICATES.c.serial.in_(part)
                )
            ]
        return tuple(sorted(found, key=_by_index, reverse=True))

    def forget_checkpoints(self, before: datetime) -> None:
        """Remove old checkpoints; the newest always stays, and every leaf and node."""
        with self.database.writing() as connection:
            largest = select(func.max(CHECKPOINTS.c.tree_size)).scalar_subquery()
            connection.execute(
                delete(CHECKPOINTS).where(
                    CHECKPOINTS.c.at < before, CHECKPOINTS.c.tree_size < largest
                )
            )


def _newest(
    sought: Sought, limit: int, above: int, whose: Sequence[ColumnElement[bool]]
) -> Select[Any]:
    """Their leaves and serials. An index has these in their order, so it looks at no more than it
    finds; unless something else is sought of them.
    """
    some = (
        select(CERTIFICATES.c.log_index, CERTIFICATES.c.serial)
        .where(CERTIFICATES.c.log_index > above, *whose, *_conditions(sought))
        .order_by(CERTIFICATES.c.log_index.desc())
        .limit(limit)
        .subquery()
    )
    return select(some)


def _held_by(sought: Sought) -> tuple[ColumnElement[bool], ...]:
    return (
        CERTIFICATES.c.holder_issuer == sought.issuer,
        CERTIFICATES.c.holder_subject == sought.holder,
    )


def _by_index(record: CertificateRecord) -> int:
    return record.log_index or 0


def _conditions(sought: Sought) -> list[ColumnElement[bool]]:
    equal = {
        CERTIFICATES.c.socket_id: sought.socket_id,
        CERTIFICATES.c.subject: sought.subject,
        CERTIFICATES.c.serial: sought.serial,
        CERTIFICATES.c.public_key_fingerprint: sought.key_fingerprint,
        CERTIFICATES.c.kind: sought.kind,
    }
    found = [column == value for column, value in equal.items() if value is not None]
    if sought.since is not None:
        found.append(CERTIFICATES.c.issued_at >= sought.since)
    if sought.before is not None:
        found.append(CERTIFICATES.c.log_index < sought.before)
    return found


def _hashes(connection: Connection, nodes: Iterable[Node]) -> dict[Node, bytes]:
    wanted = sorted(set(nodes))
    found: dict[Node, bytes] = {}
    for start in range(0, len(wanted), _NODES_AT_ONCE):
        found |= _some_hashes(connection, wanted[start : start + _NODES_AT_ONCE])
    return found


def _some_hashes(connection: Connection, wanted: Sequence[Node]) -> dict[Node, bytes]:
    found: dict[Node, bytes] = {}
    leaves = [index for level, index in wanted if level == 0]
    if leaves:
        query = select(LEAVES.c.leaf_index, LEAVES.c.leaf_hash)
        rows = connection.execute(query.where(LEAVES.c.leaf_index.in_(leaves)))
        found |= {(0, row[0]): row[1] for row in rows}
    inner = [node for node in wanted if node[0] > 0]
    if inner:
        matches = [
            and_(NODES.c.level == level, NODES.c.node_index == index) for level, index in inner
        ]
        query = select(NODES.c.level, NODES.c.node_index, NODES.c.node_hash)
        found |= {
            (row[0], row[1]): row[2] for row in connection.execute(query.where(or_(*matches)))
        }
    return found
