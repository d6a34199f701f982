"""Policies and lists as the API shows them to their owner."""

from collections.abc import Mapping, Sequence

from idp_gateway.composition import Gateway
from idp_gateway.policy_documents import stored_json
from idp_gateway.policy_records import (
    PolicyRecord,
    PolicyVersionRecord,
    PrefixListRecord,
    PrefixListVersionRecord,
)
from idp_gateway.schemas.policies import (
    PolicyReply,
    PolicyVersionReply,
    PrefixListReply,
    PrefixListVersionReply,
    WholePrefixListReply,
)


def policy_reply(gateway: Gateway, policy: PolicyRecord) -> PolicyReply:
    """One policy."""
    return policy_replies(gateway, policy.account_id, [policy])[0]


def policy_replies(
    gateway: Gateway, account_id: str, policies: Sequence[PolicyRecord]
) -> list[PolicyReply]:
    """Policies of one account, in a fixed number of queries."""
    attached = gateway.store.attached_sockets(account_id, (policy.policy_id for policy in policies))
    return [one_reply(policy, attached) for policy in policies]


def one_reply(policy: PolicyRecord, attached: Mapping[str, Sequence[str]]) -> PolicyReply:
    """One policy, given the sockets every policy is attached to."""
    return PolicyReply(
        id=policy.policy_id,
        name=policy.name,
        description=policy.description,
        policy_data=dict(stored_json(policy.document)),
        socket_ids=list(attached.get(policy.policy_id, ())),
        org_wide=policy.org_wide,
        version=policy.version,
        created_at=policy.created_at,
        updated_at=policy.updated_at,
    )


def version_reply(entry: PolicyVersionRecord) -> PolicyVersionReply:
    """One entry of a history."""
    return PolicyVersionReply(
        version=entry.version,
        change=str(entry.change),
        at=entry.at,
        by=entry.changed_by,
        why=entry.why,
        name=entry.name,
        description=entry.description,
        org_wide=entry.org_wide,
        socket_ids=list(entry.socket_ids),
        policy_data=None if entry.document is None else dict(stored_json(entry.document)),
    )


def list_reply(found: PrefixListRecord) -> PrefixListReply:
    """A list without its addresses."""
    return PrefixListReply(
        name=found.name,
        version=found.version,
        count=len(found.prefixes),
        source=found.source,
        summary=dict(found.summary),
        updated_at=found.updated_at,
        by=found.changed_by,
        why=found.why,
    )


def whole_list_reply(found: PrefixListRecord) -> WholePrefixListReply:
    """A list with its addresses."""
    return WholePrefixListReply(**list_reply(found).model_dump(), prefixes=list(found.prefixes))


def list_version_reply(entry: PrefixListVersionRecord) -> PrefixListVersionReply:
    """One entry of a list's history."""
    return PrefixListVersionReply(
        version=entry.version,
        change=str(entry.change),
        at=entry.at,
        by=entry.changed_by,
        why=entry.why,
        source=entry.source,
        summary=dict(entry.summary),
        prefixes=list(entry.prefixes),
    )
