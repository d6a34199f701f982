"""Documents tried out where they are written: the gateway's own functions, without the gateway.

Imported only by the commands that need it, and the language itself only when they do.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from clients.mysocketctl.api import Json
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.files import shown_name
from clients.mysocketctl.policy_files import read_text

if TYPE_CHECKING:
    from policy.document import PolicyDocument

    from policy.types import AccessRequest, Identity, IPNetwork, Policy

ASSURANCES = ("self-asserted", "local-password", "provider-verified")
"""The words of ``policy.types.Assurance``, weakest first."""
MAX_LIST_BYTES = 8 << 20
Lists = dict[str, "tuple[IPNetwork, ...]"]


def read_lists(named: Sequence[tuple[str, str]]) -> Lists:
    """The prefix lists in files, by name. Raises InvalidInput."""
    if not named:
        return {}
    from policy.prefix_files import read_prefixes  # noqa: PLC0415

    from policy.errors import PolicyError  # noqa: PLC0415 - see above

    lists: Lists = {}
    for name, file in named:
        try:
            lists[name] = read_prefixes(read_text(file, MAX_LIST_BYTES)).networks
        except PolicyError as error:
            raise InvalidInput(f"{shown_name(file)}: {error}") from error
    return lists


def failed_cases(document: "PolicyDocument", lists: Lists) -> list[dict[str, Json]]:
    """The cases of a document that come out otherwise than it expects."""
    from policy.expectations import failures  # noqa: PLC0415 - see above

    return [
        {"path": f"expect[{failure.case}]", "message": failure.message}
        for failure in failures(document, lists)
    ]


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
    """The question as somebody who logs in and comes at that very moment."""
    from policy.types import AccessRequest, Action, Socket, SocketType  # noqa: PLC0415 - see above

    given = question.get("action")
    action = (
        Action(given) if given else min(policy.actions, key=list(Action).index, default=Action.HTTP)
    )
    at = datetime.fromisoformat(question["at"]) if "at" in question else datetime.now(UTC)
    return AccessRequest(
        identity=_identity(question, at),
        socket=Socket(
            socket_id="document",
            dns_name="document",
            socket_type=SocketType.HTTP if action is Action.HTTP else SocketType.TLS,
            epoch=1,
            identity_required=True,
        ),
        action=action,
        source_ip=ip_address(question.get("from", "127.0.0.1")),
        country=question.get("country"),
        asn=question.get("asn"),
        client_proof=bool(question.get("client_proof")),
        at=at,
    )


def _identity(question: dict[str, Json], at: datetime) -> "Identity":
    from policy.addresses import EmailAddress  # noqa: PLC0415 - see above
    from policy.names import GroupName  # noqa: PLC0415
    from policy.types import Assurance, Identity  # noqa: PLC0415

    email = question.get("as")
    by_password = question.get("provider") == "local"
    usual = Assurance.LOCAL_PASSWORD if by_password else Assurance.PROVIDER_VERIFIED
    return Identity(
        issuer="",
        subject=email or "",
        provider=question.get("provider", ""),
        email=EmailAddress.parse(email) if email else None,
        name="",
        assurance=Assurance(question.get("assurance", usual)),
        groups=frozenset(map(GroupName.parse, question.get("groups", ()))),
        service_account=question.get("service_account"),
        authenticated_at=at,
    )
