"""A revocation keeps the socket's epoch that ended with it, so that lifting it goes by no clock.
Edges say which issuing CA their certificate is of, and the root has a revocation list.

Which epoch ended with the revocations that are there nobody knows any more. One that stands ends
the epoch in which it is lifted. One that was lifted goes on naming what was issued until then by
the clock, for as long as that is good.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make room for it."""
    op.add_column("revocations", sa.Column("ended_epoch", sa.Integer(), nullable=True))
    server_ca = sa.Column("server_ca", sa.String(), nullable=False, server_default="")
    op.add_column("edges", server_ca)
    op.create_table(
        "root_lists",
        sa.Column("root", sa.String(), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    """Undo it."""
    op.drop_table("root_lists")
    op.drop_column("edges", "server_ca")
    op.drop_column("revocations", "ended_epoch")
