"""What edges call: the feed, acknowledgements, their server certificate, their reports."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ca.subject_keys import parse_ssh_public_key
from idp_gateway.bounds import MAX_LATE_SOCKETS, MAX_REPORTED_TUNNELS
from idp_gateway.dependencies import GatewayDep, require_edge
from idp_gateway.records import TunnelReportRecord
from idp_gateway.schemas.keys import LOG_PROOF
from idp_gateway.schemas.text import Moment

router = APIRouter(prefix="/internal", tags=["edges"], dependencies=[Depends(require_edge)])

EdgeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
"""What an edge calls itself."""

EdgeSocketId = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$")]
TunnelId = Annotated[str, Field(max_length=64)]

_LARGEST_REVISION = 2**53


class AcknowledgementForm(BaseModel):
    model_config = ConfigDict(extra="forbid")

    edge_id: EdgeId
    revision: int = Field(ge=0, le=_LARGEST_REVISION)
    late: list[EdgeSocketId] | None = Field(default=[], max_length=MAX_LATE_SOCKETS)
    """Sockets served by older address rules than they should be; null if too many to be named."""


class CsrForm(BaseModel):
    model_config = ConfigDict(extra="forbid")

    csr: str = Field(max_length=16 * 1024)


class ServerCertificateReply(BaseModel):
    certificate_chain: str
    not_after: datetime
    log_proof: dict[str, Any] | None = LOG_PROOF


class TunnelReportForm(BaseModel):
    tunnel_id: TunnelId
    connected_at: Moment
    peer: str = Field(max_length=128)


class ReportForm(BaseModel):
    """A whole report (``tunnels``) or what changed since the last one (``changed``, ``gone``)."""

    edge_id: EdgeId
    ssh_host_key: str = Field(default="", max_length=4096)
    server_ca: str = Field(default="", pattern=r"^[0-9a-f]{0,40}$")
    """Serial number of the issuing CA of the certificate it shows, hex."""
    tunnels: list[TunnelReportForm] | None = Field(default=None, max_length=MAX_REPORTED_TUNNELS)
    changed: list[TunnelReportForm] | None = Field(default=None, max_length=MAX_REPORTED_TUNNELS)
    gone: list[TunnelId] | None = Field(default=None, max_length=MAX_REPORTED_TUNNELS)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        partial = self.changed is not None or self.gone is not None
        if partial == (self.tunnels is not None):
            raise ValueError("a report has either tunnels, or changed and gone")
        return self


@router.get("/feed", response_class=StreamingResponse)
async def follow_feed(
    gateway: GatewayDep,
    since: Annotated[int, Query(ge=0, le=_LARGEST_REVISION)] = 0,
    edge: Annotated[EdgeId | None, Query()] = None,
    digest: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
) -> StreamingResponse:
    """Everything an edge needs, then every change, one JSON object a line, without end."""
    lines: AsyncIterator[bytes] = gateway.feed.stream(since, edge, digest)
    return StreamingResponse(
        lines, media_type="application/x-ndjson", headers={"cache-control": "no-store"}
    )


@router.post("/feed/ack", status_code=204)
def acknowledge(form: AcknowledgementForm, gateway: GatewayDep) -> Response:
    """An edge's proxy serves this revision."""
    late = None if form.late is None else tuple(form.late)
    gateway.feed.serving.acknowledge(form.edge_id, form.revision, late)
    return Response(status_code=204)


@router.post("/server-certificate")
def server_certificate(form: CsrForm, gateway: GatewayDep) -> ServerCertificateReply:
    """A certificate for the product's own names, with the chain to send along."""
    issued = gateway.authority.issue_server_certificate(form.csr)
    return ServerCertificateReply(
        certificate_chain=issued.certificate.chain_pem.decode("ascii"),
        not_after=issued.certificate.not_after,
        log_proof=issued.proof.to_json(),
    )


@router.post("/report", status_code=204)
def report(form: ReportForm, gateway: GatewayDep) -> Response:
    """Which tunnels are connected at this edge: all of them, or what changed since it last said."""
    now = gateway.clock()
    if form.ssh_host_key:
        host_key = parse_ssh_public_key(form.ssh_host_key).line
        gateway.store.note_host_key(form.edge_id, host_key, now)
    if form.server_ca:
        gateway.store.note_server_ca(form.edge_id, form.server_ca, now)
    if form.tunnels is not None:
        gateway.store.report_tunnels(form.edge_id, _reports(form.edge_id, form.tunnels, now))
    else:
        gateway.store.report_changes(
            form.edge_id,
            changed=_reports(form.edge_id, form.changed or [], now),
            gone=form.gone or [],
        )
    return Response(status_code=204)


def _reports(
    edge_id: str, tunnels: list[TunnelReportForm], now: datetime
) -> list[TunnelReportRecord]:
    """Records of a list; of a tunnel named twice, the last counts."""
    records = {
        tunnel.tunnel_id: TunnelReportRecord(
            tunnel_id=tunnel.tunnel_id,
            edge_id=edge_id,
            connected_at=tunnel.connected_at,
            peer=tunnel.peer,
            seen_at=now,
        )
        for tunnel in tunnels
    }
    return list(records.values())
