"""``/socket/{socket_id}/tunnel``: the ways from the tunnel server to an origin.

No route here reads a body: original clients send ``{}``, ``null`` or nothing.
"""

import uuid

from fastapi import APIRouter, Response

from idp_gateway.callers import Caller, CallerDep
from idp_gateway.composition import Gateway
from idp_gateway.dependencies import GatewayDep
from idp_gateway.in_force import ChangeRoute
from idp_gateway.replies import TunnelView
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.keys import SshCertificateReply, SshKeyForm
from idp_gateway.schemas.tunnels import TunnelReply

router = APIRouter(prefix="/socket/{socket_id}", route_class=ChangeRoute, tags=["tunnels"])
logins = APIRouter(prefix="/socket/{socket_id}", tags=["tunnels"])
"""Logins to the tunnel server, which change nothing."""


@router.get("/tunnel", responses=problems(401, 404))
def list_tunnels(gateway: GatewayDep, caller: CallerDep, socket_id: str) -> list[TunnelReply]:
    """The tunnels of a socket; traffic is balanced over those that are connected."""
    gateway.store.get_socket(caller.account.account_id, socket_id)
    return TunnelView.now(gateway, [socket_id]).replies(gateway.store.tunnels_of(socket_id))


@router.post("/tunnel", responses=problems(401, 403, 404, 503))
def create_tunnel(gateway: GatewayDep, caller: CallerDep, socket_id: str) -> TunnelReply:
    """Give a socket one more tunnel."""
    tunnel = gateway.store.add_tunnel(
        caller.account.account_id,
        socket_id,
        tunnel_id=str(uuid.uuid4()),
        limit=gateway.settings.tunnels_per_socket,
        now=gateway.clock(),
    )
    return TunnelView.now(gateway, [socket_id]).reply(tunnel)


@router.get("/tunnel/{tunnel_id}", responses=problems(401, 404))
def show_tunnel(
    gateway: GatewayDep, caller: CallerDep, socket_id: str, tunnel_id: str
) -> TunnelReply:
    """One tunnel."""
    tunnel = gateway.store.get_tunnel(caller.account.account_id, socket_id, tunnel_id)
    return TunnelView.now(gateway, [socket_id]).reply(tunnel)


@router.delete("/tunnel/{tunnel_id}", status_code=204, responses=problems(401, 404))
def delete_tunnel(
    gateway: GatewayDep, caller: CallerDep, socket_id: str, tunnel_id: str
) -> Response:
    """Delete a tunnel."""
    gateway.store.delete_tunnel(
        caller.account.account_id, socket_id, tunnel_id, now=gateway.clock()
    )
    return Response(status_code=204)


@logins.post("/tunnel/{tunnel_id}/signkey", responses=problems(400, 401, 403, 404, 429))
def certify_for_tunnel(
    gateway: GatewayDep, caller: CallerDep, socket_id: str, tunnel_id: str, form: SshKeyForm
) -> SshCertificateReply:
    """A short-lived SSH certificate that opens this one tunnel."""
    gateway.store.get_tunnel(caller.account.account_id, socket_id, tunnel_id)
    return _certify(gateway, caller, socket_id, tunnel_id, form)


@logins.post("/signkey", responses=problems(400, 401, 403, 404, 429))
def certify_for_socket(
    gateway: GatewayDep, caller: CallerDep, socket_id: str, form: SshKeyForm
) -> SshCertificateReply:
    """A short-lived SSH certificate that opens any tunnel of this socket."""
    gateway.store.get_socket(caller.account.account_id, socket_id)
    return _certify(gateway, caller, socket_id, None, form)


def _certify(
    gateway: Gateway, caller: Caller, socket_id: str, tunnel_id: str | None, form: SshKeyForm
) -> SshCertificateReply:
    issued = gateway.authority.issue_tunnel_certificate(
        account=caller.account,
        socket_id=socket_id,
        tunnel_id=tunnel_id,
        public_key=form.ssh_public_key,
    )
    return SshCertificateReply(
        signed_ssh_cert=issued.certificate.line,
        log_proof=issued.proof.to_json(),
    )
