"""``/audit``: what an owner can see of who came to a socket."""

from typing import Annotated

from fastapi import APIRouter, Query

from idp_gateway.answering import event_reply
from idp_gateway.callers import CallerDep
from idp_gateway.dependencies import GatewayDep
from idp_gateway.errors import NotFound
from idp_gateway.policy_questions import Reconstruction, reconstruct
from idp_gateway.records import CertificateRecord, DecisionRecord
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.access_requests import AccessEventReply
from idp_gateway.schemas.audit import (
    CertificateReply,
    DecisionReply,
    ExplainedDecisionReply,
    OwnDecisionReply,
)
from idp_gateway.schemas.text import Identifier
from policy.explain import safe_reason
from policy.types import Decision, Reason

router = APIRouter(prefix="/audit", tags=["audit"])

SocketId = Annotated[str, Query(max_length=64, description="One of one's own sockets.")]
Page = Annotated[int, Query(ge=1, le=1_000_000, description="Counts from 1.")]
PageSize = Annotated[int, Query(ge=1, le=500)]


@router.get("/decisions", responses=problems(400, 401, 404))
def list_decisions(
    gateway: GatewayDep,
    caller: CallerDep,
    socket_id: SocketId,
    page: Page = 1,
    page_size: PageSize = 100,
) -> list[DecisionReply]:
    """Decisions about one's socket, newest first: who asked for what, and what was decided."""
    gateway.store.get_socket(caller.account.account_id, socket_id)
    found = gateway.store.decisions_page(socket_id, offset=(page - 1) * page_size, limit=page_size)
    return [decision_reply(record) for record in found]


@router.get("/decisions/{decision_id}", responses=problems(401, 404, 429))
def show_decision(
    gateway: GatewayDep, caller: CallerDep, decision_id: str
) -> ExplainedDecisionReply | OwnDecisionReply:
    """All of a decision for the socket's owner; for the person it is about, what is safe to say."""
    unknown = NotFound("no such decision", reason="decision-unknown")
    record = gateway.store.find_decision(decision_id)
    socket = None if record is None else gateway.store.find_socket(record.socket_id)
    if record is None or socket is None:
        raise unknown
    session = caller.session
    if socket.account_id == caller.account.account_id:
        return _explained(record, reconstruct(gateway, socket, record))
    if (session.issuer, session.subject) == (record.issuer, record.subject):
        return OwnDecisionReply(
            decision_id=record.decision_id,
            at=record.at,
            effect=record.effect,
            reason=_safe(record),
            dnsname=socket.dns_name,
        )
    raise unknown


def _safe(record: DecisionRecord) -> str:
    reasons = tuple(Reason(reason) for reason in record.reasons)
    return safe_reason(Decision(effect=record.effect, reasons=reasons))


def _explained(record: DecisionRecord, found: Reconstruction) -> ExplainedDecisionReply:
    explanation = found.explanation
    return ExplainedDecisionReply(
        **decision_reply(record).model_dump(),
        socket_id=record.socket_id,
        provider=record.provider,
        asn=record.asn,
        rules=found.rules,
        explanation=None if explanation is None else dict(explanation.to_json()),
        text=[] if explanation is None else list(explanation.text()),
    )


@router.get("/certificates", responses=problems(400, 401, 404))
def list_certificates(
    gateway: GatewayDep,
    caller: CallerDep,
    socket_id: SocketId,
    page: Page = 1,
    page_size: PageSize = 100,
) -> list[CertificateReply]:
    """Certificates issued for one's socket, newest first."""
    gateway.store.get_socket(caller.account.account_id, socket_id)
    found = gateway.store.certificates_page(
        socket_id, offset=(page - 1) * page_size, limit=page_size
    )
    return [_certificate(record) for record in found]


@router.get("/requests", responses=problems(400, 401, 404))
def list_access_events(
    gateway: GatewayDep,
    caller: CallerDep,
    socket_id: SocketId | None = None,
    concerns: Annotated[Identifier | None, Query(description="One request or guest.")] = None,
    page: Page = 1,
    page_size: PageSize = 100,
) -> list[AccessEventReply]:
    """What happened about requests, guests and approval rules, newest first: who asked, who
    answered, when, why, and which policy it led to. Without a socket, deleted ones are included.
    """
    if socket_id is not None:
        gateway.store.get_socket(caller.account.account_id, socket_id)
    found = gateway.store.access_events_page(
        caller.account.account_id,
        socket_id=socket_id,
        concerns=concerns,
        offset=(page - 1) * page_size,
        limit=page_size,
    )
    return [event_reply(event) for event in found]


def decision_reply(record: DecisionRecord) -> DecisionReply:
    """A decision as the API shows it."""
    return DecisionReply(
        decision_id=record.decision_id,
        at=record.at,
        effect=record.effect,
        reasons=list(record.reasons),
        policy_ids=list(record.policy_ids),
        email=record.email,
        issuer=record.issuer,
        subject=record.subject,
        action=record.action,
        source_ip=record.source_ip,
        country=record.country,
    )


def _certificate(record: CertificateRecord) -> CertificateReply:
    return CertificateReply(
        serial=record.serial,
        kind=record.kind,
        subject=record.subject,
        epoch=record.epoch,
        decision_id=record.decision_id,
        public_key_fingerprint=record.public_key_fingerprint,
        not_before=record.not_before,
        not_after=record.not_after,
        issued_at=record.issued_at,
    )
