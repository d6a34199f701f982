"""``GET /socket/{socket_id}/snippets``: configuration to copy, filled in for one socket."""

from fastapi import APIRouter

from idp_gateway.callers import CallerDep
from idp_gateway.composition import Gateway
from idp_gateway.dependencies import GatewayDep
from idp_gateway.records import SocketRecord
from idp_gateway.routes.documented import problems
from templates.loader import render_snippet

SSH_SNIPPETS = ("sshd_config", "ssh_config", "ssh_config_two_blocks")
WEB_SNIPPETS = ("grafana", "radicale")

router = APIRouter(tags=["sockets"])


@router.get("/socket/{socket_id}/snippets", responses=problems(401, 404))
def show_snippets(gateway: GatewayDep, caller: CallerDep, socket_id: str) -> dict[str, str]:
    """Configuration for what stands before and behind one of the caller's sockets, by name."""
    socket = gateway.store.get_socket(caller.account.account_id, socket_id)
    return snippets_of(gateway, socket)


def snippets_of(gateway: Gateway, socket: SocketRecord) -> dict[str, str]:
    """The snippets that fit the socket's type."""
    settings = gateway.settings
    values = {
        "gateway": settings.base_url,
        "edge_domain": settings.edge_domain,
        "dns_name": socket.dns_name,
        "origin": f"https://{socket.dns_name}{settings.port_suffix}",
        "ssh_ca": socket.ssh_ca_public.strip(),
    }
    names = SSH_SNIPPETS if socket.socket_type.has_own_port else WEB_SNIPPETS
    return {name: render_snippet(name, values) for name in names}
