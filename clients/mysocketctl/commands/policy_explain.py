"""``mysocketctl policy explain``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from clients.mysocketctl.api import Json, segment
from clients.mysocketctl.commands.options import IDENTIFIER, json_option, logged_in
from clients.mysocketctl.commands.policy_options import LISTS, said
from clients.mysocketctl.commands.typed import (
    ADDRESS,
    COUNTRY,
    EMAIL,
    GROUP,
    MOMENT,
    NAME,
    PROVIDER,
)
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.files import shown_name
from clients.mysocketctl.named import find_socket
from clients.mysocketctl.names import printable
from clients.mysocketctl.offline import (
    ASSURANCES,
    explained_offline,
    read_lists,
    require_lists,
)
from clients.mysocketctl.policy_files import read_policy_file
from clients.mysocketctl.tables import show_json, show_pairs


@click.command()
@click.option("--socket", type=NAME, help="By the policies of this socket: id or name.")
@click.option("--file", metavar="FILE", help="By this document alone: no gateway, no login.")
@click.option("--decision", type=IDENTIFIER, help="Why this was decided, as in audit decisions.")
@click.option("--as", "email", type=EMAIL, help="Who asks.")
@click.option("--provider", type=PROVIDER, help="Where they logged in.")
@click.option("--group", "groups", multiple=True, type=GROUP, help="They are in; repeatable.")
@click.option("--assurance", type=click.Choice(ASSURANCES), help="How their email was verified.")
@click.option("--service-account", type=NAME, help="A program asks, of this name.")
@click.option("--from", "source", type=ADDRESS, help="Their address; else your own.")
@click.option("--country", type=COUNTRY, help="Where that is; else as the gateway knows it.")
@click.option("--asn", type=click.IntRange(1, 2**32 - 1), help="… and in which network.")
@click.option("--at", type=MOMENT, help="When, with an offset: 2026-03-01T09:00:00+01:00.")
@click.option("--action", type=click.Choice(["http", "tls", "ssh"]), help="What for.")
@click.option("--client-proof", is_flag=True, default=None, help="They prove to have the key.")
@LISTS
@json_option
@click.pass_context
def explain(context: click.Context, /, *, as_json: bool, **given: Any) -> None:
    """Say whether somebody is let in, by which rule, and what would have changed it.

    By the policies of a socket, by a document in a file, or as it was with one decision.
    """
    ways = [name for name in ("socket", "file", "decision") if given[name] is not None]
    if len(ways) != 1:
        raise InvalidInput("say one of --socket, --file and --decision")
    if given["decision"] is None and (given["email"] is None) == (given["service_account"] is None):
        raise InvalidInput("say --as, or --service-account")
    question = _question(given)
    if given["file"] is not None:
        document = read_policy_file(given["file"])
        lists = read_lists(given["lists"])
        require_lists(document, lists, shown_name(given["file"]))
        answer = explained_offline(document, question, lists)
    else:
        answer = _asked(context, given, question)
    if as_json:
        show_json(answer)
    elif answer.get("text"):
        for line in answer["text"]:
            click.echo(_line(str(line)))
    else:  # a decision about this person on somebody else's socket: what they may know
        show_pairs(answer.items())


def _question(given: dict[str, Any]) -> dict[str, Json]:
    """The same as the API asks it."""
    at: datetime | None = given["at"]
    names = ("provider", "assurance", "service_account", "country", "asn", "action", "client_proof")
    groups: Sequence[str] = given["groups"]
    return said({name: given[name] for name in names}) | said(
        {
            "as": given["email"],
            "from": None if given["source"] is None else str(given["source"]),
            "at": None if at is None else at.isoformat(),
            "groups": list(groups) or None,
        }
    )


def _asked(
    context: click.Context, given: dict[str, Any], question: dict[str, Json]
) -> dict[str, Json]:
    if given["lists"]:
        raise InvalidInput("--prefix-list is for --file; the gateway has its own")
    with logged_in(context) as api:
        if given["decision"] is not None:
            answer: dict[str, Json] = api.get(f"/audit/decisions/{segment(given['decision'])}")
        else:
            socket_id = find_socket(api, given["socket"]).get("socket_id")
            answer = api.post("/policies/explain", {"socket": socket_id} | question)
    return answer


def _line(text: str) -> str:
    """A line as it is indented, made printable."""
    depth = len(text) - len(text.lstrip(" "))
    return " " * min(depth, 40) + printable(text, 1000)
