"""Requests for access, who may approve them, guests, and the audit of all of it."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TIME = sa.DateTime(timezone=True)
_TEXT, _STRING, _NUMBER = sa.Text(), sa.String(), sa.Integer()
_OPEN = sa.text("state = 'pending'")


def upgrade() -> None:
    """Make the tables."""
    _make_requests()
    op.create_table(
        "access_approvals",
        *_columns(request_id=_STRING, email=_STRING, issuer=_STRING, subject=_STRING),
        *_columns(minutes=_NUMBER, note=_TEXT, at=_TIME),
        sa.ForeignKeyConstraint(["request_id"], ["access_requests.request_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("request_id", "email"),
        sa.UniqueConstraint("request_id", "issuer", "subject"),
    )
    _make_guests()
    op.create_table(
        "approval_rules",
        *_columns(account_id=_STRING, socket_id=_STRING, asking=sa.Boolean()),
        *_columns(two_person=sa.Boolean(), approvers=sa.JSON()),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", "socket_id"),
    )
    op.create_table(
        "approvers",
        *_columns(email=_STRING, account_id=_STRING, socket_id=_STRING),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("email", "account_id", "socket_id"),
    )
    _make_events()


def downgrade() -> None:
    """Undo it: whoever was let in for a while is not any more, and the audit of it is lost."""
    for table in (
        "access_events",
        "approvers",
        "approval_rules",
        "guests",
        "access_approvals",
        "access_requests",
    ):
        op.drop_table(table)


def _columns(*, nullable: bool = False, **kinds: TypeEngine[Any]) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=nullable) for name, kind in kinds.items()]


def _owned() -> tuple[sa.ForeignKeyConstraint, sa.ForeignKeyConstraint]:
    return (
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["socket_id"], ["sockets.socket_id"], ondelete="CASCADE"),
    )


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{columns[0]}", table, list(columns))


def _make_requests() -> None:
    op.create_table(
        "access_requests",
        *_columns(request_id=_STRING, account_id=_STRING, socket_id=_STRING, action=_STRING),
        *_columns(decision_id=_STRING, issuer=_STRING, subject=_STRING, provider=_STRING),
        *_columns(email=_STRING, name=_STRING),
        *_columns(nullable=True, asker_account_id=_STRING),
        *_columns(reason=_TEXT, minutes=_NUMBER, needed=_NUMBER, state=_STRING),
        *_columns(created_at=_TIME, over_at=_TIME),
        *_columns(nullable=True, starts_at=_TIME, ends_at=_TIME, answered_at=_TIME),
        *_columns(nullable=True, answered_by=_STRING),
        *_columns(note=_TEXT),
        *_owned(),
        sa.PrimaryKeyConstraint("request_id"),
    )
    for column in ("account_id", "socket_id", "over_at"):
        _index("access_requests", column)
    op.create_index(
        "ix_access_requests_person", "access_requests", ["issuer", "subject", "created_at"]
    )
    op.create_index(
        "ix_access_requests_open",
        "access_requests",
        ["socket_id", "issuer", "subject"],
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )


def _make_guests() -> None:
    op.create_table(
        "guests",
        *_columns(guest_id=_STRING, account_id=_STRING, socket_id=_STRING, email=_STRING),
        *_columns(code_hash=_STRING, starts_at=_TIME, ends_at=_TIME, note=_TEXT),
        *_columns(created_by=_STRING, created_at=_TIME),
        *_columns(nullable=True, claimed_at=_TIME, issuer=_STRING, subject=_STRING),
        *_columns(nullable=True, provider=_STRING, revoked_at=_TIME),
        *_owned(),
        sa.PrimaryKeyConstraint("guest_id"),
        sa.UniqueConstraint("code_hash"),
    )
    for column in ("account_id", "socket_id", "ends_at"):
        _index("guests", column)


def _make_events() -> None:
    op.create_table(
        "access_events",
        sa.Column(
            "entry_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        *_columns(account_id=_STRING, socket_id=_STRING, dns_name=_STRING, concerns=_STRING),
        *_columns(kind=_STRING, at=_TIME, email=_STRING, issuer=_STRING, subject=_STRING),
        *_columns(about=_STRING, words=_TEXT),
        *_columns(nullable=True, minutes=_NUMBER, policy_id=_STRING, decision_id=_STRING),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    _index("access_events", "account_id", "entry_id")
    _index("access_events", "socket_id", "entry_id")
    _index("access_events", "at")
