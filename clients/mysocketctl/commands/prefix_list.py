"""``mysocketctl prefix-list``: named lists of networks that policies refer to."""

from collections.abc import Iterator
from typing import Any

import click

from clients.mysocketctl.api import Json, object_list, segment
from clients.mysocketctl.commands.options import json_option, logged_in, say_if_not_in_force
from clients.mysocketctl.commands.policy_options import WHY_OPTION, faults_of, said
from clients.mysocketctl.commands.typed import LIST_NAME, NAME
from clients.mysocketctl.files import shown_name
from clients.mysocketctl.named import all_pages, with_why
from clients.mysocketctl.policy_files import read_text
from clients.mysocketctl.tables import show_json, show_pairs, show_table

MAX_FILE_BYTES = 8 << 20
"""Longest range file read; the largest published ones have about 5 MB."""
VERSIONS_AT_ONCE = 10
"""Entries of a history asked for together: each holds a whole list, of up to a megabyte."""
_COLUMNS = ["name", "count", "version", "updated_at", "by", "source", "why"]
_HISTORY = ["version", "change", "at", "by", "count", "source", "why"]
_NAME = click.argument("name", metavar="NAME", type=LIST_NAME)


@click.group(name="prefix-list")
def prefix_list() -> None:
    """Keep named lists of networks for policies."""


@prefix_list.command()
@json_option
@click.pass_context
def ls(context: click.Context, *, as_json: bool) -> None:
    """List your prefix lists."""
    with logged_in(context) as api:
        found = object_list(api.get("/prefix-lists"))
    if as_json:
        show_json(found)
    else:
        show_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in found])


@prefix_list.command()
@_NAME
@click.option("--prefixes", "bare", is_flag=True, help="The networks alone, one a line.")
@json_option
@click.pass_context
def show(context: click.Context, name: str, *, bare: bool, as_json: bool) -> None:
    """Show a list: where it is from, and how large its networks are."""
    with logged_in(context) as api:
        found = api.get(f"/prefix-lists/{segment(name)}")
    if as_json:
        show_json(found)
    elif bare:
        for prefix in found.get("prefixes") or []:
            click.echo(str(prefix))
    else:
        _show(found)


@prefix_list.command(name="import")
@_NAME
@click.argument("file", metavar="FILE")
@click.option("--region", type=NAME, help="Only networks of this region, as the file calls it.")
@click.option("--service", type=NAME, help="Only networks of this service, as the file calls it.")
@WHY_OPTION
@json_option
@click.pass_context
def import_(
    context: click.Context, /, name: str, file: str, *, as_json: bool, **given: Any
) -> None:
    """Make the list NAME of a published range file, or replace it; - is standard input.

    FILE is what AWS, Google, Azure, GitHub or Fastly publish, or plain text with one network a
    line. Policies that name the list go by the new one at once.
    """
    text = read_text(file, MAX_FILE_BYTES)
    with logged_in(context) as api:
        with faults_of(shown_name(file)):
            made = api.put(f"/prefix-lists/{segment(name)}", {"text": text} | said(given))
        say_if_not_in_force(api)
    show_json(made) if as_json else _show(made)


@prefix_list.command()
@_NAME
@json_option
@click.pass_context
def history(context: click.Context, name: str, *, as_json: bool) -> None:
    """List every change of a list, newest first: who, when and why; also of a deleted one.

    With --json also the networks it held from then on.
    """
    with logged_in(context) as api:
        path = f"/prefix-lists/{segment(name)}/history"
        found = list(all_pages(api, path, size=VERSIONS_AT_ONCE))
    if as_json:
        show_json(found)
    else:
        rows = [_counts(one) | one for one in found]
        show_table(_HISTORY, [[row.get(name) for name in _HISTORY] for row in rows])


@prefix_list.command()
@_NAME
@WHY_OPTION
@click.pass_context
def delete(context: click.Context, name: str, why: str | None) -> None:
    """Delete a list that no policy names any more."""
    with logged_in(context) as api:
        api.delete(with_why(f"/prefix-lists/{segment(name)}", why))
        say_if_not_in_force(api)
    click.echo(f"Prefix list {name} deleted")


def _show(found: dict[str, Json]) -> None:
    counts = _counts(found)
    pairs = [(name, found[name]) for name in _COLUMNS if found.get(name) not in (None, "")]
    pairs += [(name, n) for name, n in counts.items() if name not in found and _is_count(n)]
    show_pairs(pairs)
    sizes = [size for name, by_size in counts.items() for size in _sizes(name, by_size)]
    if sizes:
        show_table(["size", "networks"], sizes)


def _counts(found: dict[str, Json]) -> dict[str, Json]:
    summary = found.get("summary")
    return summary if isinstance(summary, dict) else {}


def _sizes(name: str, by_size: Json) -> Iterator[tuple[str, Json]]:
    """How many networks there are of each size, widest first."""
    counts = by_size if isinstance(by_size, dict) else {}
    for size, count in sorted(counts.items(), key=lambda one: (len(one[0]), one[0])):
        yield (f"{name} /{size}" if size.isdecimal() else size), count


def _is_count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
