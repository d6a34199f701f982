"""What the store keeps of policies, as ``records`` does of everything else."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class PolicyChangeKind(StrEnum):
    """What happened to a policy; the words of its history."""

    CREATED = "created"
    CHANGED = "changed"
    """Its document, and maybe more, is another one."""
    RENAMED = "renamed"
    """Its name or description; what it means is as before."""
    ORG_WIDE = "org-wide"
    """It began or ceased to bear on every socket of the account."""
    ATTACHED = "attached"
    DETACHED = "detached"
    ROLLED_BACK = "rolled-back"
    DELETED = "deleted"


class PrefixListChangeKind(StrEnum):
    """What happened to a list of addresses."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """A policy as it is in force."""

    policy_id: str
    account_id: str
    name: str
    """Unique in its account."""
    description: str
    document: str
    """The stored form as canonical JSON."""
    prefix_lists: tuple[str, ...] = ()
    """Names of the account's lists it looks at; lists inside the document are not among them."""
    org_wide: bool = False
    """Whether it bears on every socket of the account."""
    version: int = 1
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersionRecord:
    """One entry of a policy's history; outlives the policy."""

    policy_id: str
    account_id: str
    version: int
    """Attaching and detaching make no new version: such an entry has that of its time."""
    change: PolicyChangeKind
    name: str
    description: str
    document: str | None
    """None if the change was not about the document."""
    org_wide: bool
    socket_ids: tuple[str, ...] = ()
    """The sockets it was attached to or detached from."""
    at: datetime
    changed_by: str
    """E-mail of the account."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixListHead:
    """A list without its addresses, which may be megabytes."""

    account_id: str
    name: str
    version: int
    networks: int
    """How many there are."""
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixListRecord:
    """Addresses that policies name together. ``(account_id, name)`` is the key."""

    account_id: str
    name: str
    version: int = 1
    prefixes: tuple[str, ...]
    """Aggregated and in order."""
    summary: Mapping[str, Any]
    source: str
    """What was imported: a kind of published file, or ``list``."""
    updated_at: datetime
    changed_by: str
    why: str

    @property
    def head(self) -> PrefixListHead:
        """The list without its addresses."""
        return PrefixListHead(
            account_id=self.account_id,
            name=self.name,
            version=self.version,
            networks=len(self.prefixes),
            updated_at=self.updated_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixListVersionRecord:
    """One entry of a list's history; outlives the list."""

    account_id: str
    name: str
    version: int
    """Goes on counting if a list is made anew; a deletion has that of the list that went."""
    change: PrefixListChangeKind
    prefixes: tuple[str, ...]
    """What it held from then on; of a deletion nothing."""
    summary: Mapping[str, Any]
    source: str
    at: datetime
    changed_by: str
    why: str
