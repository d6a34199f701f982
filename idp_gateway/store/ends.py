"""What let somebody in for a while and is over: edges must hear of it, though nobody changed a row.

An approval or a guest admits from anywhere, so that while it runs edges hold the socket to no
addresses. Its end has no transaction of its own.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, union_all

from idp_gateway.records import ChangeKind
from idp_gateway.request_records import RequestState
from idp_gateway.store.access_requests import REQUESTS
from idp_gateway.store.base import CHANGES, StorePart, in_parts
from idp_gateway.store.guests import GUESTS
from idp_gateway.store.rules import OWN_PORT, SOCKETS, renew

CLOCKS_APART = timedelta(seconds=30)
"""How far clocks of gateways may differ; ``docs/operations.md`` asks for it."""


class EndsStore(StorePart):
    """Looks at tables ``access_requests`` and ``guests`` for what has ended."""

    def renew_after_ends(self, since: datetime, now: datetime) -> tuple[str, ...]:
        """Tell edges of the sockets on which something has ended after ``since`` and of which they
        have been told nothing from then on; the ids of these sockets. No grant ends.

        They are told twice: clocks of gateways differ, and what one has noted at the end another
        may have told before it.
        """
        with self.database.reading() as connection:
            ends = _ends(connection, since, now)
            told = _told(connection, ends)
        due = tuple(sorted(one for one, end in ends.items() if _is_due(end, told.get(one), now)))
        if due:
            with self.database.changing() as connection:
                renew(connection, due, now)
        return due


def _is_due(end: datetime, told: datetime | None, now: datetime) -> bool:
    everywhere = end + CLOCKS_APART
    return told is None or told < end or (told < everywhere <= now)


def _ends(connection: Connection, since: datetime, now: datetime) -> Mapping[str, datetime]:
    """The last end on each socket whose edges look at addresses."""
    approved = select(REQUESTS.c.socket_id, REQUESTS.c.over_at.label("at")).where(
        REQUESTS.c.state == RequestState.APPROVED,
        REQUESTS.c.over_at > since,
        REQUESTS.c.over_at <= now,
    )
    invited = select(GUESTS.c.socket_id, GUESTS.c.ends_at.label("at")).where(
        GUESTS.c.claimed_at.is_not(None),
        GUESTS.c.revoked_at.is_(None),
        GUESTS.c.ends_at > since,
        GUESTS.c.ends_at <= now,
    )
    ended = union_all(approved, invited).subquery()
    query = (
        select(ended.c.socket_id, func.max(ended.c.at))
        .join(SOCKETS, SOCKETS.c.socket_id == ended.c.socket_id)
        .where(SOCKETS.c.socket_type.in_(OWN_PORT))
        .group_by(ended.c.socket_id)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _told(connection: Connection, socket_ids: Iterable[str]) -> Mapping[str, datetime]:
    """When edges were last told of each socket."""
    told: dict[str, datetime] = {}
    for part in in_parts(socket_ids):
        query = (
            select(CHANGES.c.entity_id, func.max(CHANGES.c.at))
            .where(CHANGES.c.kind == ChangeKind.SOCKET, CHANGES.c.entity_id.in_(part))
            .group_by(CHANGES.c.entity_id)
        )
        told |= {row[0]: row[1] for row in connection.execute(query)}
    return told
