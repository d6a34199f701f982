"""``mysocketctl audit``."""

import click

from clients.mysocketctl.api import object_list, segment
from clients.mysocketctl.commands.options import IDENTIFIER, json_option, logged_in
from clients.mysocketctl.tables import show_json, show_table

_COLUMNS = ["at", "action", "email", "source_ip", "effect", "reasons", "decision_id"]


@click.group()
def audit() -> None:
    """See who was let in where, and why not."""


@audit.group()
def decisions() -> None:
    """What was decided about your sockets."""


@decisions.command()
@click.option("--socket_id", "--socket-id", required=True, type=IDENTIFIER, help="As in socket ls.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@json_option
@click.pass_context
def ls(context: click.Context, socket_id: str, limit: int, *, as_json: bool) -> None:
    """List the latest decisions, newest first."""
    with logged_in(context) as api:
        found = object_list(
            api.get(f"/audit/decisions?socket_id={segment(socket_id)}&page_size={limit}")
        )
    if as_json:
        show_json(found)
    else:
        show_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in found])
