"""``/socket``: the sockets of one's account."""

from fastapi import APIRouter, Response

from idp_gateway import publishing
from idp_gateway.callers import CallerDep
from idp_gateway.dependencies import GatewayDep
from idp_gateway.in_force import ChangeRoute
from idp_gateway.replies import socket_replies, socket_reply
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.sockets import NewSocketForm, SocketChangeForm, SocketReply

router = APIRouter(prefix="/socket", route_class=ChangeRoute, tags=["sockets"])


@router.get("", responses=problems(401))
def list_sockets(gateway: GatewayDep, caller: CallerDep) -> list[SocketReply]:
    """All sockets of one's account, oldest first, with their tunnels."""
    sockets = gateway.store.sockets_of(caller.account.account_id)
    return socket_replies(gateway, caller.account, sockets)


@router.post("", responses=problems(400, 401, 403, 429, 503))
def create_socket(gateway: GatewayDep, caller: CallerDep, form: NewSocketForm) -> SocketReply:
    """Create a socket: a static public name, for TCP and TLS also a port of its own."""
    socket = publishing.create_socket(gateway, caller.account, form)
    return socket_reply(gateway, caller.account, socket)


@router.get("/{socket_id}", responses=problems(401, 404))
def show_socket(gateway: GatewayDep, caller: CallerDep, socket_id: str) -> SocketReply:
    """One socket."""
    socket = gateway.store.get_socket(caller.account.account_id, socket_id)
    return socket_reply(gateway, caller.account, socket)


@router.put("/{socket_id}", responses=problems(400, 401, 404, 429))
def replace_socket(
    gateway: GatewayDep, caller: CallerDep, socket_id: str, form: SocketChangeForm
) -> SocketReply:
    """Change a socket as the original clients do.

    What is not said stays as it is; but in a whole socket (one with `name` and `socket_type`) a
    list that is left out is an empty list. A person taken off the lists is cut off at once.
    """
    socket = publishing.change_socket(gateway, caller.account, socket_id, form, replaces=True)
    return socket_reply(gateway, caller.account, socket)


@router.patch("/{socket_id}", responses=problems(400, 401, 404, 429))
def change_socket(
    gateway: GatewayDep, caller: CallerDep, socket_id: str, form: SocketChangeForm
) -> SocketReply:
    """Change some fields of a socket; what is not said stays as it is."""
    socket = publishing.change_socket(gateway, caller.account, socket_id, form, replaces=False)
    return socket_reply(gateway, caller.account, socket)


@router.delete("/{socket_id}", status_code=204, responses=problems(401, 404))
def delete_socket(gateway: GatewayDep, caller: CallerDep, socket_id: str) -> Response:
    """Delete a socket and its tunnels; its name and port become free."""
    publishing.delete_socket(gateway, caller.account, socket_id)
    return Response(status_code=204)
