"""From where the end of a tunnel connects to the sshd of a socket."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the column; the end of a tunnel is on the server itself unless somebody says else."""
    op.add_column(
        "sockets",
        sa.Column(
            "ssh_source_addresses",
            sa.JSON(),
            nullable=False,
            server_default='["127.0.0.1/32", "::1/128"]',
        ),
    )


def downgrade() -> None:
    """Take the column away; certificates then name no addresses."""
    op.drop_column("sockets", "ssh_source_addresses")
