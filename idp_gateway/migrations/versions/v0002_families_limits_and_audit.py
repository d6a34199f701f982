"""Tie renewed logins together, let accounts share tunnel ports, find a socket's records fast."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add a column and indexes; make ports of tunnels unique per socket."""
    op.add_column("login_sessions", sa.Column("renews", sa.String(), nullable=True))
    op.create_index("ix_login_sessions_renews", "login_sessions", ["renews"])
    op.create_index("ix_decisions_socket_id_at", "decisions", ["socket_id", "at"])
    op.create_index(
        "ix_certificates_socket_id_issued_at", "certificates", ["socket_id", "issued_at"]
    )
    _remake_tunnels(["socket_id", "local_port"])


def downgrade() -> None:
    """Undo it; fails if two sockets use one port by now."""
    _remake_tunnels(["local_port"])
    op.drop_index("ix_certificates_socket_id_issued_at", "certificates")
    op.drop_index("ix_decisions_socket_id_at", "decisions")
    op.drop_index("ix_login_sessions_renews", "login_sessions")
    op.drop_column("login_sessions", "renews")


def _remake_tunnels(unique: list[str]) -> None:
    """Copy the tunnels into a table in which only these columns together are unique.

    SQLite cannot drop a constraint, nor leave foreign keys unheeded inside a transaction; so what
    refers to the tunnels is made anew too. Edges repeat their reports within 30 seconds.
    """
    connection = op.get_bind()
    before = sa.Table("tunnels", sa.MetaData(), autoload_with=connection)
    rows = connection.execute(sa.select(before)).all()
    op.drop_table("tunnel_reports")
    op.drop_table("tunnels")
    tunnels = op.create_table(
        "tunnels",
        sa.Column("tunnel_id", sa.String(), nullable=False),
        sa.Column("socket_id", sa.String(), nullable=False),
        sa.Column("local_port", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["socket_id"], ["sockets.socket_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tunnel_id"),
        sa.UniqueConstraint(*unique),
    )
    op.create_index("ix_tunnels_socket_id", "tunnels", ["socket_id"])
    _make_reports()
    if rows:
        op.bulk_insert(tunnels, [row._asdict() for row in rows])


def _make_reports() -> None:
    op.create_table(
        "tunnel_reports",
        sa.Column("tunnel_id", sa.String(), nullable=False),
        sa.Column("edge_id", sa.String(), nullable=False),
        sa.Column("connected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tunnel_id"], ["tunnels.tunnel_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tunnel_id", "edge_id"),
    )
