"""Making and changing policies: a document is read, tried on its own cases, and only then kept."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from idp_gateway.callers import Caller
from idp_gateway.composition import Gateway
from idp_gateway.errors import Conflict, PolicyRefused
from idp_gateway.policy_documents import (
    lists_named,
    meaning,
    networks_in,
    read_stored,
    stored_form,
)
from idp_gateway.policy_records import PolicyChangeKind, PolicyRecord, PrefixListRecord
from idp_gateway.schemas.policies import (
    MAX_DOCUMENT_LENGTH,
    NewPolicyForm,
    PolicyChangeForm,
    RollbackForm,
)
from idp_gateway.store.policies import STALE, Author
from policy.document import PolicyDocument, read_document
from policy.errors import DocumentError
from policy.expectations import Failure, failures
from policy.index import PrefixLists
from policy.types import Effect

_TRIES = 8
CASE_FAILED = "policy-case-failed"


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
    if len(stored_form(document)) > MAX_DOCUMENT_LENGTH:
        raise PolicyRefused(
            f"a policy has at most {MAX_DOCUMENT_LENGTH} characters", reason="policy-too-large"
        )
    return document


def _first(error: DocumentError) -> str:
    more = f" (and {len(error.faults) - 1} more)" if len(error.faults) > 1 else ""
    return f"{error.faults[0]}{more}"


def check_cases(gateway: Gateway, account_id: str, document: PolicyDocument) -> None:
    """Try a document's own cases.

    Raises:
        PolicyRefused: one came out otherwise than the document says.
    """
    if not document.expect:
        return
    named = set(lists_named(document))
    lists = {
        record.name: networks_in(record)
        for record in gateway.store.prefix_lists_of(account_id)
        if record.name in named
    }
    failed = failures(document, lists)
    if failed:
        cases = tuple(map(_failed_case, failed))
        raise PolicyRefused(str(failed[0]), reason=CASE_FAILED, cases=cases)


def check_cases_on(gateway: Gateway, given: PrefixListRecord) -> None:
    """Try the cases of every policy that names a list, as it would be with this one in its place.

    Raises:
        PolicyRefused: one came out otherwise than its policy says; every such policy is named.
    """
    policies = gateway.store.policies_page(given.account_id)
    naming = [policy for policy in policies if given.name in policy.prefix_lists]
    if not naming:
        return
    named = {name for policy in naming for name in policy.prefix_lists}
    lists = {one.name: one for one in gateway.store.prefix_lists_of(given.account_id)}
    lists[given.name] = given
    networks = {name: networks_in(one) for name, one in lists.items() if name in named}
    failed = [
        (policy.name, failure) for policy in naming for failure in _failures_of(policy, networks)
    ]
    if not failed:
        return
    names = ", ".join(dict.fromkeys(name for name, _ in failed))
    raise PolicyRefused(
        f"with these addresses policies decide otherwise than their own cases say: {names}",
        reason=CASE_FAILED,
        cases=tuple({"policy": name, **_failed_case(failure)} for name, failure in failed),
    )


def _failures_of(policy: PolicyRecord, lists: PrefixLists) -> tuple[Failure, ...]:
    try:
        document = read_stored(policy.document)
    except (DocumentError, ValueError):
        return ()  # it admits nobody, and this must not keep its owner from tightening the list
    return failures(document, lists) if document.expect else ()


def _failed_case(failure: Failure) -> Mapping[str, Any]:
    case, decision = failure.case, failure.decision
    return {
        "path": case.path,
        "line": case.line,
        "name": case.name,
        "expected": str(Effect.ALLOW if case.allow else Effect.DENY),
        "expected_reason": None if case.reason is None else str(case.reason),
        "got": str(decision.effect),
        "reasons": [str(reason) for reason in decision.reasons],
        "message": str(failure),
    }


def create_policy(gateway: Gateway, caller: Caller, form: NewPolicyForm) -> PolicyRecord:
    """A new policy of the caller's account, attached to nothing.

    Raises:
        PolicyRefused, PolicyNameTaken, QuotaExceeded, InvalidInput: nothing was kept.
    """
    account_id = caller.account.account_id
    document = read_given(form.policy_data, form.policy_text)
    check_cases(gateway, account_id, document)
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
    return gateway.store.add_policy(record, author, limit=gateway.settings.policies_per_account)


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
    if document is not None:
        check_cases(gateway, caller.account.account_id, document)
    said: dict[str, Any] = form.model_dump(include={"name", "description", "org_wide"})
    said = {name: value for name, value in said.items() if value is not None}
    if document is not None:
        said |= {"document": stored_form(document), "prefix_lists": lists_named(document)}
    author = author_of(gateway, caller, form.why)
    return _put(gateway, policy_id, said, author, caller.account.account_id, form.version)


def roll_back(gateway: Gateway, caller: Caller, policy_id: str, form: RollbackForm) -> PolicyRecord:
    """Put an old version in force again, as a new one; sockets and ``org_wide`` stay.

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
    check_cases(gateway, account_id, document)
    said = {
        "name": old.name,
        "description": old.description,
        "document": old.document,
        "prefix_lists": lists_named(document),
    }
    author = author_of(gateway, caller, form.why or f"back to version {form.version}")
    return _put(
        gateway,
        policy_id,
        said,
        author,
        account_id,
        form.newest,
        kind=PolicyChangeKind.ROLLED_BACK,
    )


def _put(
    gateway: Gateway,
    policy_id: str,
    said: Mapping[str, Any],
    author: Author,
    account_id: str,
    based_on: int | None,
    *,
    kind: PolicyChangeKind | None = None,
) -> PolicyRecord:
    """Change a policy; somebody else's change in between is built upon unless ``based_on``."""
    for left in range(_TRIES, 0, -1):
        before = gateway.store.get_policy(account_id, policy_id)
        if based_on is not None and based_on != before.version:
            raise Conflict(f"version {before.version} is in force by now", reason=STALE)
        after = replace(before, **said)
        if after == before:
            return before
        try:
            return gateway.store.change_policy(
                after,
                kind or _kind(before, after),
                author,
                means_the_same=_means_the_same(before, after),
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
