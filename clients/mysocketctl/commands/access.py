"""``mysocketctl access``: asking to be let in, and answering who asks."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import click

from clients.mysocketctl.api import GatewayApi, Json, object_list, segment
from clients.mysocketctl.commands.options import HOST_NAME, IDENTIFIER, json_option, logged_in
from clients.mysocketctl.commands.typed import NAME, WHY
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.named import find_socket
from clients.mysocketctl.tables import show_json, show_pairs, show_table

_COLUMNS = ["request_id", "email", "socket", "action", "minutes", "reason", "state", "created_at"]
_MOST_MINUTES = 7 * 24 * 60
_MINUTES = click.IntRange(1, _MOST_MINUTES)
_STATES = click.Choice(["pending", "approved", "denied", "cancelled", "expired", "all"])


@click.group()
def access() -> None:
    """Ask to be let in, and answer who asks."""


@access.command()
@click.argument("socket", metavar="SOCKET", type=HOST_NAME)
@click.option("--reason", required=True, type=WHY, help="Why you should be let in.")
@click.option("--minutes", type=_MINUTES, default=60, show_default=True, help="For how long.")
@click.option("--action", type=click.Choice(["http", "tls", "ssh"]), help="What for.")
@json_option
@click.pass_context
def request(context: click.Context, /, *, as_json: bool, **given: Any) -> None:
    """Ask the owner of SOCKET, a DNS name, to let you in for a while."""
    body = {name: value for name, value in given.items() if value is not None}
    with logged_in(context) as api:
        made = api.post("/access-requests", body)
    _show(made, as_json=as_json)


@access.command()
@click.option("--mine", is_flag=True, help="What you asked for; else what is asked of you.")
@click.option("--socket", "wanted", type=NAME, help="One socket: id or name; else all of yours.")
@click.option("--state", type=_STATES, default="pending", show_default=True)
@json_option
@click.pass_context
def ls(
    context: click.Context, wanted: str | None, state: str, *, mine: bool, as_json: bool
) -> None:
    """List requests for access."""
    if mine and wanted:
        raise InvalidInput("--mine is about every socket; leave --socket out")
    with logged_in(context) as api:
        found = list(_requests(api, {"mine": "true"}, state)) if mine else []
        if not mine:
            sockets = [find_socket(api, wanted)] if wanted else object_list(api.get("/socket"))
            for one in sockets:
                found += _requests(api, {"socket_id": str(one.get("socket_id"))}, state)
    if as_json:
        show_json(found)
    else:
        show_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in found])


def _requests(api: GatewayApi, question: dict[str, str], state: str) -> Iterator[dict[str, Json]]:
    asked = question if state == "all" else question | {"state": state}
    yield from object_list(api.get(f"/access-requests?{urlencode(asked)}"))


@access.command()
@click.argument("request_id", metavar="REQUEST", type=IDENTIFIER)
@click.option("--minutes", type=_MINUTES, help="For how long; else as asked.")
@click.option("--note", type=WHY, help="For the record, and for who asked.")
@json_option
@click.pass_context
def approve(context: click.Context, /, request_id: str, *, as_json: bool, **given: Any) -> None:
    """Let somebody in for as long as they asked for, or shorter."""
    _answer(context, request_id, "approve", given, as_json=as_json)


@access.command()
@click.argument("request_id", metavar="REQUEST", type=IDENTIFIER)
@click.option("--note", type=WHY, help="For the record, and for who asked.")
@json_option
@click.pass_context
def deny(context: click.Context, /, request_id: str, *, as_json: bool, **given: Any) -> None:
    """Refuse a request; policies stay as they are."""
    _answer(context, request_id, "deny", given, as_json=as_json)


@access.command()
@click.argument("request_id", metavar="REQUEST", type=IDENTIFIER)
@json_option
@click.pass_context
def cancel(context: click.Context, request_id: str, *, as_json: bool) -> None:
    """Take a request of yours back, or end what one of them opened."""
    _answer(context, request_id, "cancel", {}, as_json=as_json)


def _answer(
    context: click.Context, request_id: str, verb: str, given: dict[str, Any], *, as_json: bool
) -> None:
    body = {name: value for name, value in given.items() if value is not None}
    with logged_in(context) as api:
        answer = api.post(f"/access-requests/{segment(request_id)}/{verb}", body)
    _show(answer, as_json=as_json)


def _show(answer: Json, *, as_json: bool) -> None:
    if as_json:
        show_json(answer)
        return
    show_pairs((name, value) for name, value in answer.items() if value is not None)
