"""Generations of CA keys, enrolled hosts, revocations, and the transparency log."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add columns to sockets and certificates, and the tables of the authority."""
    _widen("accounts", sa.Column("generation", sa.Integer(), server_default="1"))
    _widen("sockets", sa.Column("ssh_key_proof_required", sa.Boolean(), server_default=sa.false()))
    _widen("sockets", sa.Column("blocked_emails", sa.JSON(), server_default="[]"))
    _widen("sockets", sa.Column("blocked_keys", sa.JSON(), server_default="[]"))
    op.add_column("certificates", sa.Column("policy_version", sa.String(), nullable=True))
    _widen("certificates", sa.Column("proven", sa.Boolean(), server_default=sa.false()))
    op.add_column("certificates", sa.Column("log_index", sa.BigInteger(), nullable=True))
    op.create_index("ix_certificates_log_index", "certificates", ["log_index"], unique=True)
    op.create_index(
        "ix_certificates_socket_id_not_after", "certificates", ["socket_id", "not_after"]
    )
    _make_generations()
    _make_hosts()
    _make_revocations()
    _make_log()
    _take_keys_over()


def downgrade() -> None:
    """Undo it; CA keys that the gateway sealed anew, enrolments, revocations and the log are lost.

    A gateway of before has then to be given the backup of its database that was made before.
    """
    op.add_column(
        "sockets",
        sa.Column(
            "ssh_ca_private_sealed", sa.LargeBinary(), nullable=False, server_default=sa.text("''")
        ),
    )
    for table in (
        "log_checkpoints",
        "log_nodes",
        "log_leaves",
        "revocations",
        "hosts",
        "ca_generations",
    ):
        op.drop_table(table)
    op.drop_index("ix_certificates_socket_id_not_after", "certificates")
    op.drop_index("ix_certificates_log_index", "certificates")
    for name in ("log_index", "proven", "policy_version"):
        op.drop_column("certificates", name)
    for name in ("blocked_keys", "blocked_emails", "ssh_key_proof_required"):
        op.drop_column("sockets", name)
    op.drop_column("accounts", "generation")


def _widen(table: str, column: sa.Column[object]) -> None:
    """Add a column that rows already there have at its default."""
    column.nullable = False
    op.add_column(table, column)


def _make_generations() -> None:
    op.create_table(
        "ca_generations",
        sa.Column("ca_id", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("signer", sa.String(), nullable=False),
        sa.Column("private_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("key_reference", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("published_at", _TIME, nullable=True),
        sa.Column("published_revision", sa.BigInteger(), nullable=True),
        sa.Column("activated_at", _TIME, nullable=True),
        sa.Column("draining_until", _TIME, nullable=True),
        sa.Column("retired_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("ca_id", "generation"),
    )
    op.create_index("ix_ca_generations_key_id", "ca_generations", ["key_id"], unique=True)


def _take_keys_over() -> None:
    """CA keys of before become generation 1, sealed as they were; the gateway seals them anew."""
    op.execute(
        "INSERT INTO ca_generations (ca_id, generation, state, public, key_id, signer,"
        " private_sealed, key_reference, created_at, activated_at)"
        " SELECT 'ssh-user:' || socket_id, 1, 'active', ssh_ca_public, 'before:' || socket_id,"
        " 'before-generations',"
        " ssh_ca_private_sealed, '', created_at, created_at FROM sockets"
    )
    op.execute(
        "INSERT INTO ca_generations (ca_id, generation, state, public, key_id, signer,"
        " private_sealed, key_reference, created_at, activated_at)"
        " SELECT 'ssh-tunnel', 1, 'active', '', key_id, 'before-generations',"
        " private_sealed, '', created_at, created_at FROM signing_keys"
        " WHERE purpose = 'ssh-tunnel-user-ca'"
    )
    op.execute("DELETE FROM signing_keys WHERE purpose = 'ssh-tunnel-user-ca'")
    op.drop_column("sockets", "ssh_ca_private_sealed")


def _make_hosts() -> None:
    op.create_table(
        "hosts",
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("socket_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("principals", sa.JSON(), nullable=False),
        sa.Column("serial", sa.String(), nullable=False),
        sa.Column("not_after", _TIME, nullable=False),
        sa.Column("enrolled_at", _TIME, nullable=False),
        sa.Column("enrolled_by", sa.String(), nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("synced_number", sa.BigInteger(), nullable=False),
        sa.Column("trusted_cas", sa.JSON(), nullable=False),
        sa.Column("removed_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["socket_id"], ["sockets.socket_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("host_id"),
    )
    op.create_index("ix_hosts_socket_id", "hosts", ["socket_id"])


def _make_revocations() -> None:
    op.create_table(
        "revocations",
        sa.Column("revocation_id", sa.String(), nullable=False),
        sa.Column("socket_id", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("lifted_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("revocation_id"),
    )
    op.create_index("ix_revocations_named", "revocations", ["socket_id", "scope", "value"])


def _make_log() -> None:
    op.create_table(
        "log_leaves",
        sa.Column("leaf_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("serial", sa.String(), nullable=False),
        sa.Column("issued_at", _TIME, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("ca_key_id", sa.String(), nullable=False),
        sa.Column("public_key_fingerprint", sa.String(), nullable=False),
        sa.Column("named_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("not_after", _TIME, nullable=False),
        sa.Column("account_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("leaf_index"),
    )
    op.create_index("ix_log_leaves_serial", "log_leaves", ["serial"], unique=True)
    op.create_table(
        "log_nodes",
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("node_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("node_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "node_index"),
    )
    op.create_table(
        "log_checkpoints",
        sa.Column("tree_size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root_hash", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("tree_size"),
    )
