"""``mysocketctl connect``: a socket and a tunnel for as long as the command runs."""

import contextlib
from typing import Any

import click

from clients.mysocketctl.api import Json, segment, text_field
from clients.mysocketctl.commands.options import (
    ENGINE,
    HOST_NAME,
    PORT,
    SOCKET_TYPE,
    logged_in,
    settings_of,
    socket_fields,
    socket_options,
)
from clients.mysocketctl.commands.tunnel import interrupt_on_termination, run_tunnel
from clients.mysocketctl.errors import ClientError, ProtocolViolation
from clients.mysocketctl.files import HomeFiles
from clients.mysocketctl.tables import show_socket
from clients.mysocketctl.tokens import kept_api_token
from clients.mysocketctl.tunnels import TunnelTarget


@click.command()
@click.option("--port", required=True, type=PORT, help="Port of the local service.")
@click.option("--host", type=HOST_NAME, default="127.0.0.1", help="Where the service is.")
@socket_options
@click.option("--type", type=SOCKET_TYPE, default="http", show_default=True)
@click.option("--engine", type=ENGINE, default="auto", help="How to dial.")
@click.pass_context
def connect(context: click.Context, /, port: int, host: str, engine: str, **given: Any) -> None:
    """Publish a local port: creates a socket and a tunnel, and deletes the socket at the end."""
    given["name"] = given["name"] or f"Local port {port}"
    fields = socket_fields(given)
    interrupt_on_termination()
    with logged_in(context) as api:
        created = api.post("/connect", fields)
        socket_id = text_field(created, "socket_id")
        try:
            show_socket(created)
            tunnel_id = _first_tunnel(created)
            target = TunnelTarget(socket_id=socket_id, tunnel_id=tunnel_id, host=host, port=port)
            run_tunnel(context, target, engine)
        except KeyboardInterrupt:
            pass
        finally:
            # The token of the start may have run out long ago.
            with contextlib.suppress(ClientError):
                api.api_token = kept_api_token(HomeFiles(settings_of(context).home))
            _delete(api, socket_id)


def _first_tunnel(created: Json) -> str:
    tunnels = created.get("tunnels")
    if not isinstance(tunnels, list) or not tunnels:
        raise ProtocolViolation("the gateway's answer has no tunnel")
    return text_field(tunnels[0], "tunnel_id")


def _delete(api: Any, socket_id: str) -> None:
    try:
        api.delete(f"/socket/{segment(socket_id)}")
    except ClientError as error:
        click.echo(f"Socket {socket_id} was not deleted: {error}", err=True)
    else:
        click.echo(f"Socket {socket_id} deleted", err=True)
