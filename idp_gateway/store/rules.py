"""What bears on sockets: the policies attached to them, those of their account, and its lists.

Reading it is one look at one state of the database. ``touch`` is the other half: every change of a
policy or a list names the sockets it bears on, in its own transaction, and no others.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, or_, select, update

from idp_gateway.policy_records import PolicyRecord, PrefixListHead, PrefixListRecord
from idp_gateway.records import ChangeKind, SocketRecord
from idp_gateway.store.base import StorePart, find_all, in_parts, note_change
from idp_gateway.tables import (
    AccessPolicy,
    PolicyAttachment,
    PrefixList,
    PublishedSocket,
    table_of,
)
from policy.types import SocketType

POLICIES = table_of(AccessPolicy)
ATTACHMENTS = table_of(PolicyAttachment)
LISTS = table_of(PrefixList)
SOCKETS = table_of(PublishedSocket)
Listed = TypeVar("Listed", PrefixListRecord, PrefixListHead)
OWN_PORT = tuple(kind for kind in SocketType if kind.has_own_port)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRules:
    """What one account's sockets are decided by, beside their own lists."""

    policies: Mapping[str, PolicyRecord] = field(default_factory=dict)
    """Those that bear on one of the sockets asked for, by id."""
    attached: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Ids of policies by socket; org-wide ones only if they are attached as well."""
    prefix_lists: Mapping[str, PrefixListRecord] = field(default_factory=dict)
    """Lists those policies name, by name."""
    org_wide: frozenset[str] = field(init=False)
    """Ids of those of ``policies`` that bear on every socket."""

    def __post_init__(self) -> None:
        wide = (policy_id for policy_id, policy in self.policies.items() if policy.org_wide)
        object.__setattr__(self, "org_wide", frozenset(wide))

    @property
    def named(self) -> set[str]:
        """Names of the account's lists that the policies look at."""
        return {name for policy in self.policies.values() for name in policy.prefix_lists}

    def bearing(self, socket_id: str) -> frozenset[str]:
        """Ids of the policies that bear on a socket."""
        own = self.attached.get(socket_id, frozenset())
        return self.org_wide.union(own & self.policies.keys())

    def of_socket(self, socket_id: str) -> tuple[PolicyRecord, ...]:
        """The policies that bear on a socket, by id."""
        return tuple(self.policies[policy_id] for policy_id in sorted(self.bearing(socket_id)))


class RulesStore(StorePart):
    """Reads tables ``policies``, ``policy_attachments`` and ``prefix_lists`` for decisions."""

    def rules_of(self, sockets: Sequence[SocketRecord]) -> Mapping[str, AccountRules]:
        """What bears on these sockets, by account; in a few queries for any number of them."""
        by_account: dict[str, list[str]] = defaultdict(list)
        for socket in sockets:
            by_account[socket.account_id].append(socket.socket_id)
        with self.database.reading() as connection:
            return {
                account_id: rules_in(connection, account_id, socket_ids)
                for account_id, socket_ids in by_account.items()
            }


def rules_in(connection: Connection, account_id: str, socket_ids: Iterable[str]) -> AccountRules:
    """What bears on these sockets of an account, and on all of its sockets, in a transaction under
    way.
    """
    rules = policies_in(connection, account_id, socket_ids)
    return replace(rules, prefix_lists=lists_called(connection, account_id, rules.named))


def policies_in(connection: Connection, account_id: str, socket_ids: Iterable[str]) -> AccountRules:
    """As ``rules_in``, without the lists: they may be megabytes."""
    policies = find_all(
        connection,
        PolicyRecord,
        POLICIES,
        POLICIES.c.account_id == account_id,
        POLICIES.c.org_wide.is_(True),
    )
    attached: dict[str, set[str]] = defaultdict(set)
    for part in in_parts(socket_ids):
        query = (
            select(ATTACHMENTS.c.socket_id, ATTACHMENTS.c.policy_id)
            .join(POLICIES, POLICIES.c.policy_id == ATTACHMENTS.c.policy_id)
            .where(ATTACHMENTS.c.socket_id.in_(part), POLICIES.c.account_id == account_id)
        )
        for socket_id, policy_id in connection.execute(query):
            attached[socket_id].add(policy_id)
    wanted = set().union(*attached.values()) - {policy.policy_id for policy in policies}
    for part in in_parts(wanted):
        policies += find_all(connection, PolicyRecord, POLICIES, POLICIES.c.policy_id.in_(part))
    return AccountRules(
        policies={policy.policy_id: policy for policy in policies},
        attached={socket_id: frozenset(ids) for socket_id, ids in attached.items()},
    )


