"""How much an account may keep of policies: their history, and what is looked at per decision.

What takes away is never refused: detaching and deleting work whatever the limits say.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import partial

from sqlalchemy import ColumnElement, Connection, Table, delete, func, or_, select

from idp_gateway.errors import QuotaExceeded
from idp_gateway.policy_records import PolicyChangeKind, PolicyRecord
from idp_gateway.store.histories import History
from idp_gateway.store.policy_sizes import size_of
from idp_gateway.store.rules import ATTACHMENTS, POLICIES, list_heads, policies_in
from idp_gateway.tables import PolicyVersion, table_of

VERSIONS = table_of(PolicyVersion)

MAX_VERSIONS = 1_000
"""Entries with a document that one policy's history keeps."""
MAX_ENTRIES = 10_000
"""Entries of one policy's history altogether."""
MAX_VERSIONS_OF_ACCOUNT = 20_000
"""As ``MAX_VERSIONS``, of all policies of an account, deleted ones too."""
MAX_TEXT = 64 << 20
"""Characters of all documents of an account that are not in force any more."""
MAX_DENY_RULES = 1_000
"""Deny rules that bear on one socket; a decision looks at many of them."""
MAX_LISTED_NETWORKS = 200_000
"""Networks that bear on one socket: those of the documents, and those of the account's lists, once
for each rule that names the list. All are sorted when the socket's policies are made ready."""
MAX_ORG_WIDE = 100
"""Policies of an account that bear on all its sockets."""


def check_effective(
    connection: Connection,
    account_id: str,
    socket_ids: Iterable[str] = (),
) -> None:
    """Make sure that what bears on every socket of an account, and on these, can be decided on
    quickly: everybody shares the gateway.

    Raises:
        QuotaExceeded: it is too much.
    """
    socket_ids = tuple(socket_ids)
    rules = policies_in(connection, account_id, socket_ids)
    sizes = {policy_id: size_of(one) for policy_id, one in rules.policies.items()}
    lists = list_heads(connection, account_id, rules.named)
    lengths = {name: one.networks for name, one in lists.items()}
    networks = {policy_id: one.networks(lengths) for policy_id, one in sizes.items()}
    wide = {policy_id for policy_id, one in rules.policies.items() if one.org_wide}
    attached = [rules.attached.get(socket_id, frozenset()) for socket_id in socket_ids]
    for bearing in {frozenset(wide), *(own | wide for own in attached)}:
        if sum(sizes[policy_id].denies for policy_id in bearing) > MAX_DENY_RULES:
            raise QuotaExceeded(f"no more than {MAX_DENY_RULES} deny rules can bear on a socket")
        named = sum(networks[policy_id] for policy_id in bearing)
        if named > MAX_LISTED_NETWORKS:
            raise QuotaExceeded(
                f"the rules of a socket can name no more than {MAX_LISTED_NETWORKS} networks, of"
                f" documents and prefix lists together; these would come to {named}"
            )


def adds_work(before: PolicyRecord, after: PolicyRecord) -> bool:
    """Whether a change makes more rules, networks or policies bear on some socket."""
    wider = after.org_wide and not before.org_wide
    return wider or size_of(after).exceeds(size_of(before))


def check_org_wide(connection: Connection, account_id: str) -> None:
    """Make sure that no more policies bear on a whole account than may.

    Raises:
        QuotaExceeded: there are more.
    """
    wide = POLICIES.c.account_id == account_id, POLICIES.c.org_wide.is_(True)
    if _count(connection, POLICIES, *wide) > MAX_ORG_WIDE:
        raise QuotaExceeded(f"no more than {MAX_ORG_WIDE} policies can bear on a whole account")


def check_history(
    connection: Connection, policy: PolicyRecord, at: datetime, *, document: bool
) -> None:
    """Make room for one more entry in a history, with a document or without.

    Raises:
        QuotaExceeded: all of it that is not in force is of the last day.
    """
    own = VERSIONS.c.policy_id == policy.policy_id
    of_account = VERSIONS.c.account_id == policy.account_id
    with_document = VERSIONS.c.document.is_not(None)
    there = select(POLICIES.c.policy_id).where(POLICIES.c.account_id == policy.account_id)
    newest = (
        select(func.max(VERSIONS.c.entry_id))
        .where(of_account, with_document, VERSIONS.c.policy_id.in_(there))
        .group_by(VERSIONS.c.policy_id)
    )
    in_force = VERSIONS.c.entry_id.in_(newest)
    if _count(connection, VERSIONS, own) >= MAX_ENTRIES:
        keep = or_(in_force, VERSIONS.c.entry_id.in_(_standing(connection, policy.policy_id)))
        History(table=VERSIONS, where=[own], keep=keep).make_room(connection, at, limit=MAX_ENTRIES)
    if document:
        kept = partial(History, table=VERSIONS, keep=in_force)
        kept(where=[own, with_document]).make_room(connection, at, limit=MAX_VERSIONS)
        all_versions = kept(where=[of_account, with_document])
        all_versions.make_room(connection, at, limit=MAX_VERSIONS_OF_ACCOUNT)
        all_versions.make_space(
            connection, at, column="document", limit=MAX_TEXT, coming=len(policy.document)
        )


def _standing(connection: Connection, policy_id: str) -> list[int]:
    """Entries of attachments that stand: without them nobody could say what a socket had then."""
    query = select(ATTACHMENTS.c.socket_id).where(ATTACHMENTS.c.policy_id == policy_id)
    there = set(connection.execute(query).scalars())
    attached = select(VERSIONS.c.entry_id, VERSIONS.c.socket_ids).where(
        VERSIONS.c.policy_id == policy_id, VERSIONS.c.change == PolicyChangeKind.ATTACHED
    )
    found = []
    for entry_id, socket_ids in connection.execute(attached.order_by(VERSIONS.c.entry_id.desc())):
        if not there.isdisjoint(socket_ids):
            found.append(entry_id)
            there.difference_update(socket_ids)
    return found


def _count(connection: Connection, table: Table, *where: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(table).where(*where)
    return connection.execute(query).scalar_one()


def forget_versions(connection: Connection, before: datetime) -> None:
    """Remove what was superseded before a moment, and policies deleted before it altogether."""
    old = VERSIONS.c.at < before
    with_document = VERSIONS.c.document.is_not(None)
    in_force_then = (
        select(func.max(VERSIONS.c.entry_id))
        .where(old, with_document)
        .group_by(VERSIONS.c.policy_id)
    )
    connection.execute(
        delete(VERSIONS).where(old, with_document, VERSIONS.c.entry_id.not_in(in_force_then))
    )
    gone = select(VERSIONS.c.policy_id).where(old, VERSIONS.c.change == PolicyChangeKind.DELETED)
    connection.execute(delete(VERSIONS).where(VERSIONS.c.policy_id.in_(gone)))
