"""Edges say themselves which sockets they serve by older address rules than they should."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Edges of before are late with nothing: they had what gateways told them."""
    op.drop_table("late_rules")
    columns = (
        ("late_sockets", sa.JSON(), sa.text("'[]'")),
        ("late_unnamed", sa.Boolean(), sa.false()),
    )
    for name, kind, of_before in columns:
        op.add_column("edges", sa.Column(name, kind, nullable=False, server_default=of_before))


def downgrade() -> None:
    """Undo it."""
    for name in ("late_unnamed", "late_sockets"):
        op.drop_column("edges", name)
    op.create_table(
        "late_rules",
        sa.Column("gateway_id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), primary_key=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
