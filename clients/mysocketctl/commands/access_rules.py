"""``mysocketctl access rules``: whether people may ask, who answers, and how many it takes."""

from typing import Any

import click

from clients.mysocketctl.api import GatewayApi, Json, segment
from clients.mysocketctl.commands.options import json_option, logged_in
from clients.mysocketctl.commands.policy_options import said
from clients.mysocketctl.commands.typed import EMAIL, NAME, WHY
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.named import find_socket
from clients.mysocketctl.tables import show_json, show_table

_PATH = "/approval-rules"
_SETTINGS = ["asking", "two_person", "approvers"]
_SOCKET = click.option(
    "--socket", "wanted", type=NAME, help="One socket: id or name; else your whole account."
)


@click.group()
def rules() -> None:
    """Say who may ask, and who approves.

    Rules of the account and of a socket hold together: the stricter counts, and every approver.
    """


@rules.command()
@_SOCKET
@json_option
@click.pass_context
def show(context: click.Context, wanted: str | None, *, as_json: bool) -> None:
    """Show the rules of your account, and those of one socket beside them."""
    with logged_in(context) as api:
        found = [api.get(_PATH)]
        if wanted is not None:
            found.append(api.get(_path(api, wanted)))
    _show(found, as_json=as_json)


@rules.command(name="set")
@_SOCKET
@click.option("--asking/--no-asking", default=None, help="Whether people may ask at all.")
@click.option("--two-person/--one-person", default=None, help="How many have to approve.")
@click.option(
    "--approver",
    "approvers",
    multiple=True,
    type=EMAIL,
    help="Who may answer beside you; repeatable, and in the place of those before.",
)
@click.option("--no-approvers", is_flag=True, help="Nobody but you.")
@click.option("--why", type=WHY, help="For the record.")
@json_option
@click.pass_context
def set_rules(context: click.Context, /, *, as_json: bool, **given: Any) -> None:
    """Change the rules of one socket, or of your account; what is not given stays."""
    changes = _changes(given)
    with logged_in(context) as api:
        path = _path(api, given["wanted"])
        now = api.get(path)
        kept = {name: now.get(name) for name in _SETTINGS}
        changed = api.put(path, kept | changes | said({"why": given["why"]}))
    _show([changed], as_json=as_json)


def _changes(given: dict[str, Any]) -> dict[str, Json]:
    """Raises InvalidInput."""
    if given["approvers"] and given["no_approvers"]:
        raise InvalidInput("say one of --approver and --no-approvers")
    changes = said({name: given[name] for name in ("asking", "two_person")})
    if given["approvers"] or given["no_approvers"]:
        changes["approvers"] = list(given["approvers"])
    if not changes:
        raise InvalidInput("nothing to change; see --help")
    return changes


def _path(api: GatewayApi, wanted: str | None) -> str:
    """Raises UnknownName."""
    if wanted is None:
        return _PATH
    return f"{_PATH}?socket_id={segment(str(find_socket(api, wanted).get('socket_id')))}"


def _show(found: list[Json], *, as_json: bool) -> None:
    if as_json:
        show_json(found if len(found) > 1 else found[0])
        return
    rows = [[one.get("socket_id") or "all", *map(one.get, _SETTINGS)] for one in found]
    show_table(["socket_id", *_SETTINGS], rows)
