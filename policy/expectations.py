"""The cases inside a document (``expect:``): what it must decide, tried before it is used.

A case is decided by the document alone: as if it were the only policy of a socket of the kind its
action needs, asked by somebody who has just logged in.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Any

from policy import texts
from policy.addresses import EmailAddress
from policy.cursor import Cursor, shown
from policy.evaluate import evaluate
from policy.index import ListSets, PrefixLists
from policy.names import GroupName
from policy.policy_set import NO_LISTS, PolicySet
from policy.types import (
    AccessRequest,
    Action,
    Assurance,
    Decision,
    Effect,
    Identity,
    IPAddress,
    Reason,
    Socket,
    SocketType,
)

if TYPE_CHECKING:
    from policy.document import PolicyDocument

CASE_KEYS = (
    *("as", "from", "at", "action", "country", "asn", "client_proof", "allow", "reason", "name"),
)
AS_KEYS = ("email", "provider", "subject", "groups", "assurance", "service_account")
DEFAULT_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""A Monday at noon."""
DEFAULT_FROM = IPv4Address("192.0.2.1")
_TYPES = {
    Action.HTTP: SocketType.HTTP,
    Action.TLS: SocketType.TLS,
    Action.SSH: SocketType.TLS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One case. What is left out of ``as`` is not known of the caller."""

    email: EmailAddress | None = None
    provider: str = ""
    subject: str = ""
    groups: frozenset[GroupName] = frozenset()
    assurance: Assurance = Assurance.PROVIDER_VERIFIED
    service_account: str | None = None
    source_ip: IPAddress = DEFAULT_FROM
    at: datetime = DEFAULT_AT
    action: Action = Action.HTTP
    country: str | None = None
    asn: int | None = None
    client_proof: bool = False
    allow: bool
    reason: Reason | None = None
    """One of the decision's reasons, if it matters which."""
    name: str = ""
    path: str = field(default="", compare=False)
    line: int | None = field(default=None, compare=False)

    def request(self) -> AccessRequest:
        """The request the case is about."""
        identity = Identity(
            issuer=self.provider,
            subject=self.subject,
            provider=self.provider,
            email=self.email,
            name="",
            assurance=self.assurance,
            groups=self.groups,
            service_account=self.service_account,
            authenticated_at=self.at,
        )
        socket = Socket(socket_id="expect", dns_name="", socket_type=_TYPES[self.action], epoch=1)
        return AccessRequest(
            identity=identity,
            socket=socket,
            action=self.action,
            source_ip=self.source_ip,
            country=self.country,
            asn=self.asn,
            client_proof=self.client_proof,
            at=self.at,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """A case the document does not decide as it says."""

    case: Expectation
    decision: Decision

    def __str__(self) -> str:
        place = f"line {self.case.line}: " if self.case.line is not None else ""
        wanted = Effect.ALLOW if self.case.allow else Effect.DENY
        because = f" ({self.case.reason})" if self.case.reason else ""
        got = f"{self.decision.effect} ({', '.join(self.decision.reasons)})"
        title = f" {self.case.name}" if self.case.name else ""
        return f"{place}{self.case.path}{title}: expected {wanted}{because}, got {got}"


def failures(
    document: "PolicyDocument", prefix_lists: PrefixLists | ListSets = NO_LISTS
) -> tuple[Failure, ...]:
    """The cases of ``document`` that fail; ``prefix_lists`` are those its own do not hide, as
    ``ListSets`` where many documents are tried on the same.
    """
    lists = prefix_lists if isinstance(prefix_lists, ListSets) else ListSets(prefix_lists)
    policies = PolicySet.for_cases([document.policy("document")], lists)
    found = []
    for case in document.expect:
        decision = evaluate(policies, case.request())
        as_said = case.reason is None or case.reason in decision.reasons
        if decision.allowed != case.allow or not as_said:
            found.append(Failure(case, decision))
    return tuple(found)


def read_expectation(place: Cursor, actions: frozenset[Action]) -> Expectation | None:
    """One element of ``expect``; nothing, and faults, if it cannot be read."""
    before = len(place.faults.found)
    found = place.members(CASE_KEYS)
    if "allow" not in found or "as" not in found:
        place.fault("a case says as whom (as) and whether it is to be allowed (allow)")
        return None
    parts: dict[str, Any] = {"path": place.path, "line": place.line}
    parts |= _read_as(found["as"])
    parts["action"] = min(actions, default=Action.HTTP)
    readers: dict[str, tuple[str, Any]] = {
        "from": ("source_ip", _address),
        "at": ("at", texts.instant),
        "action": ("action", texts.action),
        "country": ("country", texts.country),
        "reason": ("reason", _reason),
        "name": ("name", texts.title),
    }
    for key, (part, read) in readers.items():
        if key in found and (value := found[key].text(read)):
            parts[part] = value[0]
    for key in {"allow", "client_proof"} & set(found):
        parts[key] = found[key].flag()
    if "asn" in found:
        parts["asn"] = _asn(found["asn"])
    return Expectation(**parts) if len(place.faults.found) == before else None


def _read_as(place: Cursor) -> dict[str, Any]:
    found = place.members(AS_KEYS)
    if all(at.says_nothing for at in found.values()):
        place.fault("names nobody")
    readers: dict[str, Any] = {
        "email": EmailAddress.parse,
        "provider": texts.name,
        "subject": texts.title,
        "assurance": texts.assurance,
        "service_account": texts.program,
    }
    parts: dict[str, Any] = {}
    for key, read in readers.items():
        if key in found and (value := found[key].text(read)):
            parts[key] = value[0]
    if "groups" in found:
        parts["groups"] = found["groups"].entries(GroupName.parse)
    return parts


def _address(text: str) -> IPAddress:
    try:
        return ip_address(text)
    except ValueError as error:
        raise texts.TextError(f"not an address: {text[:60]!r}") from error


def _reason(text: str) -> Reason:
    if text not in set(Reason):
        raise texts.TextError(f"not a reason known here: {text[:60]!r}")
    return Reason(text)


def _asn(place: Cursor) -> int | None:
    if isinstance(place.value, bool) or not isinstance(place.value, int):
        place.fault(f"not the number of an autonomous system: {shown(place.value)}")
        return None
    return place.value
