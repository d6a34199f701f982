"""Bodies of ``/ca/log`` and ``/ca/certificates``: what is in the transparency log, and proofs."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from idp_gateway.records import CertificateKind
from idp_gateway.schemas.audit import CertificateReply, DecisionReply
from idp_gateway.schemas.text import Moment, serial_number

MAX_QUESTIONS = 200
"""Certificates asked about in one call."""

_Word = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")]

_Wish = Annotated[str | None, Field(min_length=1, max_length=320, pattern=r"^[!-~]+$")]


def _serial_as_kept(serial: str | None) -> str | None:
    return None if serial is None else serial_number(serial)


class LogKeyReply(BaseModel):
    """The log's public key, to be kept: later checkpoints must be signed by it."""

    key: str = Field(
        description="`<name>+<key hash>+<base64>`, as in C2SP signed-note.",
        examples=["gateway.example/ca/log+5f9d8a0b+AXm…"],
    )


class CheckpointReply(BaseModel):
    """What the log commits to now."""

    checkpoint: str = Field(description="Signed note with origin, size and root hash.")
    size: int = Field(description="Number of certificates in the log.")


class LogProofReply(BaseModel):
    """Where a certificate stands in the log, and how to check it (RFC 6962 §2.1.1)."""

    index: int
    issued_at: int = Field(description="Milliseconds since 1970 UTC; part of the leaf.")
    hashes: list[str] = Field(description="Audit path, lowest first, base64.")
    checkpoint: str = Field(description="Signed note the path leads to.")


class ConsistencyReply(BaseModel):
    """Proof that the log of one size begins with the log of another (RFC 6962 §2.1.2)."""

    hashes: list[str] = Field(description="In the order of the RFC, base64.")


class SoughtQuery(BaseModel):
    """Which entries; what is left out does not matter."""

    socket_id: _Wish = None
    subject: _Wish = Field(default=None, description="E-mail, host name or tunnel login.")
    serial: Annotated[_Wish, AfterValidator(_serial_as_kept)] = None
    key_fingerprint: _Wish = Field(default=None, description="Of the certified key.")
    kind: CertificateKind | None = None
    since: Moment | None = Field(default=None, description="Issued then or later.")
    before: int | None = Field(
        default=None, ge=0, le=2**62, description="Only leaves below this index."
    )
    limit: int = Field(default=100, ge=1, le=500)


class LogEntryReply(CertificateReply):
    """One certificate in the log."""

    index: int | None = Field(
        description="Its leaf; none for what was issued before there was a log."
    )
    socket_id: str | None
    ca: str = Field(description="SSH: fingerprint of the CA's key. X.509: the CA's serial number.")
    policy_version: str | None
    proven: bool = Field(description="Whether the holder proved to have the private key.")


class ExplainReply(LogEntryReply):
    """Why one certificate was issued."""

    decision: DecisionReply | None = Field(
        description="None for certificates that rest on no decision, or when it is forgotten."
    )
    login: str | None = Field(
        description="Who vouched for the person: `local`, a provider's name, or its issuer."
    )
    certificate: str = Field(description="As it was issued: PEM, or one SSH line.")


class QuestionForm(BaseModel):
    """A certificate that a server or an edge saw. What is said beside the serial must fit, too."""

    kind: Literal["ssh", "x509"]
    serial: _Word = Field(description="SSH: decimal. X.509: hex.")
    ca: _Word | None = Field(default=None, description="SSH: fingerprint of the CA's key.")
    key_fingerprint: _Word | None = Field(
        default=None, description="Of the certified key, as sshd logs it."
    )
    key_id: str | None = Field(
        default=None, max_length=4096, description="SSH key id, which a forger may choose freely."
    )
    certificate_sha256: _Word | None = Field(
        default=None, description="SHA-256 of the X.509 certificate's DER, hex."
    )
    seen_at: Moment | None = Field(
        default=None, description="When it was last let in; ten minutes after its end is too late."
    )


class KnownForm(BaseModel):
    """Certificates to look for among those issued for one's own sockets."""

    certificates: list[QuestionForm] = Field(max_length=MAX_QUESTIONS)


class AnswerReply(BaseModel):
    """What is known of one certificate asked about."""

    serial: str
    verdict: Literal["issued", "forgotten", "different", "unknown"] = Field(
        description=(
            "`issued`: as said. `forgotten`: as said too, its record is no longer kept. "
            "`different`: the serial was issued, but with another key, key id, CA or content, "
            "or had ended when it was seen. "
            "`unknown`: never issued for one's sockets."
        )
    )
    subject: str | None = None
    issued_at: datetime | None = None


class KnownReply(BaseModel):
    """One answer for each certificate, in their order."""

    certificates: list[AnswerReply]
