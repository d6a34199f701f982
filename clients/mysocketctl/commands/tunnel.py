"""``mysocketctl tunnel``."""

import signal
from typing import NoReturn

import click

from clients.mysocketctl.api import object_list, segment
from clients.mysocketctl.commands.options import (
    ENGINE,
    HOST_NAME,
    IDENTIFIER,
    PORT,
    json_option,
    logged_in,
    settings_of,
)
from clients.mysocketctl.files import HomeFiles
from clients.mysocketctl.renewal import kept_logged_in
from clients.mysocketctl.tables import TUNNEL_COLUMNS, show_json, show_table, tunnel_row
from clients.mysocketctl.tokens import read_claims
from clients.mysocketctl.tunnels import (
    TunnelConnection,
    TunnelTarget,
    choose_engine,
    keep_up,
)

_SOCKET_ID = click.option(
    "--socket_id", "--socket-id", required=True, type=IDENTIFIER, help="As in socket ls."
)
_TUNNEL_ID = click.option(
    "--tunnel_id", "--tunnel-id", required=True, type=IDENTIFIER, help="As in tunnel ls."
)


@click.group()
def tunnel() -> None:
    """Create tunnels and connect them."""


@tunnel.command()
@_SOCKET_ID
@json_option
@click.pass_context
def ls(context: click.Context, socket_id: str, *, as_json: bool) -> None:
    """List the tunnels of a socket."""
    with logged_in(context) as api:
        found = object_list(api.get(f"/socket/{segment(socket_id)}/tunnel"))
    if as_json:
        show_json(found)
    else:
        show_table(TUNNEL_COLUMNS, [tunnel_row(socket_id, one) for one in found])


@tunnel.command()
@_SOCKET_ID
@json_option
@click.pass_context
def create(context: click.Context, socket_id: str, *, as_json: bool) -> None:
    """Create a tunnel; several tunnels of one socket share its load."""
    with logged_in(context) as api:
        created = api.post(f"/socket/{segment(socket_id)}/tunnel", {})
    if as_json:
        show_json(created)
    else:
        show_table(TUNNEL_COLUMNS, [tunnel_row(socket_id, created)])


@tunnel.command()
@_SOCKET_ID
@_TUNNEL_ID
@click.pass_context
def delete(context: click.Context, socket_id: str, tunnel_id: str) -> None:
    """Delete a tunnel."""
    with logged_in(context) as api:
        api.delete(f"/socket/{segment(socket_id)}/tunnel/{segment(tunnel_id)}")
    click.echo(f"Tunnel {tunnel_id} deleted")


@tunnel.command()
@_SOCKET_ID
@_TUNNEL_ID
@click.option("--port", required=True, type=PORT, help="Port of the local service.")
@click.option("--host", type=HOST_NAME, default="127.0.0.1", help="Where the service is.")
@click.option("--engine", type=ENGINE, default="auto", help="How to dial.")
@click.pass_context
def connect(
    context: click.Context, socket_id: str, tunnel_id: str, port: int, host: str, engine: str
) -> None:
    """Connect a tunnel to a local service, and again whenever it breaks."""
    target = TunnelTarget(socket_id=socket_id, tunnel_id=tunnel_id, host=host, port=port)
    run_tunnel(context, target, engine)


def run_tunnel(context: click.Context, target: TunnelTarget, engine: str) -> None:
    """Keep a tunnel up until SIGINT or SIGTERM."""
    with logged_in(context) as api:
        user_name = read_claims(api.api_token or "").user_name
        connection = TunnelConnection(settings_of(context), api, target, user_name)
        chosen = choose_engine(engine)
        interrupt_on_termination()
        try:
            with kept_logged_in(api, HomeFiles(settings_of(context).home)):
                keep_up(connection, chosen, lambda line: click.echo(line, err=True))
        except KeyboardInterrupt:
            click.echo("Tunnel disconnected.", err=True)


def interrupt_on_termination() -> None:
    """SIGTERM ends a command as ^C does, so that it tidies up alike."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
