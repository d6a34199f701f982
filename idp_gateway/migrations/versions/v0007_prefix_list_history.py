"""The history of prefix lists: who changed them, when, why, and what they held."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_BEGIN = """
INSERT INTO prefix_list_versions
    (account_id, name, version, change, prefixes, summary, source, at, changed_by, why)
SELECT account_id, name, version, 'created', prefixes, summary, source, updated_at, changed_by, why
FROM prefix_lists
"""


def upgrade() -> None:
    """Make the table; the history of lists that are there begins with what they hold."""
    op.create_table(
        "prefix_list_versions",
        sa.Column(
            "entry_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("change", sa.String(), nullable=False),
        sa.Column("prefixes", sa.JSON(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    op.create_index(
        "ix_prefix_list_versions_list", "prefix_list_versions", ["account_id", "name", "entry_id"]
    )
    op.execute(_BEGIN)


def downgrade() -> None:
    """Undo it; who changed a list before is lost."""
    op.drop_table("prefix_list_versions")
