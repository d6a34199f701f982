"""Bodies of ``/audit``: who asked for a socket, and what was issued for it."""

from datetime import datetime

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
