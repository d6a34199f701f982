"""What the store keeps of requests for access, guests and their answers; see ``records``."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from policy.types import Action

APPROVAL_PREFIX = "approval:"
GUEST_PREFIX = "guest:"


class RequestState(StrEnum):
    """Where a request for access stands."""

    PENDING = "pending"
    APPROVED = "approved"
    """It lets somebody in, up to its end."""
    DENIED = "denied"
    CANCELLED = "cancelled"
    """Taken back by who asked, before or after it was approved."""
    REVOKED = "revoked"
    """Approved, and ended early by an approver."""
    EXPIRED = "expired"
    """Nobody answered in time."""
    ENDED = "ended"
    """Approved, and over as it was meant to be."""


class GuestState(StrEnum):
    """Where an invitation stands."""

    INVITED = "invited"
    """Nobody has claimed it: it lets nobody in."""
    CLAIMED = "claimed"
    REVOKED = "revoked"
    ENDED = "ended"


class AccessEventKind(StrEnum):
    """What happened; the words of the audit of requests."""

    ASKED = "asked"
    SECONDED = "seconded"
    """Approved by one of the people it takes; nobody was let in yet."""
    APPROVED = "approved"
    DENIED = "denied"
    CANCELLED = "cancelled"
    REVOKED = "revoked"
    INVITED = "invited"
    CLAIMED = "claimed"
    UNINVITED = "uninvited"
    RULES_CHANGED = "rules-changed"
    """Who may approve, and how many it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequestRecord:
    request_id: str
    account_id: str
    """Whose socket it is."""
    socket_id: str
    action: Action
    decision_id: str
    """The denial it rests on."""
    issuer: str
    subject: str
    provider: str
    """What the gateway called the issuer when it was asked."""
    email: str
    """Verified, at the time of asking; for people to read, not what an approval admits."""
    name: str
    asker_account_id: str | None
    """The account of who asks, if they have one."""
    reason: str
    """In the words of who asks."""
    minutes: int
    needed: int
    """How many different people have to approve it."""
    state: RequestState = RequestState.PENDING
    created_at: datetime
    over_at: datetime
    """When it has no effect any more: an unanswered request's end, the end of what was approved,
    else the moment it was answered."""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    """End of what was approved."""
    answered_at: datetime | None = None
    answered_by: str | None = None
    note: str = ""
    """Of the last answer."""

    @property
    def policy_id(self) -> str:
        """What decisions call the policy that an approval is."""
        return f"{APPROVAL_PREFIX}{self.request_id}"

    def state_at(self, now: datetime) -> RequestState:
        """The state with the time that has passed."""
        if now < self.over_at:
            return self.state
        passed = {
            RequestState.PENDING: RequestState.EXPIRED,
            RequestState.APPROVED: RequestState.ENDED,
        }
        return passed.get(self.state, self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRecord:
    """One person's yes to one request."""

    request_id: str
    email: str
    issuer: str
    subject: str
    minutes: int
    note: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRecord:
    guest_id: str
    account_id: str
    socket_id: str
    email: str
    """The one address that may claim it."""
    code_hash: str
    """SHA-256 (hex) of the link's secret."""
    starts_at: datetime
    ends_at: datetime
    note: str
    created_by: str
    created_at: datetime
    claimed_at: datetime | None = None
    issuer: str | None = None
    """Who claimed it; from then on nobody else is admitted by it."""
    subject: str | None = None
    provider: str | None = None
    revoked_at: datetime | None = None

    @property
    def policy_id(self) -> str:
        """What decisions call the policy that a claimed invitation is."""
        return f"{GUEST_PREFIX}{self.guest_id}"

    def state_at(self, now: datetime) -> GuestState:
        """Where it stands at a moment."""
        if self.revoked_at is not None:
            return GuestState.REVOKED
        if now >= self.ends_at:
            return GuestState.ENDED
        return GuestState.INVITED if self.claimed_at is None else GuestState.CLAIMED


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRulesRecord:
    """Who may approve, for a socket or a whole account. ``(account_id, socket_id)`` is the key."""

    account_id: str
    socket_id: str = ""
    """Empty for every socket of the account."""
    asking: bool = True
    """Whether people may ask at all."""
    two_person: bool = False
    approvers: tuple[str, ...] = ()
    """E-mail addresses, beside the owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessEventRecord:
    """One line of the audit of requests; outlives what it is about."""

    account_id: str
    """Whose socket it is about."""
    socket_id: str
    """Empty if about the whole account."""
    dns_name: str
    concerns: str
    """Id of the request or guest; empty for rules."""
    kind: AccessEventKind
    at: datetime
    email: str
    """Who did it."""
    issuer: str
    subject: str
    about: str
    """E-mail of who is to be let in."""
    words: str
    """The reason or note."""
    minutes: int | None = None
    policy_id: str | None = None
    """What it led to: the policy that decisions rest on from then on, or no longer."""
    decision_id: str | None = None
