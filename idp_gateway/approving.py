"""Who may answer a request for access: the rules alone, apart from database and HTTP.

An approver is the socket's owner or one of the addresses the owner named. Nobody answers for
themselves, and two people are two only if neither identity nor address tells that they are one.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from idp_gateway.errors import Conflict, Forbidden
from idp_gateway.records import AccountRecord
from idp_gateway.request_records import AccessRequestRecord, ApprovalRecord, ApprovalRulesRecord
from policy.types import Assurance, Identity

TWO = 2
OWN = "own-request"
IMPOSSIBLE = "two-person-impossible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who asks, answers or claims: as they are signed in, with their account if any."""

    issuer: str
    subject: str
    provider: str
    name: str
    email: str | None
    """Only if a provider that can vouch for it verified it: a self-asserted address is none."""
    account_id: str | None
    account_email: str | None = None
    """Their account's address, verified or not: it tells people apart and proves nothing."""

    @classmethod
    def of(cls, identity: Identity, account: AccountRecord | None) -> Self:
        """The person behind a login."""
        vouched = identity.assurance.rank > Assurance.SELF_ASSERTED.rank
        return cls(
            issuer=identity.issuer,
            subject=identity.subject,
            provider=identity.provider,
            name=identity.name,
            email=str(identity.email) if vouched and identity.email is not None else None,
            account_id=None if account is None else account.account_id,
            account_email=None if account is None else account.email,
        )

    @property
    def label(self) -> str:
        """What records call them."""
        return self.email or self.account_email or self.name

    def is_also(self, *, issuer: str, subject: str, email: str) -> bool:
        """Whether somebody with this identity and address is, for all one can tell, the same."""
        same_identity = (self.issuer, self.subject) == (issuer, subject)
        return same_identity or email in {self.email, self.account_email}

    def asked(self, request: AccessRequestRecord) -> bool:
        """Whether the request is theirs; a person with two providers is one here."""
        own_account = self.account_id is not None and self.account_id == request.asker_account_id
        return own_account or self.is_also(
            issuer=request.issuer, subject=request.subject, email=request.email
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRules:
    """What holds for one socket: its own rules and those of its whole account together."""

    account_id: str
    owner_email: str
    asking: bool = True
    two_person: bool = False
    approvers: frozenset[str] = frozenset()

    @property
    def needed(self) -> int:
        """How many people have to approve."""
        return TWO if self.two_person else 1

    @property
    def owner_decides_alone(self) -> bool:
        """Whether the owner has nobody to ask."""
        return not self.two_person and not self.approvers

    def with_rules(self, records: Iterable[ApprovalRulesRecord]) -> "ApprovalRules":
        """These rules with all of ``records`` added: the stricter counts, and every approver."""
        rules = self
        for record in records:
            rules = replace(
                rules,
                asking=rules.asking and record.asking,
                two_person=rules.two_person or record.two_person,
                approvers=rules.approvers | frozenset(record.approvers),
            )
        return rules

    def may_answer(self, person: Person) -> bool:
        """Whether somebody is one of those who answer, whatever the request."""
        owns = person.account_id is not None and person.account_id == self.account_id
        return owns or (person.email is not None and person.email in self.approvers)

    def counts(self, approval: ApprovalRecord, owners: Collection[tuple[str, str]]) -> bool:
        """Whether who gave it is still one of those who answer; ``owners`` are the identities
        (issuer, subject) that the owner's account has.
        """
        named = self.approvers | {self.owner_email}
        return approval.email in named or (approval.issuer, approval.subject) in owners

    def answerers(self, request: AccessRequestRecord) -> int:
        """How many different people could approve a request."""
        able = self.approvers | {self.owner_email}
        if request.asker_account_id == self.account_id:
            able -= {self.owner_email}
        return len(able - {request.email})


def check_approval(
    rules: ApprovalRules,
    request: AccessRequestRecord,
    earlier: Sequence[ApprovalRecord],
    person: Person,
) -> None:
    """Let somebody, who may answer, approve a pending request.

    Raises:
        Forbidden: it is their own.
        Conflict: they have approved it already, or there are not enough people who could.
    """
    check_not_own(request, person)
    needed = max(request.needed, rules.needed)
    if rules.answerers(request) < needed:
        raise Conflict(
            "two different people must approve this, and apart from who asks there are fewer who"
            " may: name another approver first",
            reason=IMPOSSIBLE,
        )
    for one in earlier:
        if person.is_also(issuer=one.issuer, subject=one.subject, email=one.email):
            raise Conflict(
                "you have approved this already; it takes somebody else as well",
                reason="already-approved",
            )


def check_not_own(request: AccessRequestRecord, person: Person) -> None:
    """Nobody answers their own request.

    Raises:
        Forbidden: it is theirs.
    """
    if person.asked(request):
        raise Forbidden("nobody answers their own request", reason=OWN)
