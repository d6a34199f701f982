"""Bodies of ``/audit``: who asked for a socket, and what was issued for it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class DecisionReply(BaseModel):
    """One decision about a socket."""

    decision_id: str
    at: datetime
    effect: str = Field(examples=["allow", "deny"])
    reasons: list[str]
    policy_ids: list[str]
    email: str | None = Field(description="The verified address, if there was one.")
    issuer: str = Field(description="The identity provider that vouched for the person.")
    subject: str = Field(description="The person's id there.")
    action: str = Field(examples=["http", "tls", "ssh"])
    source_ip: str
    country: str | None


class ExplainedDecisionReply(DecisionReply):
    """One decision as the socket's owner sees it."""

    socket_id: str
    provider: str | None
    asn: int | None
    rules: str = Field(
        description="`in-force`: explained by today's rules, which are those of then; `then`: by"
        " the policies of then; `recorded`: they cannot be had.",
        examples=["in-force", "then", "recorded"],
    )
    explanation: dict[str, Any] | None
    text: list[str]


class OwnDecisionReply(BaseModel):
    """One decision as the person it is about sees it."""

    decision_id: str
    at: datetime
    effect: str
    reason: str = Field(description="A sentence that gives nothing of the rules away.")
    dnsname: str


class CertificateReply(BaseModel):
    """One certificate issued for a socket; the certificate itself is not repeated."""

    serial: str
    kind: str = Field(examples=["ssh-user", "x509-client", "ssh-tunnel"])
    subject: str
    epoch: int | None
    decision_id: str | None = Field(description="The decision it rests on.")
    public_key_fingerprint: str
    not_before: datetime
    not_after: datetime
    issued_at: datetime
