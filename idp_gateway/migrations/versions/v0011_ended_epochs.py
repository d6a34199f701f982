"""A revocation keeps the socket's epoch that ended with it, so that lifting it goes by no clock.

Which epoch ended with those that are there nobody knows any more. One that stands ends the epoch
in which it is lifted. One that was lifted goes on naming what was issued until then by the clock,
for as long as that is good.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make room for it."""
    op.add_column("revocations", sa.Column("ended_epoch", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Undo it."""
    op.drop_column("revocations", "ended_epoch")
