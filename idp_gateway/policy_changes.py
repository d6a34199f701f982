"""Making and changing policies: a document is read, tried on its own cases, and only then kept."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from idp_gateway.callers import Caller
from idp_gateway.composition import Gateway
from idp_gateway.errors import Conflict, PolicyRefused
from idp_gateway.policy_cases import check_cases, with_cases_tried
from idp_gateway.policy_documents import lists_named, meaning, read_stored, stored_form
from idp_gateway.policy_records import PolicyChangeKind, PolicyRecord
from idp_gateway.schemas.policies import (
    MAX_DOCUMENT_LENGTH,
    NewPolicyForm,
    PolicyChangeForm,
    RollbackForm,
)
from idp_gateway.store.policies import STALE, Author
from idp_gateway.store.tried_cases import TriedOn
from policy.document import PolicyDocument, read_document
from policy.errors import DocumentError

_TRIES = 8


def author_of(gateway: Gateway, caller: Caller, why: str | None) -> Author:
    """Who makes a change now."""
    return Author(email=caller.account.email, at=gateway.clock(), why=why or "")


def read_given(data: Mapping[str, Any] | None, text: str | None) -> PolicyDocument:
    """The document a client sent.

    Raises:
        PolicyRefused: with every fault.
    """
    try:
        document = read_document(text) if text is not None else PolicyDocument.from_json(data)
    except DocumentError as error:
        faults = tuple(
            {"path": fault.path, "line": fault.line, "message": fault.message}
            for fault in error.faults
        )
        raise PolicyRefused(_first(error), faults=faults) from error
    # In bytes, as the reader counts: what is kept must be readable as it is handed out again.
    if len(stored_form(document).encode(errors="surrogatepass")) > MAX_DOCUMENT_LENGTH:
        raise PolicyRefused(
            f"a policy has at most {MAX_DOCUMENT_LENGTH} bytes", reason="policy-too-large"
        )
    return document


def _first(error: DocumentError) -> str:
    more = f" (and {len(error.faults) - 1} more)" if len(error.faults) > 1 else ""
    return f"{error.faults[0]}{more}"


def create_policy(gateway: Gateway, caller: Caller, form: NewPolicyForm) -> PolicyRecord:
    """A new policy of the caller's account, attached to nothing.

    Raises:
        PolicyRefused, PolicyNameTaken, QuotaExceeded, InvalidInput: nothing was kept.
    """
    account_id = caller.account.account_id
    document = read_given(form.policy_data, form.policy_text)
    author = author_of(gateway, caller, form.why)
    record = PolicyRecord(
        policy_id=str(uuid.uuid4()),
        account_id=account_id,
        name=form.name,
        description=form.description or "",
        document=stored_form(document),
        prefix_lists=lists_named(document),
        org_wide=form.org_wide,
        created_at=author.at,
        updated_at=author.at,
    )
    limit = gateway.settings.policies_per_account

    def attempt() -> PolicyRecord:
        tried = check_cases(gateway, account_id, document)
        return gateway.store.add_policy(record, author, limit=limit, tried=tried)

    return with_cases_tried(attempt)


def change_policy(
    gateway: Gateway, caller: Caller, policy_id: str, form: PolicyChangeForm
) -> PolicyRecord:
    """Change what ``form`` says and nothing else; what changes nothing makes no version.

    Raises:
        NotFound: no such policy of this account.
        Conflict: the form is based on another version than the newest.
        PolicyRefused, PolicyNameTaken, InvalidInput: the version in force stays in force.
    """
    document = read_given(form.policy_data, form.policy_text) if form.has_document else None
    account_id = caller.account.account_id
    said: dict[str, Any] = form.model_dump(include={"name", "description", "org_wide"})
    said = {name: value for name, value in said.items() if value is not None}
    if document is not None:
        said |= {"document": stored_form(document), "prefix_lists": lists_named(document)}
    change = _Change(
        account_id=account_id,
        policy_id=policy_id,
        said=said,
        author=author_of(gateway, caller, form.why),
        based_on=form.version,
    )

    def attempt() -> PolicyRecord:
        tried = None if document is None else check_cases(gateway, account_id, document)
        return _put(gateway, change, tried)

    return with_cases_tried(attempt)


def roll_back(gateway: Gateway, caller: Caller, policy_id: str, form: RollbackForm) -> PolicyRecord:
    """Put the document of an old version in force again, as a new version. All else stays, the name
    too: scripts find the policy by it, and another may have the old one by now.

    Raises:
        NotFound: no such policy, or version.
        Conflict, PolicyRefused, PolicyNameTaken, InvalidInput: as ``change_policy``.
    """
    account_id = caller.account.account_id
    gateway.store.get_policy(account_id, policy_id)
    old = gateway.store.get_policy_version(account_id, policy_id, form.version)
    try:
        document = read_stored(old.document or "")
    except (DocumentError, ValueError) as error:
        raise PolicyRefused(f"version {form.version} cannot be read any more") from error
    said = {
        "document": old.document,
        "prefix_lists": lists_named(document),
    }
    change = _Change(
        account_id=account_id,
        policy_id=policy_id,
        said=said,
        author=author_of(gateway, caller, form.why or f"back to version {form.version}"),
        based_on=form.newest,
        kind=PolicyChangeKind.ROLLED_BACK,
    )
    return with_cases_tried(
        lambda: _put(gateway, change, check_cases(gateway, account_id, document))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What is to become of one policy."""

    account_id: str
    policy_id: str
    said: Mapping[str, Any]
    """Columns and what is to be in them."""
    author: Author
    based_on: int | None
    kind: PolicyChangeKind | None = None
    """``None`` for what the columns tell."""


def _put(gateway: Gateway, change: _Change, tried: TriedOn | None) -> PolicyRecord:
    """Change a policy; somebody else's change in between is built upon unless ``based_on``."""
    based_on = change.based_on
    for left in range(_TRIES, 0, -1):
        before = gateway.store.get_policy(change.account_id, change.policy_id)
        if based_on is not None and based_on != before.version:
            raise Conflict(f"version {before.version} is in force by now", reason=STALE)
        after = replace(before, **change.said)
        if after == before:
            return before
        try:
            return gateway.store.change_policy(
                after,
                change.kind or _kind(before, after),
                change.author,
                means_the_same=_means_the_same(before, after),
                tried=tried,
            )
        except Conflict as error:
            if error.reason != STALE or based_on is not None or left == 1:
                raise
    raise AssertionError("the last try returns or raises")


def _kind(before: PolicyRecord, after: PolicyRecord) -> PolicyChangeKind:
    if before.document != after.document:
        return PolicyChangeKind.CHANGED
    if before.org_wide != after.org_wide:
        return PolicyChangeKind.ORG_WIDE
    return PolicyChangeKind.RENAMED


def _means_the_same(before: PolicyRecord, after: PolicyRecord) -> bool:
    if before.document == after.document:
        return True
    try:
        meant = meaning(read_stored(before.document))
    except (DocumentError, ValueError):
        return False  # nobody could come in by it, and this is how its owner mends it
    return meant == meaning(read_stored(after.document))
