"""What edges are told and what they tell: revisions, the feed's rows, reports."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from idp_gateway.records import (
    ChangeKind,
    ChangeRecord,
    EdgeRecord,
    SocketRecord,
    TunnelRecord,
    TunnelReportRecord,
)
from idp_gateway.store.accounts import ACCOUNTS
from idp_gateway.store.base import (
    CHANGES,
    StorePart,
    columns_for,
    find_all,
    find_one,
    in_parts,
    note_change,
    values_of,
)
from idp_gateway.store.sockets import SOCKETS, TUNNELS
from idp_gateway.tables import Edge, TunnelReport, table_of

EDGES = table_of(Edge)
REPORTS = table_of(TunnelReport)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedTunnel:
    tunnel: TunnelRecord
    account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedAccount:
    account_id: str
    ssh_key: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRows:
    """One consistent look at what edges need; partial when ``complete`` is false."""

    revision: int
    complete: bool
    changes: tuple[ChangeRecord, ...] = ()
    """What changed after the revision asked for; an entity named here without a row is gone."""
    sockets: tuple[SocketRecord, ...] = ()
    tunnels: tuple[FeedTunnel, ...] = ()
    accounts: tuple[FeedAccount, ...] = ()


class EdgeStore(StorePart):
    """Tables ``changes``, ``edges`` and ``tunnel_reports``, and the feed's view of the others."""

    def revision(self) -> int:
        """The newest revision given out; 0 before the first change."""
        with self.database.reading() as connection:
            return _revision(connection)

    def changes_since(self, revision: int) -> tuple[ChangeRecord, ...]:
        """Changes after ``revision``, oldest first."""
        with self.database.reading() as connection:
            return _changes_since(connection, revision)

    def read_feed(self, since: int | None) -> FeedRows:
        """Everything (``since`` is ``None``), or only what changed after a revision."""
        with self.database.reading() as connection:
            revision = _revision(connection)
            if since is None:
                return FeedRows(
                    revision=revision,
                    complete=True,
                    sockets=find_all(connection, SocketRecord, SOCKETS),
                    tunnels=_tunnels(connection),
                    accounts=_accounts(connection),
                )
            changes = _changes_since(connection, since)
            return FeedRows(
                revision=revision,
                complete=False,
                changes=changes,
                sockets=tuple(
                    socket
                    for where in _in_sets(SOCKETS.c.socket_id, changes, ChangeKind.SOCKET)
                    for socket in find_all(connection, SocketRecord, SOCKETS, where)
                ),
                tunnels=tuple(
                    tunnel
                    for where in _in_sets(TUNNELS.c.tunnel_id, changes, ChangeKind.TUNNEL)
                    for tunnel in _tunnels(connection, where)
                ),
                accounts=tuple(
                    account
                    for where in _in_sets(ACCOUNTS.c.account_id, changes, ChangeKind.TUNNEL_USER)
                    for account in _accounts(connection, where)
                ),
            )

    def note_trust(self, digest: str, now: datetime) -> None:
        """Give out a revision if what edges verify with is not what it was."""
        newest = (
            select(CHANGES.c.entity_id)
            .where(CHANGES.c.kind == ChangeKind.TRUST)
            .order_by(CHANGES.c.revision.desc())
            .limit(1)
        )
        with self.database.changing() as connection:
            if connection.execute(newest).scalar_one_or_none() != digest:
                note_change(connection, ChangeKind.TRUST, [digest], now)

    def note_sockets(self, socket_ids: Iterable[str], at: datetime) -> None:
        """Give out a revision for sockets of which edges are to hear again, as they were ``at``: of
        what has ended since they may have yet to hear (``renew_after_ends``).
        """
        with self.database.changing() as connection:
            note_change(connection, ChangeKind.SOCKET, sorted(socket_ids), at)

    def forget_changes(self, before: datetime) -> None:
        """Remove old changes; the newest stays, revisions count on from it, and so does trust."""
        newest = select(func.max(CHANGES.c.revision)).scalar_subquery()
        with self.database.writing() as connection:
            connection.execute(
                delete(CHANGES).where(
                    CHANGES.c.at < before,
                    CHANGES.c.kind != ChangeKind.TRUST,
                    CHANGES.c.revision < newest,
                )
            )

    def acknowledge(
        self, edge_id: str, revision: int, now: datetime, late: tuple[str, ...] | None = ()
    ) -> int:
        """Note that an edge serves ``revision``, and which sockets by older address rules than it
        should; ``None`` if they are too many to be named. What is noted: a revision that was never
        given out is of another database, and counts as none.
        """
        with self.database.writing() as connection:
            revision = revision if revision <= _revision(connection) else 0
            _note_edge(
                connection,
                edge_id,
                acked_revision=revision,
                late_sockets=late or (),
                late_unnamed=late is None,
                seen_at=now,
            )
        return revision

    def note_host_key(self, edge_id: str, ssh_host_key: str, now: datetime) -> None:
        """Note what an edge's tunnel server proves itself with (one ``authorized_keys`` line)."""
        with self.database.writing() as connection:
            _note_edge(connection, edge_id, ssh_host_key=ssh_host_key, seen_at=now)

    def are_any_of(self, account_id: str, socket_ids: Iterable[str]) -> bool:
        """Whether one of these sockets is the account's."""
        with self.database.reading() as connection:
            return any(
                connection.execute(
                    select(SOCKETS.c.socket_id)
                    .where(SOCKETS.c.account_id == account_id, SOCKETS.c.socket_id.in_(part))
                    .limit(1)
                ).first()
                for part in in_parts(socket_ids)
            )

    def note_server_ca(self, edge_id: str, key_id: str, now: datetime) -> None:
        """Note which issuing CA the certificate is of that an edge shows."""
        with self.database.writing() as connection:
            _note_edge(connection, edge_id, server_ca=key_id, seen_at=now)

    def edges(self) -> tuple[EdgeRecord, ...]:
        """Every edge that was ever heard of."""
        with self.database.reading() as connection:
            return find_all(connection, EdgeRecord, EDGES, order_by=[EDGES.c.edge_id])

    def report_tunnels(self, edge_id: str, reports: Iterable[TunnelReportRecord]) -> None:
        """Replace what an edge says of its tunnels; tunnels that are gone are left out."""
        with self.database.writing() as connection:
            connection.execute(delete(REPORTS).where(REPORTS.c.edge_id == edge_id))
            _insert_reports(connection, list(reports))

    def report_changes(
        self, edge_id: str, *, changed: Iterable[TunnelReportRecord], gone: Iterable[str]
    ) -> None:
        """Put ``changed`` in place of what an edge said of these tunnels, and drop ``gone``."""
        reports = list(changed)
        named = {report.tunnel_id for report in reports}.union(gone)
        with self.database.writing() as connection:
            for part in in_parts(named):
                connection.execute(
                    delete(REPORTS).where(
                        REPORTS.c.edge_id == edge_id, REPORTS.c.tunnel_id.in_(part)
                    )
                )
            _insert_reports(connection, reports)

    def tunnel_reports_of(
        self, socket_ids: Iterable[str], *, since: datetime
    ) -> tuple[TunnelReportRecord, ...]:
        """The connected tunnels of some sockets, as edges that were heard after ``since`` said."""
        query = (
            select(*columns_for(TunnelReportRecord, REPORTS))
            .join(TUNNELS, TUNNELS.c.tunnel_id == REPORTS.c.tunnel_id)
            .where(REPORTS.c.seen_at > since)
        )
        with self.database.reading() as connection:
            return tuple(
                TunnelReportRecord(**row)
                for part in in_parts(socket_ids)
                for row in connection.execute(query.where(TUNNELS.c.socket_id.in_(part))).mappings()
            )


