"""Tables of requests for access, approvals, guests and their audit; see ``tables``."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from idp_gateway.request_records import AccessEventKind, RequestState
from idp_gateway.tables import SERIAL, UtcTimestamp, Word, Words
from policy.types import Action

_OPEN = text("state = 'pending'")


def _time(*, nullable: bool = False, index: bool = False) -> Any:
    column = Column(UtcTimestamp, nullable=nullable, index=index)
    return Field(default=None, sa_column=column) if nullable else Field(sa_column=column)


def _text() -> Any:
    return Field(sa_column=Column(Text, nullable=False))


def _account() -> Any:
    return Field(foreign_key="accounts.account_id", ondelete="CASCADE", index=True)


def _socket() -> Any:
    return Field(foreign_key="sockets.socket_id", ondelete="CASCADE", index=True)


class AccessRequested(SQLModel, table=True):
    __tablename__ = "access_requests"
    __table_args__ = (
        # One open request for each person and socket, whatever two gateways do at once.
        Index(
            "ix_access_requests_open",
            "socket_id",
            "issuer",
            "subject",
            unique=True,
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
        Index("ix_access_requests_person", "issuer", "subject", "created_at"),
    )
    request_id: str = Field(primary_key=True)
    account_id: str = _account()
    socket_id: str = _socket()
    action: Action = Field(sa_column=Column(Word(Action), nullable=False))
    decision_id: str
    issuer: str
    subject: str
    provider: str
    email: str
    name: str
    asker_account_id: str | None
    reason: str = _text()
    minutes: int
    needed: int
    state: RequestState = Field(sa_column=Column(Word(RequestState), nullable=False))
    created_at: datetime = _time()
    over_at: datetime = _time(index=True)
    starts_at: datetime | None = _time(nullable=True)
    ends_at: datetime | None = _time(nullable=True)
    answered_at: datetime | None = _time(nullable=True)
    answered_by: str | None
    note: str = _text()


class AccessApproval(SQLModel, table=True):
    __tablename__ = "access_approvals"
    __table_args__ = (UniqueConstraint("request_id", "issuer", "subject"),)
    request_id: str = Field(
        primary_key=True, foreign_key="access_requests.request_id", ondelete="CASCADE"
    )
    email: str = Field(primary_key=True)
    issuer: str
    subject: str
    minutes: int
    note: str = _text()
    at: datetime = _time()


class Guest(SQLModel, table=True):
    __tablename__ = "guests"
    guest_id: str = Field(primary_key=True)
    account_id: str = _account()
    socket_id: str = _socket()
    email: str
    code_hash: str = Field(unique=True)
    starts_at: datetime = _time()
    ends_at: datetime = _time(index=True)
    note: str = _text()
    created_by: str
    created_at: datetime = _time()
    claimed_at: datetime | None = _time(nullable=True)
    issuer: str | None
    subject: str | None
    provider: str | None
    revoked_at: datetime | None = _time(nullable=True)


class ApprovalRules(SQLModel, table=True):
    __tablename__ = "approval_rules"
    account_id: str = Field(primary_key=True, foreign_key="accounts.account_id", ondelete="CASCADE")
    # No foreign key: it is empty for the rules of the whole account.
    socket_id: str = Field(primary_key=True)
    asking: bool
    two_person: bool
    approvers: tuple[str, ...] = Field(sa_column=Column(Words, nullable=False))


class Approver(SQLModel, table=True):
    __tablename__ = "approvers"
    email: str = Field(primary_key=True)
    account_id: str = Field(primary_key=True, foreign_key="accounts.account_id", ondelete="CASCADE")
    socket_id: str = Field(primary_key=True)


class AccessEvent(SQLModel, table=True):
    __tablename__ = "access_events"
    __table_args__ = (
        Index("ix_access_events_account_id", "account_id", "entry_id"),
        Index("ix_access_events_socket_id", "socket_id", "entry_id"),
    )
    entry_id: int | None = Field(
        default=None, sa_column=Column(SERIAL, primary_key=True, autoincrement=True)
    )
    account_id: str = Field(foreign_key="accounts.account_id", ondelete="CASCADE")
    # No foreign keys: the audit outlives the socket and the request.
    socket_id: str
    dns_name: str
    concerns: str
    kind: AccessEventKind = Field(sa_column=Column(Word(AccessEventKind), nullable=False))
    at: datetime = _time(index=True)
    email: str
    issuer: str
    subject: str
    about: str
    words: str = _text()
    minutes: int | None
    policy_id: str | None
    decision_id: str | None
