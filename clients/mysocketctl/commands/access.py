"""``mysocketctl access``: asking to be let in, and answering who asks."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import click

from clients.mysocketctl.api import GatewayApi, Json, segment
from clients.mysocketctl.commands.access_rules import rules
from clients.mysocketctl.commands.options import (
    HOST_NAME,
    IDENTIFIER,
    json_option,
    logged_in,
    say_if_not_in_force,
)
from clients.mysocketctl.commands.typed import NAME, WHY
from clients.mysocketctl.errors import InvalidInput, UnknownName
from clients.mysocketctl.named import all_pages, find_socket
from clients.mysocketctl.tables import show_json, show_pairs, show_table

_MINE = ["request_id", "socket", "action", "minutes", "reason", "state", "ends_at", "note"]
_ASKED = ["request_id", "email", "socket", "action", "minutes", "reason", "state", "approvals"]
_ASKED += ["ends_at", "created_at"]
_MOST_MINUTES = 30 * 24 * 60
"""What no gateway lets anybody ask for; each has a limit of its own below it."""
_MINUTES = click.IntRange(1, _MOST_MINUTES)
_STATES = click.Choice(
    ["pending", "approved", "denied", "cancelled", "revoked", "expired", "ended", "all"]
)


@click.group()
def access() -> None:
    """Ask to be let in, and answer who asks."""


access.add_command(rules)


@access.command()
@click.argument("socket", metavar="SOCKET", type=HOST_NAME)
@click.option("--reason", required=True, type=WHY, help="Why you should be let in.")
@click.option("--minutes", type=_MINUTES, default=60, show_default=True, help="For how long.")
@click.option("--action", type=click.Choice(["http", "tls", "ssh"]), help="What for.")
@click.option("--decision", "decision_id", type=IDENTIFIER, help="The denial you were shown.")
@json_option
@click.pass_context
def request(context: click.Context, /, *, as_json: bool, **given: Any) -> None:
    """Ask the owner of SOCKET, a DNS name, to let you in for a while."""
    body = {name: value for name, value in given.items() if value is not None}
    with logged_in(context) as api:
        made = api.post("/access-requests", body)
    _show(made, as_json=as_json)


@access.command()
@click.option("--mine", is_flag=True, help="What you asked for; else what you may answer.")
@click.option("--socket", "wanted", type=NAME, help="One socket: id or name; else all.")
@click.option("--state", type=_STATES, help="Else pending; with --mine, all.")
@json_option
@click.pass_context
def ls(
    context: click.Context, wanted: str | None, state: str | None, *, mine: bool, as_json: bool
) -> None:
    """List requests for access: those you may answer, as owner or approver, or your own."""
    if mine and wanted:
        raise InvalidInput("--mine is about every socket; leave --socket out")
    with logged_in(context) as api:
        if mine:
            found = list(_requests(api, {"mine": "true", "state": state or "all"}))
        else:
            found = _asked_of_me(api, wanted, state or "pending")
    if as_json:
        show_json(found)
        return
    columns = _MINE if mine else _ASKED
    show_table(columns, [[_field(one, name) for name in columns] for one in found])


def _asked_of_me(api: GatewayApi, wanted: str | None, state: str) -> list[dict[str, Json]]:
    """Raises UnknownName."""
    if wanted is None:
        return list(_requests(api, {"state": state}))
    try:
        socket_id = str(find_socket(api, wanted).get("socket_id"))
    except UnknownName:
        # An approver owns no such socket; what they may answer tells its id and DNS name.
        called = wanted.lower().removesuffix(".")
        everything = _requests(api, {"state": "all"})
        theirs = [one for one in everything if called in (one.get("socket_id"), one.get("socket"))]
        if not theirs:
            raise
        return [one for one in theirs if state in ("all", one.get("state"))]
    return list(_requests(api, {"socket_id": socket_id, "state": state}))


def _requests(api: GatewayApi, question: dict[str, str]) -> Iterator[dict[str, Json]]:
    yield from all_pages(api, f"/access-requests?{urlencode(question)}")


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
@click.option("--note", type=WHY, help="For the record, and for who asked.")
@json_option
@click.pass_context
def revoke(context: click.Context, /, request_id: str, *, as_json: bool, **given: Any) -> None:
    """End early what was approved; whoever is in by it is out at once."""
    _answer(context, request_id, "revoke", given, as_json=as_json)


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
        say_if_not_in_force(api)
    _show(answer, as_json=as_json)


def _show(answer: Json, *, as_json: bool) -> None:
    if as_json:
        show_json(answer)
        return
    shown = ((name, _field(answer, name)) for name in answer if name != "approvals_needed")
    show_pairs((name, value) for name, value in shown if value not in (None, "", []))


def _field(one: dict[str, Json], name: str) -> Json:
    """What a table says of a field; of approvals, who gave one and how many it takes."""
    if name != "approvals" or not isinstance(one.get(name), list):
        return one.get(name)
    given = [approval for approval in one[name] if isinstance(approval, dict)]
    lines = [f"{approval.get('by')} ({approval.get('minutes')} minutes)" for approval in given]
    needed = one.get("approvals_needed")
    return lines if needed == 1 else [f"{len(given)} of {needed}", *lines]
