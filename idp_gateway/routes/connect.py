"""``/connect``: a socket and its first tunnel in one call, as ``mysocketctl connect`` wants it."""

from fastapi import APIRouter

from idp_gateway import publishing
from idp_gateway.callers import CallerDep
from idp_gateway.dependencies import GatewayDep
from idp_gateway.in_force import ChangeRoute
from idp_gateway.replies import socket_reply
from idp_gateway.routes.documented import problems
from idp_gateway.routes.sockets import list_sockets
from idp_gateway.schemas.sockets import NewSocketForm, SocketReply

router = APIRouter(prefix="/connect", route_class=ChangeRoute, tags=["sockets"])


router.get("", responses=problems(401))(list_sockets)


@router.post("", responses=problems(400, 401, 403, 429, 503))
def connect(gateway: GatewayDep, caller: CallerDep, form: NewSocketForm) -> SocketReply:
    """Create a socket and its first tunnel, both or neither."""
    socket = publishing.create_socket(gateway, caller.account, form, with_tunnel=True)
    return socket_reply(gateway, caller.account, socket)
