"""``mysocketctl policy test`` and ``schema``: what needs no gateway and no login."""

from collections.abc import Sequence
from typing import Any

import click

from clients.mysocketctl.commands.options import json_option
from clients.mysocketctl.commands.policy_options import LISTS
from clients.mysocketctl.errors import Fault, PolicyFaulty, placed
from clients.mysocketctl.files import shown_name
from clients.mysocketctl.names import printable
from clients.mysocketctl.offline import failed_cases, read_lists, require_lists
from clients.mysocketctl.policy_files import read_policy_file
from clients.mysocketctl.tables import counted, show_json


@click.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
@LISTS
@json_option
def test(files: Sequence[str], lists: Sequence[tuple[str, str]], *, as_json: bool) -> int:
    """Run the cases of documents on the documents alone: no gateway, no login.

    The exit code is 0 if every case comes out as expected, 1 if one does not or a document has a
    fault.
    """
    known = read_lists(lists)
    report = [_tested(name, known) for name in files]
    if as_json:
        show_json(report)
    else:
        _show(report)
    return int(any(one["faults"] or one["failed"] for one in report))


def _tested(name: str, lists: dict[str, Any]) -> dict[str, Any]:
    """What came out of one file."""
    report: dict[str, Any] = {"file": shown_name(name), "cases": 0, "faults": [], "failed": []}
    try:
        document = read_policy_file(name)
    except PolicyFaulty as error:
        return report | {"faults": [fault._asdict() for fault in error.faults]}
    if document.expect:
        require_lists(document, lists, shown_name(name))
    failed = failed_cases(document, lists)
    return report | {"cases": len(document.expect), "failed": [case._asdict() for case in failed]}


def _show(report: Sequence[dict[str, Any]]) -> None:
    for one in report:
        for said in placed(one["file"], [Fault(**it) for it in one["faults"] + one["failed"]]):
            click.echo(printable(said, 1000))
    cases = sum(one["cases"] for one in report)
    failed = sum(len(one["failed"]) for one in report)
    faulty = sum(bool(one["faults"]) for one in report)
    said = f"{counted(cases, 'case')}, {f'{failed} failed' if failed else 'all as expected'}"
    with_faults = f"; with faults: {counted(faulty, 'document')}" if faulty else ""
    click.echo(said + with_faults)


@click.command()
def schema() -> None:
    """Print the JSON Schema of policy documents, for editors and other programs."""
    from policy.schema import json_schema  # noqa: PLC0415 - most commands need none

    show_json(json_schema())
