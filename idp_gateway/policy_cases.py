"""The cases of policies: tried before anything they depend on is changed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from idp_gateway.composition import Gateway
from idp_gateway.errors import Conflict, PolicyRefused
from idp_gateway.policy_documents import lists_named, networks_in, read_stored
from idp_gateway.policy_records import PolicyRecord, PrefixListRecord
from idp_gateway.store.tried_cases import CASES_OLD, TriedOn
from idp_gateway.turns import trial
from policy.document import PolicyDocument
from policy.errors import DocumentError
from policy.expectations import Failure, failures
from policy.index import ListSets
from policy.types import Effect

_TRIES = 8
CASE_FAILED = "policy-case-failed"

Kept = TypeVar("Kept")


def with_cases_tried(change: Callable[[], Kept]) -> Kept:
    """Make a change that tries cases first; anew, if what they were tried on changed meanwhile.

    Raises:
        Conflict: it changes all the time.
    """
    for _ in range(_TRIES - 1):
        try:
            return change()
        except Conflict as error:
            if error.reason != CASES_OLD:
                raise
    return change()


def check_cases(gateway: Gateway, account_id: str, document: PolicyDocument) -> TriedOn | None:
    """Try a document's own cases, if it has any.

    Raises:
        PolicyRefused: one came out otherwise than the document says.
        TooManyAttempts: the account tries others already.
    """
    if not document.expect:
        return None
    named = set(lists_named(document))
    lists = [one for one in gateway.store.prefix_lists_of(account_id) if one.name in named]
    with trial(gateway, account_id):
        failed = failures(document, {one.name: networks_in(one) for one in lists})
    if failed:
        cases = tuple(map(_failed_case, failed))
        raise PolicyRefused(str(failed[0]), reason=CASE_FAILED, cases=cases)
    return TriedOn.of(lists)


def check_cases_on(gateway: Gateway, given: PrefixListRecord) -> TriedOn:
    """Try the cases of every policy that names a list, as it would be with this one in its place.

    Raises:
        PolicyRefused: one came out otherwise than its policy says; every such policy is named.
        TooManyAttempts: the account tries others already.
    """
    policies = gateway.store.policies_page(given.account_id)
    naming = [policy for policy in policies if given.name in policy.prefix_lists]
    named = {name for policy in naming for name in policy.prefix_lists} - {given.name}
    others = [one for one in gateway.store.prefix_lists_of(given.account_id) if one.name in named]
    failed = _failures_of_all(gateway, naming, [*others, given])
    if not failed:
        return TriedOn.of(others, naming)
    names = ", ".join(dict.fromkeys(name for name, _ in failed))
    raise PolicyRefused(
        f"with these addresses policies decide otherwise than their own cases say: {names}",
        reason=CASE_FAILED,
        cases=tuple({"policy": name, **_failed_case(failure)} for name, failure in failed),
    )


def _failures_of_all(
    gateway: Gateway, policies: Sequence[PolicyRecord], named: Sequence[PrefixListRecord]
) -> list[tuple[str, Failure]]:
    """The cases that fail, each with the name of its policy."""
    # Stored documents are canonical JSON: one without this text has no cases.
    trying = [policy for policy in policies if '"expect":' in policy.document]
    if not trying:
        return []
    with trial(gateway, trying[0].account_id):
        lists = ListSets(
            {one.name: networks_in(one) for one in named}
        )  # one for all: they are long
        return [(one.name, failure) for one in trying for failure in _failures_of(one, lists)]


def _failures_of(policy: PolicyRecord, lists: ListSets) -> tuple[Failure, ...]:
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
