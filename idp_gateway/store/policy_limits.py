"""How much an account may keep of policies: their history, and what is looked at per decision.

What takes away is never refused: detaching and deleting work whatever the limits say.
"""

from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from idp_gateway.errors import QuotaExceeded
from idp_gateway.policy_records import PolicyChangeKind, PolicyRecord
from idp_gateway.tables import PolicyVersion, table_of

VERSIONS = table_of(PolicyVersion)

MAX_VERSIONS = 1_000
"""Entries with a document that one policy's history has, within the audit's age."""
MAX_ENTRIES = 10_000
"""Entries of one policy's history altogether."""
MAX_VERSIONS_OF_ACCOUNT = 20_000
"""As ``MAX_VERSIONS``, of all policies of an account, deleted ones too."""


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
