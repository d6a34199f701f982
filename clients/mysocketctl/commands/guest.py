"""``mysocketctl guest``: one address, one socket, one window, by a link."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from clients.mysocketctl.api import segment
from clients.mysocketctl.commands.options import (
    IDENTIFIER,
    json_option,
    logged_in,
    say_if_not_in_force,
)
from clients.mysocketctl.commands.typed import EMAIL, MOMENT, NAME, WHY
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.named import all_pages, find_socket
from clients.mysocketctl.tables import show_json, show_pairs, show_table

_COLUMNS = ["guest_id", "email", "starts_at", "ends_at", "state", "note"]
_MOST_MINUTES = 90 * 24 * 60
"""What no gateway allows more of; each has a limit of its own below it."""
_SOCKET = click.option("--socket", "wanted", required=True, type=NAME, help="Its id or name.")


@click.group()
def guest() -> None:
    """Let one address in for a while, by a link."""


@guest.command()
@_SOCKET
@click.option("--email", required=True, type=EMAIL, help="Whom to let in.")
@click.option("--starts", type=MOMENT, help="From when on; else from now on.")
@click.option("--ends", type=MOMENT, help="Until when.")
@click.option("--minutes", type=click.IntRange(1, _MOST_MINUTES), help="… or for how long.")
@click.option("--note", type=WHY, help="For the record.")
@json_option
@click.pass_context
def create(context: click.Context, /, *, wanted: str, as_json: bool, **given: Any) -> None:
    """Invite somebody; the link it prints is for them alone."""
    starts: datetime | None = given["starts"]
    ends = _end(starts or datetime.now(UTC), given["ends"], given["minutes"])
    body = {
        "email": given["email"],
        "ends_at": ends.isoformat(timespec="seconds"),
        "note": given["note"] or "",
    }
    if starts is not None:  # else from now on, by the gateway's clock
        body["starts_at"] = starts.isoformat(timespec="seconds")
    with logged_in(context) as api:
        socket_id = find_socket(api, wanted).get("socket_id")
        made = api.post("/guests", {"socket_id": socket_id} | body)
        say_if_not_in_force(api)
    if as_json:
        show_json(made)
        return
    show_pairs((name, made.get(name)) for name in _COLUMNS if made.get(name) is not None)
    click.echo(made.get("link") or "")


def _end(starts_at: datetime, ends: datetime | None, minutes: int | None) -> datetime:
    """Raises InvalidInput."""
    if (ends is None) == (minutes is None):
        raise InvalidInput("say one of --ends and --minutes")
    if minutes is not None:
        try:
            return starts_at + timedelta(minutes=minutes)
        except OverflowError as error:
            raise InvalidInput("that is after the end of time") from error
    if ends is None or ends <= starts_at:
        raise InvalidInput("it ends before it starts")
    return ends


@guest.command()
@_SOCKET
@json_option
@click.pass_context
def ls(context: click.Context, wanted: str, *, as_json: bool) -> None:
    """List the guests of a socket."""
    with logged_in(context) as api:
        socket_id = segment(str(find_socket(api, wanted).get("socket_id")))
        found = list(all_pages(api, f"/guests?socket_id={socket_id}"))
    if as_json:
        show_json(found)
    else:
        show_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in found])


@guest.command()
@click.argument("guest_id", metavar="GUEST", type=IDENTIFIER)
@click.pass_context
def revoke(context: click.Context, guest_id: str) -> None:
    """Let a guest in no longer, at once."""
    with logged_in(context) as api:
        api.delete(f"/guests/{segment(guest_id)}")
        say_if_not_in_force(api)
    click.echo(f"Guest {guest_id} revoked")
