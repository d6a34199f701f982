"""Who is blocked on a socket is looked up among its revocations, and not kept in its row."""

import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_SCOPES = {"blocked_emails": "person", "blocked_keys": "key"}
_SOCKETS = sa.table(
    "sockets", sa.column("socket_id"), *(sa.column(name, sa.JSON()) for name in _SCOPES)
)
_REVOCATIONS = sa.table(
    "revocations",
    sa.column("revocation_id"),
    sa.column("socket_id"),
    sa.column("scope"),
    sa.column("value"),
    sa.column("reason"),
    sa.column("created_by"),
    sa.column("created_at", sa.DateTime(timezone=True)),
    sa.column("lifted_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    """Make a revocation of whatever is blocked without one, and take the lists away."""
    _revoke_what_is_blocked()
    for name in _SCOPES:
        op.drop_column("sockets", name)
    op.create_index(
        "ix_revocations_standing",
        "revocations",
        ["socket_id", "scope", "lifted_at", "created_at"],
    )


def downgrade() -> None:
    """Undo it; the lists hold what stands."""
    op.drop_index("ix_revocations_standing", "revocations")
    for name in _SCOPES:
        column = sa.Column(name, sa.JSON(), nullable=False, server_default="[]")
        op.add_column("sockets", column)
    connection = op.get_bind()
    for socket_id in _socket_ids(connection):
        lists = {name: _standing(connection, socket_id, scope) for name, scope in _SCOPES.items()}
        if any(lists.values()):
            connection.execute(
                sa.update(_SOCKETS)
                .where(_SOCKETS.c.socket_id == socket_id)
                .values({name: sorted(values) for name, values in lists.items()})
            )


def _revoke_what_is_blocked() -> None:
    connection = op.get_bind()
    now = datetime.now(UTC)
    for socket_id in _socket_ids(connection):
        query = sa.select(_SOCKETS).where(_SOCKETS.c.socket_id == socket_id)
        row = connection.execute(query).mappings().one()
        for name, scope in _SCOPES.items():
            blocked = set(_words(row[name]))
            missing = blocked - _standing(connection, socket_id, scope) if blocked else blocked
            rows = [_revocation(socket_id, scope, value, now) for value in sorted(missing)]
            if rows:
                connection.execute(sa.insert(_REVOCATIONS), rows)


def _socket_ids(connection: sa.Connection) -> Sequence[str]:
    return connection.execute(sa.select(_SOCKETS.c.socket_id)).scalars().all()


def _words(value: object) -> Iterator[str]:
    """The words of a list; some drivers give JSON as text."""
    listed = json.loads(value) if isinstance(value, str) else value
    yield from listed if isinstance(listed, list) else ()


def _standing(connection: sa.Connection, socket_id: str, scope: str) -> set[str]:
    query = sa.select(_REVOCATIONS.c.value).where(
        _REVOCATIONS.c.socket_id == socket_id,
        _REVOCATIONS.c.scope == scope,
        _REVOCATIONS.c.lifted_at.is_(None),
    )
    return set(connection.execute(query).scalars())


def _revocation(socket_id: str, scope: str, value: str, now: datetime) -> dict[str, object]:
    return {
        "revocation_id": str(uuid.uuid4()),
        "socket_id": socket_id,
        "scope": scope,
        "value": value,
        "reason": "",
        "created_by": "",
        "created_at": now,
    }
