"""Documents tried out where they are written: the gateway's own functions, without the gateway.

Imported only by the commands that need it, and the language itself only when they do.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from clients.mysocketctl.api import Json
from clients.mysocketctl.errors import Fault, InvalidInput
from clients.mysocketctl.files import shown_name
from clients.mysocketctl.policy_files import read_text

if TYPE_CHECKING:
    from policy.document import PolicyDocument
    from policy.types import AccessRequest, IPNetwork, Policy

ASSURANCES = ("self-asserted", "local-password", "provider-verified")
"""The words of ``policy.types.Assurance``, weakest first."""
MAX_LIST_BYTES = 8 << 20
Lists = dict[str, "tuple[IPNetwork, ...]"]


def read_lists(named: Sequence[tuple[str, str]]) -> Lists:
    """The prefix lists in files, by name. Raises InvalidInput."""
    if not named:
        return {}
    from policy.errors import PolicyError  # noqa: PLC0415 - see above
    from policy.prefix_files import read_prefixes  # noqa: PLC0415

    lists: Lists = {}
    for name, file in named:
        try:
            lists[name] = read_prefixes(read_text(file, MAX_LIST_BYTES)).networks
        except PolicyError as error:
            raise InvalidInput(f"{shown_name(file)}: {error}") from error
    return lists


def require_lists(document: "PolicyDocument", lists: Lists, name: str) -> None:
    """Refuse to guess what is in a list of the account. ``name`` is what to call the document.

    Raises:
        InvalidInput: the document names a list that is neither in it nor given.
    """
    policy = document.policy("document")
    places = [policy.where, *(rule.where for rule in policy.denies if rule.where is not None)]
    missing = sorted({one for where in places for one in where.prefix_lists} - lists.keys())
    if missing:
        options = " ".join(f"--prefix-list {one}=FILE" for one in missing)
        lists_named = ("prefix list " if len(missing) == 1 else "prefix lists ") + ", ".join(
            missing
        )
        raise InvalidInput(f"{name} names the {lists_named}: say {options}")


def failed_cases(document: "PolicyDocument", lists: Lists) -> list[Fault]:
    """The cases of a document that come out otherwise than it expects."""
    from policy.expectations import failures  # noqa: PLC0415 - see above

    found = []
    for failure in failures(document, lists):
        case, decision = failure.case, failure.decision
        title = f"{case.name}: " if case.name else ""
        wanted = ("allow" if case.allow else "deny") + (f" ({case.reason})" if case.reason else "")
        got = f"{decision.effect} ({', '.join(decision.reasons)})"
        found.append(Fault(case.path, case.line, f"{title}expected {wanted}, came out as {got}"))
    return found


def explained_offline(
    document: "PolicyDocument", question: dict[str, Json], lists: Lists
) -> dict[str, Json]:
    """What the gateway would answer to ``question`` by this document alone.

    Raises:
        InvalidInput: the document looks at addresses and ``question`` has none.
    """
    from policy.explain import explain  # noqa: PLC0415 - see above
    from policy.policy_set import PolicySet  # noqa: PLC0415

    policy = document.policy("document", "document")
    if "from" not in question and _looks_at_addresses(policy):
        raise InvalidInput("the document looks at addresses: say --from")
    explanation = explain(PolicySet.build([policy], lists), _request(policy, question))
    return {
        "effect": explanation.decision.effect.value,
        "explanation": explanation.to_json(),
        "text": list(explanation.text()),
    }


def _looks_at_addresses(policy: "Policy") -> bool:
    places = [policy.where, *(rule.where for rule in policy.denies if rule.where is not None)]
    return any(where.prefixes or where.prefix_lists for where in places)


def _request(policy: "Policy", question: dict[str, Json]) -> "AccessRequest":
    """The question as a case would ask it: by somebody who logs in and comes at that moment."""
    from policy.addresses import EmailAddress  # noqa: PLC0415 - see above
    from policy.expectations import DEFAULT_FROM, Expectation  # noqa: PLC0415
    from policy.names import GroupName  # noqa: PLC0415
    from policy.types import Action, Assurance  # noqa: PLC0415

    usual = next((one for one in Action if one in policy.actions), Action.HTTP)
    by_password = question.get("provider") == "local"
    assurance = Assurance.LOCAL_PASSWORD if by_password else Assurance.PROVIDER_VERIFIED
    email = question.get("as")
    return Expectation(
        email=EmailAddress.parse(email) if email else None,
        provider=question.get("provider", ""),
        groups=frozenset(map(GroupName.parse, question.get("groups", ()))),
        assurance=Assurance(question.get("assurance", assurance)),
        service_account=question.get("service_account"),
        source_ip=ip_address(question.get("from", DEFAULT_FROM)),
        at=datetime.fromisoformat(question["at"]) if "at" in question else datetime.now(UTC),
        action=Action(question.get("action", usual)),
        country=question.get("country"),
        asn=question.get("asn"),
        client_proof=bool(question.get("client_proof")),
        allow=True,
    ).request()
