"""``mysocketctl audit``."""

from typing import Any

import click

from clients.mysocketctl.api import GatewayApi, object_list, segment
from clients.mysocketctl.commands.options import IDENTIFIER, json_option, logged_in
from clients.mysocketctl.tables import show_json, show_table

_COLUMNS = ["at", "socket", "action", "email", "source_ip", "effect", "reasons", "decision_id"]


@click.group()
def audit() -> None:
    """See who was let in where, and why not."""


@audit.command()
@click.option("--socket_id", "--socket-id", type=IDENTIFIER, help="One socket; else all of yours.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@json_option
@click.pass_context
def decisions(context: click.Context, socket_id: str | None, limit: int, *, as_json: bool) -> None:
    """List what was decided about your sockets, newest first."""
    with logged_in(context) as api:
        if socket_id is None:
            sockets = object_list(api.get("/socket"))
        else:
            sockets = [api.get(f"/socket/{segment(socket_id)}")]
        found = [one for socket in sockets for one in _decisions(api, socket, limit)]
    found = sorted(found, key=lambda one: str(one.get("at")), reverse=True)[:limit]
    if as_json:
        show_json(found)
    else:
        show_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in found])


def _decisions(api: GatewayApi, socket: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    path = f"/audit/decisions?socket_id={segment(str(socket.get('socket_id')))}&page_size={limit}"
    return [one | {"socket": socket.get("dnsname")} for one in object_list(api.get(path))]