def _insert_reports(connection: Connection, reports: Sequence[TunnelReportRecord]) -> None:
    known: set[str] = set()
    for part in in_parts(report.tunnel_id for report in reports):
        query = select(TUNNELS.c.tunnel_id).where(TUNNELS.c.tunnel_id.in_(part))
        known.update(connection.execute(query).scalars())
    kept = [values_of(report) for report in reports if report.tunnel_id in known]
    if kept:
        connection.execute(insert(REPORTS), kept)


def _note_edge(connection: Connection, edge_id: str, **values: Any) -> None:
    if find_one(connection, EdgeRecord, EDGES, EDGES.c.edge_id == edge_id) is None:
        unheard = EdgeRecord(
            edge_id=edge_id,
            ssh_host_key="",
            acked_revision=0,
            server_ca="",
            late_sockets=(),
            late_unnamed=False,
            seen_at=values["seen_at"],
        )
        new = values_of(unheard) | values
        connection.execute(insert(EDGES).values(new))
        return
    connection.execute(update(EDGES).where(EDGES.c.edge_id == edge_id).values(values))


def _revision(connection: Connection) -> int:
    return int(connection.execute(select(func.max(CHANGES.c.revision))).scalar() or 0)


def _changes_since(connection: Connection, revision: int) -> tuple[ChangeRecord, ...]:
    return find_all(
        connection,
        ChangeRecord,
        CHANGES,
        CHANGES.c.revision > revision,
        order_by=[CHANGES.c.revision],
    )


def _in_sets(
    column: ColumnElement[str], changes: Iterable[ChangeRecord], kind: ChangeKind
) -> Iterable[ColumnElement[bool]]:
    """``column IN (…)`` for the changed entities, in sets small enough for every database."""
    for part in in_parts(change.entity_id for change in changes if change.kind is kind):
        yield column.in_(part)


def _tunnels(connection: Connection, *where: ColumnElement[bool]) -> tuple[FeedTunnel, ...]:
    query = (
        select(*columns_for(TunnelRecord, TUNNELS), SOCKETS.c.account_id)
        .join(SOCKETS, SOCKETS.c.socket_id == TUNNELS.c.socket_id)
        .where(*where)
    )
    return tuple(
        FeedTunnel(
            account_id=row["account_id"],
            tunnel=TunnelRecord(
                **{name: value for name, value in row.items() if name != "account_id"}
            ),
        )
        for row in connection.execute(query).mappings()
    )


def _accounts(connection: Connection, *where: ColumnElement[bool]) -> tuple[FeedAccount, ...]:
    query = select(*columns_for(FeedAccount, ACCOUNTS)).where(*where)
    return tuple(FeedAccount(**row) for row in connection.execute(query).mappings())
