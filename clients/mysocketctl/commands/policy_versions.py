"""``mysocketctl policy history`` and ``rollback``."""

import click

from clients.mysocketctl.api import segment
from clients.mysocketctl.commands.options import json_option, logged_in, say_if_not_in_force
from clients.mysocketctl.commands.policy_options import POLICY, WHY_OPTION, said, show_policy
from clients.mysocketctl.named import all_pages, find_policy, policy_id_of
from clients.mysocketctl.tables import show_json, show_table

_COLUMNS = ["version", "change", "at", "by", "why", "socket_ids"]


@click.command()
@POLICY
@json_option
@click.pass_context
def history(context: click.Context, wanted: str, *, as_json: bool) -> None:
    """List every change of a policy, newest first: who, when and why.

    By its id, also of one that was deleted.
    """
    with logged_in(context) as api:
        policy_id = policy_id_of(api, wanted)
        found = list(all_pages(api, f"/policy/{segment(policy_id)}/history"))
    if as_json:
        show_json(found)
    else:
        show_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in found])


@click.command()
@POLICY
@click.option(
    "--to", "version", required=True, type=click.IntRange(1, 2**31 - 1), help="As in history."
)
@WHY_OPTION
@json_option
@click.pass_context
def rollback(
    context: click.Context, wanted: str, version: int, why: str | None, *, as_json: bool
) -> None:
    """Put the document of an earlier version in force again, as a new version."""
    with logged_in(context) as api:
        found = find_policy(api, wanted)
        body = {"version": version, "newest": found.get("version")} | said({"why": why})
        changed = api.post(f"/policy/{segment(str(found.get('id')))}/rollback", body)
        say_if_not_in_force(api)
    if changed.get("version") == found.get("version"):
        click.echo(
            "nothing changed: it says the same as that version, and no reason is kept", err=True
        )
    show_json(changed) if as_json else show_policy(changed)
