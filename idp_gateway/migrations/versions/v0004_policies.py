"""Policies with their history, attachments and prefix lists; decisions that can be replayed."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TIME = sa.DateTime(timezone=True)
_CIRCUMSTANCES: dict[str, sa.types.TypeEngine[Any]] = {
    "epoch": sa.Integer(),
    "provider": sa.String(),
    "assurance": sa.String(),
    "service_account": sa.String(),
    "asn": sa.BigInteger(),
    "client_proof": sa.Boolean(),
    "authenticated_at": _TIME,
}


def upgrade() -> None:
    """Widen logins, sockets and decisions, and make the tables of policies."""
    _widen("login_sessions", sa.Column("provider", sa.String(), server_default=""))
    # Until now a group was no name with its provider, and nothing looked at it.
    op.execute("UPDATE login_sessions SET groups = '[]'")
    _widen("sockets", sa.Column("rules_version", sa.Integer(), server_default="1"))
    for name, kind in _CIRCUMSTANCES.items():
        op.add_column("decisions", sa.Column(name, kind, nullable=True))
    _widen("decisions", sa.Column("groups", sa.JSON(), server_default="[]"))
    _make_policies()
    _make_versions()
    op.create_table(
        "policy_attachments",
        sa.Column("socket_id", sa.String(), nullable=False),
        sa.Column("policy_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["socket_id"], ["sockets.socket_id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.policy_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("socket_id", "policy_id"),
    )
    op.create_index("ix_policy_attachments_policy_id", "policy_attachments", ["policy_id"])
    op.create_table(
        "prefix_lists",
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("prefixes", sa.JSON(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", "name"),
    )


def downgrade() -> None:
    """Undo it; policies and their history are lost, and with them the rules of sockets."""
    for table in ("prefix_lists", "policy_attachments", "policy_versions", "policies"):
        op.drop_table(table)
    for name in ("groups", *reversed(_CIRCUMSTANCES)):
        op.drop_column("decisions", name)
    op.drop_column("sockets", "rules_version")
    op.drop_column("login_sessions", "provider")


def _widen(table: str, column: sa.Column[object]) -> None:
    """Add a column that rows already there have at its default."""
    column.nullable = False
    op.add_column(table, column)


def _make_policies() -> None:
    op.create_table(
        "policies",
        sa.Column("policy_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("prefix_lists", sa.JSON(), nullable=False),
        sa.Column("org_wide", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("policy_id"),
        sa.UniqueConstraint("account_id", "name"),
    )


def _make_versions() -> None:
    op.create_table(
        "policy_versions",
        sa.Column(
            "entry_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("policy_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("change", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("org_wide", sa.Boolean(), nullable=False),
        sa.Column("socket_ids", sa.JSON(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    op.create_index("ix_policy_versions_policy_id", "policy_versions", ["policy_id", "entry_id"])
    op.create_index("ix_policy_versions_account_id", "policy_versions", ["account_id"])
