"""Who and what is blocked on a socket: the people and keys of its revocations that stand.

Looked up each time, in rows of their own: a socket's row is as small, and as quick to change, with
thousands of them as with none. Whoever decides reads the socket first and looks here then, so that
a revocation that comes between is seen, or ends the epoch the decision was for.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property

from sqlalchemy import ColumnElement, Connection, and_, func, select

from idp_gateway.records import RevocationScope
from idp_gateway.store.base import StorePart, in_parts
from idp_gateway.store.quick import Presence
from idp_gateway.tables import Revocation, table_of

REVOCATIONS = table_of(Revocation)

BLOCKING = (RevocationScope.PERSON, RevocationScope.KEY)
"""Scopes that keep somebody or something out until they are lifted; the others name certificates
only."""


class BlockedStore(StorePart):
    """Reads table ``revocations`` for decisions and certificates."""

    @cached_property
    def _standing(self) -> Presence:
        columns = ("socket_id", "scope", "value")
        return Presence(self.database, REVOCATIONS, columns, REVOCATIONS.c.lifted_at.is_(None))

    def blocks_person(self, socket_id: str, email: str) -> bool:
        """Whether somebody was revoked on a socket, and not readmitted."""
        return self._standing.find(socket_id, RevocationScope.PERSON, email)

    def blocks_key(self, socket_id: str, fingerprint: str) -> bool:
        """Whether a key was revoked on a socket, and not readmitted."""
        return self._standing.find(socket_id, RevocationScope.KEY, fingerprint)

    def sockets_blocking(self, email: str, socket_ids: Iterable[str]) -> frozenset[str]:
        """Those among these sockets on which somebody is blocked."""
        found: set[str] = set()
        with self.database.reading() as connection:
            for part in in_parts(socket_ids):
                query = select(REVOCATIONS.c.socket_id).where(
                    REVOCATIONS.c.socket_id.in_(part),
                    REVOCATIONS.c.scope == RevocationScope.PERSON,
                    REVOCATIONS.c.value == email,
                    REVOCATIONS.c.lifted_at.is_(None),
                )
                found |= set(connection.execute(query).scalars())
        return frozenset(found)

    def people_blocked(self, socket_ids: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """Everybody who is blocked on one of these sockets, by socket; thousands, maybe."""
        found: dict[str, set[str]] = defaultdict(set)
        with self.database.reading() as connection:
            for part in in_parts(socket_ids):
                query = select(REVOCATIONS.c.socket_id, REVOCATIONS.c.value).where(
                    REVOCATIONS.c.socket_id.in_(part),
                    REVOCATIONS.c.scope == RevocationScope.PERSON,
                    REVOCATIONS.c.lifted_at.is_(None),
                )
                for socket_id, email in connection.execute(query):
                    found[socket_id].add(email)
        return {socket_id: frozenset(emails) for socket_id, emails in found.items()}


def standing_of(socket_id: str, scope: RevocationScope) -> ColumnElement[bool]:
    """The revocations of a socket by one scope that were not lifted."""
    return and_(
        REVOCATIONS.c.socket_id == socket_id,
        REVOCATIONS.c.scope == scope,
        REVOCATIONS.c.lifted_at.is_(None),
    )


def is_standing(connection: Connection, socket_id: str, scope: RevocationScope, value: str) -> bool:
    """Whether there is such a revocation, in a transaction under way."""
    query = select(REVOCATIONS.c.revocation_id).where(
        standing_of(socket_id, scope), REVOCATIONS.c.value == value
    )
    return connection.execute(query.limit(1)).first() is not None


def count_standing(connection: Connection, *where: ColumnElement[bool]) -> int:
    """How many revocations there are of these, in a transaction under way."""
    query = select(func.count()).select_from(REVOCATIONS).where(*where)
    count: int = connection.execute(query).scalar_one()
    return count
