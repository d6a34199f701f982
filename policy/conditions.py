"""The conditions a policy is made of: one small total function each, no regular expression.

A condition of an allowing policy is met or gives the reason why not; what is not known does not
meet it. In a deny rule what is not known counts as a match.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple, Self

from policy.address_sets import AddressSet, unmapped
from policy.addresses import DomainName, EmailAddress
from policy.names import GroupName, SubjectName
from policy.types import (
    AccessRequest,
    Action,
    Assurance,
    Identity,
    IPAddress,
    Policy,
    Reason,
    SocketType,
    Where,
    Who,
)
from policy.windows import in_utc

_OFFERED = {
    SocketType.HTTP: frozenset({Action.HTTP}),
    SocketType.HTTPS: frozenset({Action.HTTP}),
    SocketType.TCP: frozenset({Action.SSH}),
    SocketType.TLS: frozenset({Action.TLS, Action.SSH}),
}
_RANKS = {assurance: assurance.rank for assurance in Assurance}
ANYBODYS_DOMAINS = frozenset({DomainName(("users", "noreply", "github", "com"))})
"""Domains that say nothing of who has an address there; no domain rule admits it."""

WhoKey = EmailAddress | DomainName | SubjectName | GroupName | str
"""One entry of ``Who``; text is the name of a service account."""


class Facts(NamedTuple):
    """What is asked, in the one spelling that conditions compare."""

    identity: Identity
    action: Action
    address: IPAddress
    country: str | None
    asn: int | None
    client_proof: bool
    at: datetime

    @classmethod
    def of(cls, request: AccessRequest) -> Self:
        return cls(
            request.identity,
            request.action,
            unmapped(request.source_ip),
            request.country or None,
            request.asn,
            request.client_proof,
            in_utc(request.at),
        )


def offers(socket_type: SocketType, action: Action) -> bool:
    """Whether a socket of this type can be used in this way at all."""
    return action in _OFFERED[socket_type]


def entries(who: Who) -> Iterator[WhoKey]:
    """Everything ``who`` lists; nothing if it names nobody."""
    yield from who.emails
    yield from who.domains
    yield from who.subjects
    yield from who.groups
    yield from who.service_accounts


def admitted_as(identity: Identity, *, subjects: bool = True) -> list[tuple[WhoKey, Reason]]:
    """The entries that admit ``identity``, and the reason each would be. A program is admitted by
    its name alone. Without ``subjects`` those are left out.
    """
    if identity.service_account is not None:
        return [(identity.service_account, Reason.SERVICE_ACCOUNT_ALLOWED)]
    email = identity.email
    found: list[tuple[WhoKey, Reason]] = []
    if email is not None:
        found.append((email, Reason.EMAIL_ALLOWED))
        if speaks_for_domain(identity, email):
            found.append((email.domain, Reason.DOMAIN_ALLOWED))
    if subjects:
        found += [(subject, Reason.SUBJECT_ALLOWED) for subject in _subjects(identity)]
    if identity.groups:
        found += [(group, Reason.GROUP_ALLOWED) for group in identity.groups]
    return found


def kept_out_as(identity: Identity, *, subjects: bool = True) -> list[WhoKey]:
    """The entries by which a deny rule meets ``identity``: everything that is said of it."""
    found: list[WhoKey] = [*identity.groups]
    if identity.service_account is not None:
        found.append(identity.service_account)
    if identity.email is not None:
        found += [identity.email, identity.email.domain]
    if subjects:
        found += _subjects(identity)
    return found


def speaks_for_domain(identity: Identity, email: EmailAddress) -> bool:
    """Whether the address shows that its owner belongs to the domain. Not so if anybody may have
    one there, or if the provider takes any mailbox for anybody's.
    """
    return identity.assurance is not Assurance.SELF_ASSERTED and (
        email.domain not in ANYBODYS_DOMAINS
    )


def _subjects(identity: Identity) -> Iterator[SubjectName]:
    if identity.provider:
        if identity.email is not None:
            yield SubjectName(identity.provider, identity.email)
        if identity.subject:
            yield SubjectName(identity.provider, None, identity.subject)


def action(policy: Policy, facts: Facts) -> Reason | None:
    return None if facts.action in policy.actions else Reason.ACTION_NOT_ALLOWED


def country(policy: Policy, facts: Facts) -> Reason | None:
    where = policy.where
    if not where.countries and not where.countries_not:
        return None
    if facts.country is None:
        return Reason.COUNTRY_UNKNOWN
    listed = not where.countries or facts.country in where.countries
    good = listed and facts.country not in where.countries_not
    return None if good else Reason.COUNTRY_NOT_ALLOWED


def network(policy: Policy, facts: Facts) -> Reason | None:
    where = policy.where
    if not where.asns and not where.asns_not:
        return None
    if facts.asn is None:
        return Reason.NETWORK_UNKNOWN
    listed = not where.asns or facts.asn in where.asns
    return None if listed and facts.asn not in where.asns_not else Reason.NETWORK_NOT_ALLOWED


def assurance(policy: Policy, facts: Facts) -> Reason | None:
    least = policy.min_assurance
    if least is None or _RANKS[facts.identity.assurance] >= _RANKS[least]:
        return None
    return Reason.ASSURANCE_TOO_LOW


def client_proof(policy: Policy, facts: Facts) -> Reason | None:
    good = facts.client_proof or not policy.client_proof
    return None if good else Reason.CLIENT_PROOF_REQUIRED


LASTING = (action, country, network, assurance, client_proof)
"""The conditions that rest neither on the address itself nor on the time."""


def address(addresses: AddressSet | None, facts: Facts) -> Reason | None:
    """``addresses`` is ``None`` where a policy says nothing of them."""
    good = addresses is None or facts.address in addresses
    return None if good else Reason.ADDRESS_NOT_ALLOWED


def placed_in(where: Where, facts: Facts) -> bool:
    """Whether a deny rule's countries and networks match, its addresses left aside."""
    if facts.country is not None:
        if where.countries and facts.country not in where.countries:
            return False
        if facts.country in where.countries_not:
            return False
    if facts.asn is not None:
        if where.asns and facts.asn not in where.asns:
            return False
        if facts.asn in where.asns_not:
            return False
    return True
