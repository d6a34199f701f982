"""The history of prefix lists; as ``tables``, in whose manner it is written."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index, Text
from sqlmodel import Field, SQLModel

from idp_gateway.policy_records import PrefixListChangeKind
from idp_gateway.tables import SERIAL, UtcTimestamp, Word, Words


class PrefixListVersion(SQLModel, table=True):
    __tablename__ = "prefix_list_versions"
    __table_args__ = (Index("ix_prefix_list_versions_list", "account_id", "name", "entry_id"),)
    entry_id: int | None = Field(
        default=None, sa_column=Column(SERIAL, primary_key=True, autoincrement=True)
    )
    # No foreign key to the list: the history outlives it.
    account_id: str = Field(foreign_key="accounts.account_id", ondelete="CASCADE")
    name: str
    version: int
    change: PrefixListChangeKind = Field(
        sa_column=Column(Word(PrefixListChangeKind), nullable=False)
    )
    prefixes: tuple[str, ...] = Field(sa_column=Column(Words, nullable=False))
    summary: Mapping[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    source: str
    at: datetime = Field(sa_column=Column(UtcTimestamp, nullable=False))
    changed_by: str
    why: str = Field(sa_column=Column(Text, nullable=False))
