"""Whose each certificate is: issuer and subject of the identity it was issued to."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_COLUMNS = ("holder_issuer", "holder_subject")


def upgrade() -> None:
    """Add the columns; of certificates that are there nobody can say for sure."""
    for name in _COLUMNS:
        op.add_column("certificates", sa.Column(name, sa.String(), nullable=True))


def downgrade() -> None:
    """Undo it; whose certificates are is lost."""
    for name in _COLUMNS:
        op.drop_column("certificates", name)
