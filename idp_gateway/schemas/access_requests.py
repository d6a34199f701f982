"""Bodies of ``/access-requests``, ``/guests``, ``/approval-rules`` and ``/audit/requests``."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StrictBool

from idp_gateway.schemas.text import Email, EmailList, Identifier, LongText, Moment, not_blank
from policy.types import Action

MAX_APPROVERS = 50

Words = Annotated[LongText, AfterValidator(not_blank)]
Minutes = Annotated[int, Field(ge=1, le=30 * 24 * 60, strict=True)]


class AccessRequestForm(BaseModel):
    """What somebody asks for."""

    socket: str = Field(min_length=1, max_length=253, description="Its DNS name.")
    action: Action | None = Field(
        default=None, description="`http`, `tls` or `ssh`; else what the socket's type suggests."
    )
    decision_id: Identifier | None = Field(
        default=None, description="The denial you were shown; else decided anew."
    )
    reason: Words = Field(description="For who answers, in your words.")
    minutes: Minutes = Field(default=60, description="For how long.")


class ApprovalForm(BaseModel):
    """A yes."""

    minutes: Minutes | None = Field(default=None, description="Shorter than asked for.")
    note: LongText = Field(default="", description="For the record, and for who asked.")


class NoteForm(BaseModel):
    """Any other answer."""

    note: LongText = Field(default="", description="For the record, and for who asked.")


class ApprovalReply(BaseModel):
    """One person's yes."""

    by: str
    at: datetime
    minutes: int
    note: str


class AccessRequestReply(BaseModel):
    """A request for access, as one who answers or the one who asked sees it."""

    request_id: str
    state: str = Field(
        examples=["pending", "approved", "denied", "cancelled", "revoked", "expired", "ended"]
    )
    socket_id: str
    socket: str = Field(description="Its DNS name.")
    action: str
    email: str = Field(description="Of who asks, verified.")
    name: str
    issuer: str
    subject: str
    reason: str
    minutes: int
    decision_id: str = Field(description="The denial it rests on.")
    created_at: datetime
    waits_until: datetime | None = Field(description="When it expires if nobody answers.")
    approvals_needed: int
    approvals: list[ApprovalReply] | None = Field(
        default=None, description="Those that count, by whom so far; for those who answer."
    )
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    policy_id: str | None = Field(
        default=None, description="What decisions that rest on the approval name."
    )
    answered_at: datetime | None = None
    answered_by: str | None = Field(default=None, description="For those who answer.")
    note: str = Field(default="", description="Of the last answer.")
    hint: str | None = Field(default=None, description="Why nobody can approve it as things are.")


class GuestForm(BaseModel):
    """Whom to let in, to which socket, and when."""

    socket_id: Identifier
    email: Email
    starts_at: Moment | None = Field(default=None, description="From now on if not said.")
    ends_at: Moment
    note: LongText = ""


class GuestReply(BaseModel):
    """An invitation."""

    guest_id: str
    socket_id: str
    email: str
    state: str = Field(examples=["invited", "claimed", "revoked", "ended"])
    starts_at: datetime
    ends_at: datetime
    note: str
    created_by: str
    created_at: datetime
    claimed_at: datetime | None
    issuer: str | None = Field(description="Who claimed it.")
    subject: str | None
    revoked_at: datetime | None
    policy_id: str
    link: str | None = Field(
        default=None, description="Shown once, when it is made. It lets nobody in by itself."
    )


class ApprovalRulesForm(BaseModel):
    """Who may ask, and who approves."""

    asking: StrictBool = Field(default=True, description="Whether people may ask at all.")
    two_person: StrictBool = Field(
        default=False, description="Whether two different people must approve."
    )
    approvers: Annotated[EmailList, Field(max_length=MAX_APPROVERS)] = Field(
        default=[], description="Addresses of people who may answer, beside you."
    )
    why: LongText = ""


class ApprovalRulesReply(BaseModel):
    """The rules of a socket, or of the whole account, as they were set."""

    socket_id: str | None
    asking: bool
    two_person: bool
    approvers: list[str]


class AccessEventReply(BaseModel):
    """One thing that happened about requests, guests or approval rules."""

    at: datetime
    event: str = Field(examples=["asked", "seconded", "approved", "denied", "revoked", "invited"])
    socket_id: str | None
    socket: str
    concerns: str = Field(description="Id of the request or guest; empty for rules.")
    by: str
    issuer: str
    subject: str
    about: str = Field(description="Address of who is to be let in.")
    words: str = Field(description="The reason or note.")
    minutes: int | None
    policy_id: str | None = Field(description="What decisions rest on because of it, or no more.")
    decision_id: str | None = Field(description="The denial that was asked about.")
