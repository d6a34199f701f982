"""``mysocketctl policy``: policies as documents, kept in versions and attached to sockets."""

from collections.abc import Sequence
from typing import Any

import click

from clients.mysocketctl.api import GatewayApi, Json, segment
from clients.mysocketctl.commands.options import json_option, logged_in, say_if_not_in_force
from clients.mysocketctl.commands.policy_diff import diff
from clients.mysocketctl.commands.policy_edit import edit
from clients.mysocketctl.commands.policy_explain import explain
from clients.mysocketctl.commands.policy_options import (
    FILE,
    ORG_WIDE,
    POLICY,
    WHY_OPTION,
    faults_of,
    said,
    show_policy,
)
from clients.mysocketctl.commands.policy_test import schema, test
from clients.mysocketctl.commands.policy_versions import history, rollback
from clients.mysocketctl.commands.typed import NAME, WHY
from clients.mysocketctl.errors import ClientError
from clients.mysocketctl.named import all_pages, find_policy, find_socket, with_why
from clients.mysocketctl.policy_files import as_yaml, read_source
from clients.mysocketctl.tables import show_json, show_table

_COLUMNS = ["name", "version", "sockets", "actions", "description", "policy_id"]


@click.group()
def policy() -> None:
    """Say who may reach your sockets, and try it out before it counts."""


for _command in (edit, history, rollback, explain, test, diff, schema):
    policy.add_command(_command)


@policy.command()
@click.option("--socket", "wanted", type=NAME, help="Those that bear on one socket: id or name.")
@json_option
@click.pass_context
def ls(context: click.Context, wanted: str | None, *, as_json: bool) -> None:
    """List your policies."""
    with logged_in(context) as api:
        path = "/policies"
        if wanted is not None:
            socket_id = str(find_socket(api, wanted).get("socket_id"))
            path += f"?socket_id={segment(socket_id)}"
        found = list(all_pages(api, path))
    if as_json:
        show_json(found)
    else:
        show_table(_COLUMNS, [_row(one) for one in found])


def _row(one: dict[str, Json]) -> list[Json]:
    document, sockets = one.get("policy_data"), one.get("socket_ids")
    return [
        one.get("name"),
        one.get("version"),
        "all" if one.get("org_wide") else len(sockets) if isinstance(sockets, list) else None,
        document.get("action") if isinstance(document, dict) else None,
        one.get("description"),
        one.get("id"),
    ]


@policy.command()
@POLICY
@click.option("--version", type=click.IntRange(1, 2**31 - 1), help="Not the newest, but this.")
@click.option("--yaml", "only_yaml", is_flag=True, help="The document alone, to keep in a file.")
@json_option
@click.pass_context
def show(
    context: click.Context, wanted: str, version: int | None, *, only_yaml: bool, as_json: bool
) -> None:
    """Show a policy with its document."""
    with logged_in(context) as api:
        found = find_policy(api, wanted)
        if version is not None:
            path = f"/policy/{segment(str(found.get('id')))}/version/{version}"
            found = found | {"socket_ids": None} | api.get(path)
    if as_json:
        show_json(found)
    elif only_yaml:
        click.echo(as_yaml(found.get("policy_data")), nl=False)
    else:
        show_policy(found)


@policy.command()
@click.option("--name", required=True, type=NAME, help="What to call it.")
@click.option("--description", type=WHY, help="What it is for.")
@click.option("--socket", "sockets", multiple=True, type=NAME, help="Attach it here at once.")
@ORG_WIDE
@WHY_OPTION
@FILE
@json_option
@click.pass_context
def create(
    context: click.Context, /, file: str, sockets: Sequence[str], *, as_json: bool, **given: Any
) -> None:
    """Make a policy of the document in FILE, YAML or JSON; - is standard input."""
    text, name = read_source(file)
    with logged_in(context) as api:
        ids = [str(find_socket(api, wanted).get("socket_id")) for wanted in sockets]
        with faults_of(name):
            made = api.post("/policies", said(given) | text)
        try:
            if ids:
                made["socket_ids"] = _attach(api, made, "add", ids, given["why"])
        except ClientError as error:
            error.details = (f"policy {given['name']} is made, but attached nowhere",)
            raise
        say_if_not_in_force(api)
    show_json(made) if as_json else show_policy(made)


@policy.command()
@POLICY
@WHY_OPTION
@click.pass_context
def delete(context: click.Context, wanted: str, why: str | None) -> None:
    """Delete a policy and detach it everywhere; its history stays."""
    with logged_in(context) as api:
        found = find_policy(api, wanted)
        api.delete(with_why(f"/policy/{segment(str(found.get('id')))}", why))
        say_if_not_in_force(api)
    click.echo(f"Policy {found.get('name')} deleted")


_SOCKETS = click.option(
    "--socket", "sockets", multiple=True, required=True, type=NAME, help="Id or name; repeatable."
)


@policy.command()
@POLICY
@_SOCKETS
@WHY_OPTION
@click.pass_context
def attach(context: click.Context, wanted: str, sockets: Sequence[str], why: str | None) -> None:
    """Let a policy admit people to sockets, beside the policies they have."""
    _change_sockets(context, "add", wanted, sockets, why)


@policy.command()
@POLICY
@_SOCKETS
@WHY_OPTION
@click.pass_context
def detach(context: click.Context, wanted: str, sockets: Sequence[str], why: str | None) -> None:
    """Take a policy away from sockets; whoever came in by it alone is cut off."""
    _change_sockets(context, "remove", wanted, sockets, why)


def _change_sockets(
    context: click.Context, action: str, wanted: str, sockets: Sequence[str], why: str | None
) -> None:
    with logged_in(context) as api:
        found = find_policy(api, wanted)
        named = [find_socket(api, one) for one in sockets]
        ids = [str(one.get("socket_id")) for one in named]
        _attach(api, found, action, ids, why)
        say_if_not_in_force(api)
    word = {"add": "attached to", "remove": "detached from"}[action]
    for one in named:
        click.echo(f"Policy {found.get('name')} {word} {one.get('dnsname')}")


def _attach(
    api: GatewayApi, found: dict[str, Json], action: str, ids: Sequence[str], why: str | None
) -> Json:
    """The ids of the sockets it is attached to now."""
    body = {"actions": [{"action": action, "id": one} for one in ids]} | said({"why": why})
    return api.put(f"/policy/{segment(str(found.get('id')))}/socket", body)
