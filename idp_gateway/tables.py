"""The database's tables. Only this module and the ``store`` package import SQLModel or SQLAlchemy.

Columns carry the types of ``records``, so that a row turns into its record without a special case.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel

from idp_gateway.policy_records import PolicyChangeKind
from idp_gateway.records import CaState, CertificateKind, ChangeKind, DeviceState, RevocationScope
from policy.types import Action, Assurance, Effect, SocketType

SERIAL = BigInteger().with_variant(Integer(), "sqlite")
"""A counting key; SQLite counts only columns that are plain INTEGER."""


class UtcTimestamp(TypeDecorator[datetime]):
    """Aware times in, aware UTC out; SQLite keeps them as sortable text in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("only aware times are stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(TypeDecorator[tuple[str, ...]]):
    """A tuple of strings as a JSON list."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> list[str]:  # noqa: ARG002
        return list(value or ())

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...]:  # noqa: ARG002
        return tuple(value or ())


class Word(TypeDecorator[StrEnum]):
    """A member of one closed vocabulary as its text."""

    impl = String
    cache_ok = True

    def __init__(self, vocabulary: type[StrEnum]) -> None:
        super().__init__()
        self.vocabulary = vocabulary

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else self.vocabulary(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002
        return None if value is None else self.vocabulary(value)


def _word(vocabulary: type[StrEnum]) -> Any:
    return Field(sa_column=Column(Word(vocabulary), nullable=False))


def _time(*, index: bool = False) -> Any:
    return Field(sa_column=Column(UtcTimestamp, nullable=False, index=index))


def _time_or_none() -> Any:
    return Field(default=None, sa_column=Column(UtcTimestamp, nullable=True))


def _words() -> Any:
    return Field(sa_column=Column(Words, nullable=False))


def _json() -> Any:
    return Field(sa_column=Column(JSON, nullable=False))


def _text() -> Any:
    return Field(sa_column=Column(Text, nullable=False))


def _bytes() -> Any:
    return Field(sa_column=Column(LargeBinary, nullable=False))


class Account(SQLModel, table=True):
    __tablename__ = "accounts"
    account_id: str = Field(primary_key=True)
    email: str = Field(unique=True)
    email_verified: bool
    name: str
    password_hash: str
    ssh_key: str = _text()
    created_at: datetime = _time()
    verified_at: datetime | None = _time_or_none()
    generation: int = 1


class KnownIdentity(SQLModel, table=True):
    __tablename__ = "identities"
    issuer: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    email: str | None
    name: str
    account_id: str | None = Field(foreign_key="accounts.account_id", ondelete="SET NULL")
    first_seen: datetime = _time()
    last_seen: datetime = _time()


class LoginSession(SQLModel, table=True):
    __tablename__ = "login_sessions"
    session_id: str = Field(primary_key=True)
    issuer: str
    subject: str
    email: str | None
    name: str
    assurance: Assurance = _word(Assurance)
    provider: str
    groups: tuple[str, ...] = _words()
    authenticated_at: datetime = _time()
    expires_at: datetime = _time(index=True)
    revoked_at: datetime | None = _time_or_none()
    # No foreign key: the first session of a login is forgotten before its renewals.
    renews: str | None = Field(index=True)


class LoginAttempt(SQLModel, table=True):
    __tablename__ = "login_attempts"
    attempt_id: str = Field(primary_key=True)
    provider: str
    nonce: str
    code_verifier: str
    return_to: Mapping[str, Any] = _json()
    created_at: datetime = _time()
    expires_at: datetime = _time(index=True)
    consumed_at: datetime | None = _time_or_none()


class SocketSession(SQLModel, table=True):
    __tablename__ = "socket_sessions"
    socket_session_id: str = Field(primary_key=True)
    socket_id: str = Field(foreign_key="sockets.socket_id", ondelete="CASCADE", index=True)
    session_id: str = Field(foreign_key="login_sessions.session_id", ondelete="CASCADE", index=True)
    created_at: datetime = _time()
    expires_at: datetime = _time(index=True)


class OneTimeCode(SQLModel, table=True):
    __tablename__ = "one_time_codes"
    code_hash: str = Field(primary_key=True)
    purpose: str
    payload: Mapping[str, Any] = _json()
    created_at: datetime = _time()
    expires_at: datetime = _time(index=True)
    consumed_at: datetime | None = _time_or_none()


class DeviceCode(SQLModel, table=True):
    __tablename__ = "device_codes"
    device_code_hash: str = Field(primary_key=True)
    user_code: str = Field(unique=True)
    payload: Mapping[str, Any] = _json()
    state: DeviceState = _word(DeviceState)
    session_id: str | None = Field(foreign_key="login_sessions.session_id", ondelete="CASCADE")
    created_at: datetime = _time()
    expires_at: datetime = _time(index=True)
    last_polled_at: datetime | None = _time_or_none()


class PublishedSocket(SQLModel, table=True):
    __tablename__ = "sockets"
    socket_id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="accounts.account_id", ondelete="CASCADE", index=True)
    dns_name: str = Field(unique=True)
    name: str
    socket_type: SocketType = _word(SocketType)
    port: int | None = Field(unique=True)
    protected: bool
    protected_username: str
    protected_password: str
    cloud_authentication_enabled: bool
    emails: tuple[str, ...] = _words()
    domains: tuple[str, ...] = _words()
    description: str
    upstream_username: str
    upstream_password: str
    upstream_http_hostname: str
    upstream_type: str
    tags: Mapping[str, str] = _json()
    private_socket: bool
    epoch: int
    rules_version: int
    ssh_ca_public: str = _text()
    ssh_key_proof_required: bool
    ssh_source_addresses: tuple[str, ...] = _words()
    created_at: datetime = _time()


class SocketTunnel(SQLModel, table=True):
    __tablename__ = "tunnels"
    __table_args__ = (UniqueConstraint("socket_id", "local_port"),)
    tunnel_id: str = Field(primary_key=True)
    socket_id: str = Field(foreign_key="sockets.socket_id", ondelete="CASCADE", index=True)
    local_port: int
    created_at: datetime = _time()


class SigningKey(SQLModel, table=True):
    __tablename__ = "signing_keys"
    purpose: str = Field(primary_key=True)
    key_id: str
    public: Mapping[str, Any] = _json()
    private_sealed: bytes = _bytes()
    created_at: datetime = _time()


class IssuedCertificate(SQLModel, table=True):
    __tablename__ = "certificates"
    __table_args__ = (
        Index("ix_certificates_socket_id_issued_at", "socket_id", "issued_at"),
        Index("ix_certificates_socket_id_not_after", "socket_id", "not_after"),
        Index("ix_certificates_log_index", "log_index", unique=True),
        Index("ix_certificates_socket_id_log_index", "socket_id", "log_index"),
        Index("ix_certificates_holder", "holder_issuer", "holder_subject", "log_index"),
    )
    serial: str = Field(primary_key=True)
    kind: CertificateKind = _word(CertificateKind)
    ca_key_id: str
    subject: str
    # No foreign keys: the record of an issuance outlives what it was issued for.
    socket_id: str | None
    epoch: int | None
    grant_id: str | None
    decision_id: str | None
    public_key_fingerprint: str
    not_before: datetime = _time()
    not_after: datetime = _time()
    issued_at: datetime = _time(index=True)
    body: str = _text()
    policy_version: str | None
    proven: bool
    log_index: int | None = Field(sa_column=Column(BigInteger, nullable=True))
    holder_issuer: str | None
    holder_subject: str | None


class DecisionMade(SQLModel, table=True):
    __tablename__ = "decisions"
    __table_args__ = (Index("ix_decisions_socket_id_at", "socket_id", "at"),)
    decision_id: str = Field(primary_key=True)
    at: datetime = _time(index=True)
    effect: Effect = _word(Effect)
    reasons: tuple[str, ...] = _words()
    policy_ids: tuple[str, ...] = _words()
    issuer: str
    subject: str
    email: str | None
    socket_id: str
    action: Action = _word(Action)
    source_ip: str
    country: str | None
    expires_at: datetime | None = _time_or_none()
    epoch: int | None
    provider: str | None
    assurance: Assurance | None = Field(sa_column=Column(Word(Assurance), nullable=True))
    groups: tuple[str, ...] = _words()
    service_account: str | None
    authenticated_at: datetime | None = _time_or_none()
    asn: int | None = Field(sa_column=Column(BigInteger, nullable=True))
    client_proof: bool | None


class LoginFailure(SQLModel, table=True):
    __tablename__ = "login_failures"
    __table_args__ = (Index("ix_login_failures_key_at", "key", "at"),)
    failure_id: int | None = Field(
        default=None, sa_column=Column(SERIAL, primary_key=True, autoincrement=True)
    )
    key: str
    at: datetime = _time()


class TunnelReport(SQLModel, table=True):
    __tablename__ = "tunnel_reports"
    tunnel_id: str = Field(primary_key=True, foreign_key="tunnels.tunnel_id", ondelete="CASCADE")
    edge_id: str = Field(primary_key=True)
    connected_at: datetime = _time()
    peer: str
    seen_at: datetime = _time()


class Edge(SQLModel, table=True):
    __tablename__ = "edges"
    edge_id: str = Field(primary_key=True)
    ssh_host_key: str = _text()
    acked_revision: int = Field(sa_column=Column(BigInteger, nullable=False))
    late_sockets: tuple[str, ...] = _words()
    late_unnamed: bool
    seen_at: datetime = _time()
    server_ca: str = Field(default="")


class Change(SQLModel, table=True):
    __tablename__ = "changes"
    # Without AUTOINCREMENT SQLite gives the number of a deleted last row out again.
    __table_args__ = {"sqlite_autoincrement": True}
    revision: int | None = Field(
        default=None, sa_column=Column(SERIAL, primary_key=True, autoincrement=True)
    )
    kind: ChangeKind = _word(ChangeKind)
    entity_id: str
    at: datetime = _time()


class CaGeneration(SQLModel, table=True):
    __tablename__ = "ca_generations"
    ca_id: str = Field(primary_key=True)
    generation: int = Field(primary_key=True)
    state: CaState = _word(CaState)
    public: str = _text()
    key_id: str = Field(index=True, unique=True)
    signer: str
    private_sealed: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))
    key_reference: str
    created_at: datetime = _time()
    published_at: datetime | None = _time_or_none()
    published_revision: int | None = Field(sa_column=Column(BigInteger, nullable=True))
    activated_at: datetime | None = _time_or_none()
    draining_until: datetime | None = _time_or_none()
    retired_at: datetime | None = _time_or_none()


class Host(SQLModel, table=True):
    __tablename__ = "hosts"
    host_id: str = Field(primary_key=True)
    socket_id: str = Field(foreign_key="sockets.socket_id", ondelete="CASCADE", index=True)
    name: str
    public_key: str = _text()
    fingerprint: str
    principals: tuple[str, ...] = _words()
    serial: str
    not_after: datetime = _time()
    enrolled_at: datetime = _time()
    enrolled_by: str
    seen_at: datetime = _time()
    synced_number: int = Field(sa_column=Column(BigInteger, nullable=False))
    trusted_cas: tuple[str, ...] = _words()
    removed_at: datetime | None = _time_or_none()


class Revocation(SQLModel, table=True):
    __tablename__ = "revocations"
    __table_args__ = (
        Index("ix_revocations_named", "socket_id", "scope", "value"),
        Index("ix_revocations_standing", "socket_id", "scope", "lifted_at", "created_at"),
    )
    revocation_id: str = Field(primary_key=True)
    # No foreign key: what is revoked stays on the lists when the socket goes.
    socket_id: str
    scope: RevocationScope = _word(RevocationScope)
    value: str
    reason: str = _text()
    created_by: str
    created_at: datetime = _time()
    lifted_at: datetime | None = _time_or_none()
    ended_epoch: int | None = Field(default=None)


class LogLeaf(SQLModel, table=True):
    __tablename__ = "log_leaves"
    # The log itself counts the leaves; the database must not.
    leaf_index: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    leaf_hash: bytes = _bytes()
    # Stays taken when the certificate's own row is forgotten.
    serial: str = Field(unique=True, index=True)
    issued_at: datetime = _time()
    kind: CertificateKind = _word(CertificateKind)
    ca_key_id: str
    public_key_fingerprint: str
    named_sha256: bytes = _bytes()
    not_after: datetime = _time()
    account_id: str | None = Field(default=None)


class LogNode(SQLModel, table=True):
    __tablename__ = "log_nodes"
    level: int = Field(primary_key=True)
    node_index: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    node_hash: bytes = _bytes()


class LogCheckpoint(SQLModel, table=True):
    __tablename__ = "log_checkpoints"
    tree_size: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    root_hash: bytes = _bytes()
    note: str = _text()
    at: datetime = _time()


class AccessPolicy(SQLModel, table=True):
    __tablename__ = "policies"
    __table_args__ = (UniqueConstraint("account_id", "name"),)
    policy_id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="accounts.account_id", ondelete="CASCADE")
    name: str
    description: str = _text()
    document: str = _text()
    prefix_lists: tuple[str, ...] = _words()
    org_wide: bool
    version: int
    created_at: datetime = _time()
    updated_at: datetime = _time()


class PolicyVersion(SQLModel, table=True):
    __tablename__ = "policy_versions"
    __table_args__ = (Index("ix_policy_versions_policy_id", "policy_id", "entry_id"),)
    entry_id: int | None = Field(
        default=None, sa_column=Column(SERIAL, primary_key=True, autoincrement=True)
    )
    # No foreign key: the history outlives the policy.
    policy_id: str
    account_id: str = Field(foreign_key="accounts.account_id", ondelete="CASCADE", index=True)
    version: int
    change: PolicyChangeKind = _word(PolicyChangeKind)
    name: str
    description: str = _text()
    document: str | None = Field(sa_column=Column(Text, nullable=True))
    org_wide: bool
    socket_ids: tuple[str, ...] = _words()
    at: datetime = _time()
    changed_by: str
    why: str = _text()


class PolicyAttachment(SQLModel, table=True):
    __tablename__ = "policy_attachments"
    socket_id: str = Field(primary_key=True, foreign_key="sockets.socket_id", ondelete="CASCADE")
    policy_id: str = Field(
        primary_key=True, foreign_key="policies.policy_id", ondelete="CASCADE", index=True
    )


class PrefixList(SQLModel, table=True):
    __tablename__ = "prefix_lists"
    account_id: str = Field(primary_key=True, foreign_key="accounts.account_id", ondelete="CASCADE")
    name: str = Field(primary_key=True)
    version: int
    prefixes: tuple[str, ...] = _words()
    # How many they are: they may be megabytes, and limits ask for no more.
    networks: int
    summary: Mapping[str, Any] = _json()
    source: str
    updated_at: datetime = _time()
    changed_by: str
    why: str = _text()


def table_of(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table behind a model of this module."""
    table = SQLModel.metadata.tables[str(model.__tablename__)]
    assert isinstance(table, Table)  # noqa: S101 - narrows for the type checker
    return table
