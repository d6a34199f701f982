"""What is asked often is found without going through all there is: how many networks a prefix list
has, and what the log has of a socket or a person. And gateways tell each other of whose address
rules edges have yet to hear.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_INDEXES = {
    "ix_certificates_socket_id_log_index": ["socket_id", "log_index"],
    "ix_certificates_holder": ["holder_issuer", "holder_subject", "log_index"],
}
_LISTS = sa.table("prefix_lists", sa.column("prefixes"), sa.column("networks"))


def upgrade() -> None:
    """Count what is there."""
    networks = sa.Column("networks", sa.Integer(), nullable=False, server_default="0")
    op.add_column("prefix_lists", networks)
    counted = sa.func.json_array_length(_LISTS.c.prefixes)
    op.execute(sa.update(_LISTS).values(networks=counted))
    for name, columns in _INDEXES.items():
        op.create_index(name, "certificates", columns)
    op.create_table(
        "late_rules",
        sa.Column("gateway_id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), primary_key=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Undo it."""
    op.drop_table("late_rules")
    for name in _INDEXES:
        op.drop_index(name, "certificates")
    op.drop_column("prefix_lists", "networks")
