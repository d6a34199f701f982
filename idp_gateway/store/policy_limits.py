"""How much an account may keep of policies: their history, and what is looked at per decision.

What takes away is never refused: detaching and deleting work whatever the limits say.
"""

import json
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from idp_gateway.errors import QuotaExceeded
from idp_gateway.policy_records import PolicyChangeKind, PolicyRecord
from idp_gateway.store.rules import rules_in
from idp_gateway.tables import PolicyVersion, table_of

VERSIONS = table_of(PolicyVersion)

MAX_VERSIONS = 1_000
"""Entries with a document that one policy's history has, within the audit's age."""
MAX_ENTRIES = 10_000
"""Entries of one policy's history altogether."""
MAX_VERSIONS_OF_ACCOUNT = 20_000
"""As ``MAX_VERSIONS``, of all policies of an account, deleted ones too."""
MAX_DENY_RULES = 1_000
"""Deny rules that bear on one socket; a decision looks at many of them."""
MAX_ORG_WIDE = 100
"""Policies of an account that bear on all its sockets."""


def check_effective(
    connection: Connection, account_id: str, socket_ids: Iterable[str] = ()
) -> None:
    """Make sure that what bears on every socket of an account, and on these, can be decided on
    quickly: everybody shares the gateway.

    Raises:
        QuotaExceeded: it is too much.
    """
    socket_ids = tuple(socket_ids)
    rules = rules_in(connection, account_id, socket_ids)
    denies = {policy_id: _deny_rules(one) for policy_id, one in rules.policies.items()}
    wide = {policy_id for policy_id, one in rules.policies.items() if one.org_wide}
    if len(wide) > MAX_ORG_WIDE:
        raise QuotaExceeded(f"no more than {MAX_ORG_WIDE} policies can bear on a whole account")
    attached = [rules.attached.get(socket_id, frozenset()) for socket_id in socket_ids]
    for bearing in {frozenset(wide), *(own | wide for own in attached)}:
        if sum(denies[policy_id] for policy_id in bearing) > MAX_DENY_RULES:
            raise QuotaExceeded(f"no more than {MAX_DENY_RULES} deny rules can bear on a socket")


def _deny_rules(policy: PolicyRecord) -> int:
    try:
        rules = json.loads(policy.document).get("deny", ())
    except (ValueError, AttributeError):
        return 0
    return len(rules) if isinstance(rules, list) else 0


def adds_deny_rules(before: PolicyRecord, after: PolicyRecord) -> bool:
    """Whether a change makes more deny rules, or more policies, bear on some socket."""
    wider = after.org_wide and not before.org_wide
    return wider or _deny_rules(after) > _deny_rules(before)


def check_history(connection: Connection, policy: PolicyRecord) -> None:
    """Make sure that a history may have one more entry; the oldest go only with their age, so that
    nobody pushes out what they did.

    Raises:
        QuotaExceeded: it is full.
    """
    own = VERSIONS.c.policy_id == policy.policy_id
    of_account = VERSIONS.c.account_id == policy.account_id
    for where, limit in (
        ((own, VERSIONS.c.document.is_not(None)), MAX_VERSIONS),
        ((own,), MAX_ENTRIES),
        ((of_account, VERSIONS.c.document.is_not(None)), MAX_VERSIONS_OF_ACCOUNT),
    ):
        query = select(func.count()).select_from(VERSIONS).where(*where)
        if connection.execute(query).scalar_one() >= limit:
            raise QuotaExceeded(
                f"the history has {limit} entries, and no more are allowed before old ones are"
                " forgotten"
            )


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
