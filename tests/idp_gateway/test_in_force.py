"""What a change of another account's socket is waited for."""

from fastapi import APIRouter, FastAPI

from idp_gateway.composition import Gateway
from idp_gateway.in_force import IN_FORCE_HEADER, OthersChangeRoute
from policy.types import SocketType
from tests.support.in_process import client_of
from tests.support.rows import NOW, owner_with_socket


def test_what_changes_during_the_request_counts(gateway: Gateway) -> None:
    """Asked for after it, the revision would be the change's own, and nothing of it late."""
    _, socket = owner_with_socket(
        gateway.store, socket_type=SocketType.TLS, cloud_authentication_enabled=True
    )
    router = APIRouter(route_class=OthersChangeRoute)

    @router.post("/approve")
    def approve() -> None:
        gateway.store.note_sockets([socket.socket_id], NOW)
        newest = gateway.store.revision()
        gateway.feed.serving.acknowledge("e1", newest, (socket.socket_id,))

    @router.post("/nothing")
    def nothing() -> None:
        pass

    app = FastAPI()
    app.state.gateway = gateway
    app.include_router(router)
    with client_of(app, gateway.settings.base_url) as client:
        assert client.post("/approve").headers[IN_FORCE_HEADER] == "false"
        assert client.post("/nothing").headers[IN_FORCE_HEADER] == "true"
