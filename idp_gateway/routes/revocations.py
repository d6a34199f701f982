"""Revocations of one's sockets, and the lists that everybody may fetch.

The lists are public: sshd and TLS verifiers have no account, and serial numbers say nothing.
"""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse

from idp_gateway import revocations
from idp_gateway.callers import CallerDep
from idp_gateway.capacity import AskedList, list_in_thread
from idp_gateway.dependencies import GatewayDep
from idp_gateway.in_force import ChangeRoute
from idp_gateway.known_hosts import PATH as KNOWN_HOSTS
from idp_gateway.known_hosts import known_hosts_lines
from idp_gateway.records import RevocationRecord
from idp_gateway.routes.audit import Page, PageSize
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.revocations import RevocationForm, RevocationReply
from idp_gateway.schemas.text import SerialNumber

router = APIRouter(
    prefix="/socket/{socket_id}/revocation", route_class=ChangeRoute, tags=["revocations"]
)
lists = APIRouter(tags=["revocations"])

_FRESH = {"cache-control": "no-store"}


@router.post("", responses=problems(400, 401, 403, 404, 429))
def revoke(
    gateway: GatewayDep, caller: CallerDep, socket_id: str, form: RevocationForm
) -> RevocationReply:
    """Take back certificates of one's socket, and keep a person or key out until lifted.

    Grants for HTTP and TLS end at once; an sshd knows as soon as its host synchronises.
    """
    made = revocations.revoke(
        gateway,
        caller.account,
        socket_id,
        scope=form.scope,
        value=form.value,
        reason=form.reason,
    )
    return _reply(made.record).model_copy(update={"certificates": made.listed})


@router.get("", responses=problems(400, 401, 404))
def list_revocations(
    gateway: GatewayDep,
    caller: CallerDep,
    socket_id: str,
    page: Page = 1,
    page_size: PageSize = 500,
) -> list[RevocationReply]:
    """The revocations of one's socket, newest first, lifted ones too."""
    found = gateway.store.revocations_of(
        caller.account.account_id, socket_id, offset=(page - 1) * page_size, limit=page_size
    )
    return [_reply(record) for record in found]


@router.delete("/{revocation_id}", responses=problems(401, 404, 409, 429))
def lift(
    gateway: GatewayDep, caller: CallerDep, socket_id: str, revocation_id: str
) -> RevocationReply:
    """Readmit a person or key; certificates that were revoked stay revoked."""
    return _reply(revocations.lift(gateway, caller.account, socket_id, revocation_id))


@lists.get(
    "/ssh/{dns_name}/krl",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, **problems(404, 503)},
)
async def show_krl(gateway: GatewayDep, dns_name: str) -> Response:
    """The socket's key revocation list, for `RevokedKeys` of an sshd (PROTOCOL.krl)."""

    def settle() -> AskedList:
        return revocations.krl_of(gateway, revocations.socket_named(gateway, dns_name))

    krl = await list_in_thread(gateway.capacity, settle)
    return Response(krl, media_type="application/octet-stream", headers=_FRESH)


@lists.get(
    "/ssh/{dns_name}/user-ca-keys", response_class=PlainTextResponse, responses=problems(404)
)
def show_user_cas(gateway: GatewayDep, dns_name: str) -> PlainTextResponse:
    """The keys of the socket's SSH user CA, for `TrustedUserCAKeys` of an sshd."""
    socket = revocations.socket_named(gateway, dns_name)
    lines = gateway.authority.trusted_user_cas(socket.socket_id)
    return PlainTextResponse("".join(f"{line}\n" for line in lines), headers=_FRESH)


@lists.get(KNOWN_HOSTS, response_class=PlainTextResponse)
def show_known_hosts(gateway: GatewayDep) -> PlainTextResponse:
    """Lines for `known_hosts` that make clients trust every enrolled host."""
    lines = known_hosts_lines(gateway)
    return PlainTextResponse("".join(f"{line}\n" for line in lines), headers=_FRESH)


@lists.get(
    "/ca/root.crl",
    response_class=Response,
    responses={200: {"content": {"application/pkix-crl": {}}}, **problems(404)},
)
def show_root_crl(gateway: GatewayDep) -> Response:
    """Issuing CAs that were withdrawn, as the root's own list (DER)."""
    content = gateway.authority.root_list.current()
    return Response(content, media_type="application/pkix-crl", headers=_FRESH)


@lists.get(
    "/ca/crl",
    response_class=Response,
    responses={200: {"content": {"application/pkix-crl": {}}}, **problems(400, 403, 404, 503)},
)
async def show_crl(
    gateway: GatewayDep,
    ca: Annotated[
        SerialNumber | None,
        Query(
            description="Hex serial of an issuing CA, if not the one that signs now.",
        ),
    ] = None,
) -> Response:
    """Client certificates that were revoked before their end, as DER (RFC 5280 §5)."""
    crl = await list_in_thread(gateway.capacity, partial(revocations.crl_of, gateway, ca))
    return Response(crl, media_type="application/pkix-crl", headers=_FRESH)


def _reply(record: RevocationRecord) -> RevocationReply:
    return RevocationReply(
        revocation_id=record.revocation_id,
        scope=record.scope,
        value=record.value,
        reason=record.reason,
        created_by=record.created_by,
        created_at=record.created_at,
        lifted_at=record.lifted_at,
    )
