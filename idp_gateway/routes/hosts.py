"""``/socket/{socket_id}/host``: enrolled servers; ``/hosts/sync``: what they ask by themselves."""

from functools import partial

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool

from ca.formats.host_messages import EnrolStatement, SyncStatement
from idp_gateway import hosts, revocations
from idp_gateway.callers import CallerDep
from idp_gateway.capacity import list_in_thread
from idp_gateway.dependencies import GatewayDep
from idp_gateway.in_force import ChangeRoute
from idp_gateway.records import HostRecord
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.hosts import EnrolForm, EnrolReply, HostReply, SyncForm, SyncReply

router = APIRouter(prefix="/socket/{socket_id}/host", route_class=ChangeRoute, tags=["hosts"])
syncing = APIRouter(tags=["hosts"])


@router.post("", responses=problems(400, 401, 403, 404, 409, 429))
def enrol_host(
    gateway: GatewayDep, caller: CallerDep, socket_id: str, form: EnrolForm
) -> EnrolReply:
    """Enrol a server behind one's socket; it gets a host certificate.

    A host key that is enrolled already keeps its id, and its certificate as long as that is good.
    """
    statement = EnrolStatement(
        socket_id=socket_id,
        host_key=form.host_key,
        principals=tuple(form.principals),
        at=form.at,
    )
    host, certificate = hosts.enrol(
        gateway, caller.account, name=form.name, statement=statement, proof=form.proof
    )
    socket = gateway.store.get_socket(caller.account.account_id, socket_id)
    return EnrolReply(
        host_id=host.host_id,
        dns_name=socket.dns_name,
        host_certificate=certificate,
        bundle_key=hosts.bundle_key_line(gateway),
        not_after=host.not_after,
        log_proof=hosts.log_proof(gateway, certificate).to_json(),
    )


@router.get("", responses=problems(401, 404))
def list_hosts(gateway: GatewayDep, caller: CallerDep, socket_id: str) -> list[HostReply]:
    """The servers enrolled for one's socket, oldest first."""
    found = gateway.store.hosts_of(caller.account.account_id, socket_id)
    return [_reply(record) for record in found]


@router.delete("/{host_id}", status_code=204, responses=problems(401, 404))
def remove_host(gateway: GatewayDep, caller: CallerDep, socket_id: str, host_id: str) -> Response:
    """Forget a server: it gets no more news, and its host key is revoked."""
    gateway.store.remove_host(
        caller.account.account_id,
        socket_id,
        host_id,
        by=caller.account.email,
        now=gateway.clock(),
    )
    return Response(status_code=204)


@syncing.post("/hosts/sync", responses=problems(400, 403, 404, 409, 429, 503))
async def sync_host(gateway: GatewayDep, form: SyncForm) -> SyncReply:
    """News for an enrolled server, which proves itself by its host key and needs no token."""
    statement = SyncStatement(
        host_id=form.host_id,
        nonce=form.nonce,
        at=form.at,
        number=form.number,
        trusted_cas=tuple(form.trusted_cas),
        certificate=form.certificate,
    )
    # First whose question it is: nobody else takes a host's turn.
    question = await run_in_threadpool(hosts.recognise, gateway, statement, form.signature)
    with gateway.capacity.hosts.turn(statement):
        krl = await list_in_thread(
            gateway.capacity, partial(revocations.krl_of, gateway, question.socket)
        )
        answer = await run_in_threadpool(hosts.answer, gateway, question, krl)
    return SyncReply(
        bundle=answer.bundle,
        signature=answer.signature,
        log_proof=answer.log_proof.to_json() if answer.log_proof is not None else None,
    )


def _reply(record: HostRecord) -> HostReply:
    return HostReply(
        host_id=record.host_id,
        name=record.name,
        fingerprint=record.fingerprint,
        principals=list(record.principals),
        serial=record.serial,
        not_after=record.not_after,
        enrolled_at=record.enrolled_at,
        seen_at=record.seen_at,
        synced_number=record.synced_number,
        trusted_cas=list(record.trusted_cas),
    )
