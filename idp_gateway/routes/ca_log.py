"""``/ca/log`` and ``/ca/certificates``: the transparency log, for everybody who can check it.

Proofs are public: they hold hashes, and a serial number is 64 random bits. What is *in* the log is
shown to the owner of the socket it was issued for, and to the person it was issued to.
"""

import base64
from typing import Annotated

from fastapi import APIRouter, Query

from idp_gateway.callers import Caller, CallerDep
from idp_gateway.composition import Gateway
from idp_gateway.dependencies import GatewayDep
from idp_gateway.errors import NotFound
from idp_gateway.log_questions import answer
from idp_gateway.records import CertificateRecord, DecisionRecord
from idp_gateway.routes.audit import decision_reply
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.ca_log import (
    CheckpointReply,
    ConsistencyReply,
    ExplainReply,
    KnownForm,
    KnownReply,
    LogEntryReply,
    LogKeyReply,
    LogProofReply,
    SoughtQuery,
)
from idp_gateway.schemas.text import SerialNumber
from idp_gateway.serials import as_kept
from idp_gateway.store.log import Sought
from idp_gateway.turns import trial

router = APIRouter(prefix="/ca", tags=["transparency"])

_Size = Annotated[int, Query(ge=0, le=2**62)]


@router.get("/log/key")
def show_key(gateway: GatewayDep) -> LogKeyReply:
    """The key that signs the log's checkpoints."""
    return LogKeyReply(key=str(gateway.log.key))


@router.get("/log/checkpoint")
def show_checkpoint(gateway: GatewayDep) -> CheckpointReply:
    """The newest checkpoint."""
    note = gateway.log.checkpoint()
    return CheckpointReply(checkpoint=note, size=gateway.log.key.open(note).size)


@router.get("/log/proof", responses=problems(400, 404))
def prove_inclusion(gateway: GatewayDep, serial: Annotated[SerialNumber, Query()]) -> LogProofReply:
    """The proof that a certificate is in the log, against the newest checkpoint."""
    return LogProofReply.model_validate(gateway.log.proof(serial).to_json())


@router.get("/log/consistency", responses=problems(400, 404))
def prove_consistency(
    gateway: GatewayDep,
    old: Annotated[_Size, Query(alias="from", description="Size of the older log.")],
    new: Annotated[_Size, Query(alias="to", description="Size of the newer log.")],
) -> ConsistencyReply:
    """The proof that nothing was taken out or changed between two sizes of the log."""
    path = gateway.log.consistency(old, new)
    return ConsistencyReply(hashes=[base64.b64encode(step).decode() for step in path])


@router.get("/log/entries", responses=problems(400, 401, 429))
def list_entries(
    gateway: GatewayDep,
    caller: CallerDep,
    sought: Annotated[SoughtQuery, Query()],
) -> list[LogEntryReply]:
    """Certificates in the log, newest first: those for one's sockets, and one's own."""
    wanted = Sought(
        account_id=caller.account.account_id,
        issuer=caller.session.issuer,
        holder=caller.session.subject,
        **sought.model_dump(exclude={"limit"}),
    )
    with trial(gateway, caller.account.account_id):  # of millions it may look at all
        found = gateway.store.log_entries(wanted, limit=sought.limit)
    return [_entry(record) for record in found]


@router.post("/log/known", responses=problems(400, 401))
def tell_known(gateway: GatewayDep, caller: CallerDep, form: KnownForm) -> KnownReply:
    """Which of these certificates were issued for one's sockets."""
    found = answer(gateway.store, caller.account.account_id, form.certificates)
    return KnownReply(certificates=found)


@router.get("/certificates/{serial}", responses=problems(401, 404))
def explain_certificate(gateway: GatewayDep, caller: CallerDep, serial: str) -> ExplainReply:
    """Why a certificate was issued; for its holder and for the owner of its socket."""
    record = gateway.store.find_certificate(as_kept(serial))
    if record is None or not _may_see(gateway, caller, record):
        raise NotFound("no certificate with this serial number was issued to you or for you")
    decision = None
    if record.decision_id is not None:
        decision = gateway.store.find_decision(record.decision_id)
    return ExplainReply(
        **_entry(record).model_dump(),
        decision=None if decision is None else decision_reply(decision),
        login=None if decision is None else _login(gateway, decision),
        certificate=record.body,
    )


def _may_see(gateway: Gateway, caller: Caller, record: CertificateRecord) -> bool:
    identity = (caller.session.issuer, caller.session.subject)
    if identity == (record.holder_issuer, record.holder_subject):
        return True
    socket = gateway.store.find_socket(record.socket_id) if record.socket_id else None
    return socket is not None and socket.account_id == caller.account.account_id


def _login(gateway: Gateway, decision: DecisionRecord) -> str:
    if decision.issuer == gateway.settings.base_url:
        return "local"
    known = {provider.issuer: provider.name for provider in gateway.settings.providers}
    return known.get(decision.issuer, decision.issuer)


def _entry(record: CertificateRecord) -> LogEntryReply:
    return LogEntryReply(
        serial=record.serial,
        kind=record.kind,
        subject=record.subject,
        epoch=record.epoch,
        decision_id=record.decision_id,
        public_key_fingerprint=record.public_key_fingerprint,
        not_before=record.not_before,
        not_after=record.not_after,
        issued_at=record.issued_at,
        index=record.log_index,
        socket_id=record.socket_id,
        ca=record.ca_key_id,
        policy_version=record.policy_version,
        proven=record.proven,
    )
