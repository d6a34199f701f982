"""``mysocketctl socket``."""

from typing import Any

import click

from clients.mysocketctl.api import object_list, segment
from clients.mysocketctl.commands.options import (
    IDENTIFIER,
    SOCKET_TYPE,
    json_option,
    logged_in,
    say_if_not_in_force,
    socket_fields,
    socket_options,
)
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.tables import (
    SOCKET_COLUMNS,
    show_json,
    show_socket,
    show_table,
    socket_row,
)

_ID = click.option(
    "--socket_id", "--socket-id", required=True, type=IDENTIFIER, help="As in socket ls."
)


@click.group()
def socket() -> None:
    """Create and change sockets."""


@socket.command()
@json_option
@click.pass_context
def ls(context: click.Context, *, as_json: bool) -> None:
    """List your sockets."""
    with logged_in(context) as api:
        found = object_list(api.get("/socket"))
    if as_json:
        show_json(found)
    else:
        show_table(SOCKET_COLUMNS, [socket_row(one) for one in found])


@socket.command()
@socket_options
@click.option("--type", type=SOCKET_TYPE, default="http", show_default=True)
@json_option
@click.pass_context
def create(context: click.Context, /, *, as_json: bool, **given: Any) -> None:
    """Create a socket: a public name for a private service."""
    if not given["name"]:
        raise InvalidInput("--name is missing")
    fields = socket_fields(given)
    with logged_in(context) as api:
        created = api.post("/socket", fields)
    show_json(created) if as_json else show_socket(created)


@socket.command()
@_ID
@json_option
@click.pass_context
def show(context: click.Context, socket_id: str, *, as_json: bool) -> None:
    """Show one socket with its rules and its SSH certificate authority."""
    with logged_in(context) as api:
        found = api.get(f"/socket/{segment(socket_id)}")
    show_json(found) if as_json else show_socket(found)


@socket.command()
@_ID
@socket_options
@json_option
@click.pass_context
def update(context: click.Context, /, socket_id: str, *, as_json: bool, **given: Any) -> None:
    """Change a socket; what is not given stays. Open sessions are decided anew."""
    fields = socket_fields(given)
    if not fields:
        raise InvalidInput("nothing to change; see --help")
    with logged_in(context) as api:
        changed = api.put(f"/socket/{segment(socket_id)}", fields)
        say_if_not_in_force(api)
    show_json(changed) if as_json else show_socket(changed)


@socket.command()
@_ID
@click.pass_context
def delete(context: click.Context, socket_id: str) -> None:
    """Delete a socket with its tunnels and its name."""
    with logged_in(context) as api:
        api.delete(f"/socket/{segment(socket_id)}")
        say_if_not_in_force(api)
    click.echo(f"Socket {socket_id} deleted")
