"""How many networks a prefix list has is kept beside them: nobody reads megabytes to count."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_LISTS = sa.table("prefix_lists", sa.column("prefixes"), sa.column("networks"))


def upgrade() -> None:
    """Count what is there."""
    networks = sa.Column("networks", sa.Integer(), nullable=False, server_default="0")
    op.add_column("prefix_lists", networks)
    counted = sa.func.json_array_length(_LISTS.c.prefixes)
    op.execute(sa.update(_LISTS).values(networks=counted))


def downgrade() -> None:
    """Undo it."""
    op.drop_column("prefix_lists", "networks")