def lists_called(
    connection: Connection, account_id: str, names: Iterable[str]
) -> dict[str, PrefixListRecord]:
    """The account's lists among these names."""
    return _called(connection, PrefixListRecord, account_id, names)


def list_heads(
    connection: Connection, account_id: str, names: Iterable[str]
) -> dict[str, PrefixListHead]:
    """As ``lists_called``, without their addresses."""
    return _called(connection, PrefixListHead, account_id, names)


def _called(
    connection: Connection, kind: type[Listed], account_id: str, names: Iterable[str]
) -> dict[str, Listed]:
    return {
        found.name: found
        for part in in_parts(names)
        for found in find_all(
            connection,
            kind,
            LISTS,
            LISTS.c.account_id == account_id,
            LISTS.c.name.in_(part),
        )
    }


def sockets_borne_on(
    connection: Connection, account_id: str, policies: Iterable[PolicyRecord]
) -> frozenset[str]:
    """Ids of the account's sockets on which one of its ``policies`` bears."""
    policies = tuple(policies)
    if any(policy.org_wide for policy in policies):
        query = select(SOCKETS.c.socket_id).where(SOCKETS.c.account_id == account_id)
        return frozenset(connection.execute(query).scalars())
    found: set[str] = set()
    for part in in_parts(policy.policy_id for policy in policies):
        query = select(ATTACHMENTS.c.socket_id).where(ATTACHMENTS.c.policy_id.in_(part))
        found |= set(connection.execute(query).scalars())
    return frozenset(found)


def touch(connection: Connection, socket_ids: Iterable[str], now: datetime) -> None:
    """The rules of these sockets have changed: end the grants of those that have any.

    A socket that asks for no identity has no grants, so its epoch stays; but what is remembered of
    its rules is void, and if it has a port of its own, edges hold it to rules about addresses and
    hear of it. Call only inside ``Database.changing``.
    """
    for part in in_parts(socket_ids):
        among = SOCKETS.c.socket_id.in_(part)
        asks = SOCKETS.c.cloud_authentication_enabled.is_(True)
        connection.execute(
            update(SOCKETS).where(among).values(rules_version=SOCKETS.c.rules_version + 1)
        )
        connection.execute(update(SOCKETS).where(among, asks).values(epoch=SOCKETS.c.epoch + 1))
        told = or_(asks, SOCKETS.c.socket_type.in_(OWN_PORT))
        query = select(SOCKETS.c.socket_id).where(among, told).order_by(SOCKETS.c.socket_id)
        note_change(connection, ChangeKind.SOCKET, connection.execute(query).scalars(), now)


def renew(connection: Connection, socket_ids: Iterable[str], now: datetime) -> None:
    """As ``touch``, where the change lets more people in and nobody less: every grant stands, but
    what is remembered of the rules is void, and edges hear of them. Only inside
    ``Database.changing``.
    """
    for part in in_parts(socket_ids):
        among = SOCKETS.c.socket_id.in_(part)
        connection.execute(
            update(SOCKETS).where(among).values(rules_version=SOCKETS.c.rules_version + 1)
        )
        note_change(connection, ChangeKind.SOCKET, part, now)


def rename(connection: Connection, socket_ids: Iterable[str], now: datetime) -> None:
    """As ``touch``, where nothing but names changed: every grant stands, but what is remembered of
    the rules has the old names. Edges of which one gateway tells the version must hear of it from
    all of them. Only inside ``Database.changing``.
    """
    for part in in_parts(socket_ids):
        among = SOCKETS.c.socket_id.in_(part)
        connection.execute(
            update(SOCKETS).where(among).values(rules_version=SOCKETS.c.rules_version + 1)
        )
        query = select(SOCKETS.c.socket_id).where(among, SOCKETS.c.socket_type.in_(OWN_PORT))
        told = connection.execute(query.order_by(SOCKETS.c.socket_id)).scalars()
        note_change(connection, ChangeKind.SOCKET, told, now)
