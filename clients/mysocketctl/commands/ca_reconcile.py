"""``mysocketctl ca reconcile``: certificates that servers let in and that were never issued.

Whatever is wrong with one file, the others are read and asked about: something as ordinary as a log
that was turned over just now must not hide the forged certificate in another.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import click

from clients.mysocketctl.api import Json
from clients.mysocketctl.commands.options import json_option, logged_in
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.log_files import Place, Remark, read_edge_file, read_sshd_file
from clients.mysocketctl.sightings import Sighting, Unreadable, latest
from clients.mysocketctl.tables import show_json, show_table
from clients.mysocketctl.verdicts import UNASKED, UNDATED, verdicts

_BAD = {
    "unknown": "never issued",
    "different": "issued, but not like this, or not good any more",
    UNASKED: "the gateway takes no question about it",
    UNDATED: "long gone, and the log does not say when it was seen",
}
_MOST_PLACES = 20
"""Places shown of one certificate."""
_COULD_NOT_READ = 2


class _Logs(NamedTuple):
    """What is in all the files together."""

    seen: Counter[Sighting | Unreadable]
    places: Mapping[Sighting | None, list[Place]]
    """Where each certificate, whatever the time, was seen; under None what cannot be read."""
    remarks: list[Remark]


class _Report(NamedTuple):
    """What is to be said of them."""

    bad: list[dict[str, Json]]
    verdicts: Counter[str]
    unreadable: int
    undated: int


@click.command()
@click.option("--sshd-log", multiple=True, metavar="FILE", help="Log of an sshd; - for stdin.")
@click.option("--edge-log", multiple=True, metavar="FILE", help="Request log of an edge.")
@json_option
@click.pass_context
def reconcile(
    context: click.Context, sshd_log: Sequence[str], edge_log: Sequence[str], *, as_json: bool
) -> int:
    """Look for certificates that servers let in and that were never issued.

    One that was not means that somebody else has the CA's key. The exit code is 1 if there is one,
    or a line that cannot be read; else 2 if a file could not be read, or no line of it is of such
    a log. What has no time cannot be held against a certificate's end.
    """
    if not sshd_log and not edge_log:
        raise InvalidInput("--sshd-log or --edge-log names what to read")
    logs = _read_all(sshd_log, edge_log)
    report = _asked(context, logs)
    (_show_json if as_json else _show)(report, logs)
    for remark in logs.remarks:
        mark = "" if remark.is_fault else "warning: "
        click.echo(f"mysocketctl: {mark}{remark.words}", err=True)
    if report.bad or report.unreadable:
        return 1
    return _COULD_NOT_READ if any(remark.is_fault for remark in logs.remarks) else 0


def _read_all(sshd_log: Sequence[str], edge_log: Sequence[str]) -> _Logs:
    logs = _Logs(Counter(), defaultdict(list), [])
    for names, read in ((sshd_log, read_sshd_file), (edge_log, read_edge_file)):
        for one in chain.from_iterable(map(read, names)):
            if isinstance(one, Remark):
                logs.remarks.append(one)
                continue
            found, place = one
            logs.seen[found] += 1
            places = logs.places[
                found._replace(seen_at=None) if isinstance(found, Sighting) else None
            ]
            if len(places) < _MOST_PLACES:
                places.append(place)
    return logs


def _asked(context: click.Context, logs: _Logs) -> _Report:
    times = latest({one: count for one, count in logs.seen.items() if isinstance(one, Sighting)})
    ours = [one for one in times if one.may_be_ours]
    said: dict[Sighting, str] = {}
    if ours:
        with logged_in(context) as api:
            said = dict(zip(ours, verdicts(api, ours), strict=True))
    found = {one: said.get(one, "unknown") for one in times}
    return _Report(
        bad=[
            one.question()
            | {"verdict": verdict, "times": times[one]}
            | {"places": [place._asdict() for place in logs.places[one._replace(seen_at=None)]]}
            for one, verdict in found.items()
            if verdict in _BAD
        ],
        verdicts=Counter(found.values()),
        unreadable=logs.seen.total() - sum(times.values()),
        undated=sum(count for one, count in times.items() if one.seen_at is None),
    )


def _show_json(report: _Report, logs: _Logs) -> None:
    show_json(
        {
            "verdicts": dict(report.verdicts),
            "unreadable": report.unreadable,
            "undated": report.undated,
            "unreadable_lines": [place._asdict() for place in logs.places[None]],
            "files": [remark._asdict() for remark in logs.remarks],
            "report": report.bad,
        }
    )


def _show(report: _Report, logs: _Logs) -> None:
    found = ", ".join(f"{count} {verdict}" for verdict, count in sorted(report.verdicts.items()))
    click.echo(f"{report.verdicts.total()} certificates seen: {found or 'none'}")
    if report.unreadable:
        click.echo(f"{report.unreadable} lines about certificates cannot be read")
    if report.undated:
        click.echo(
            f"{report.undated} lines have no time: "
            "nobody can say whether their certificates had ended"
        )
    if report.bad:
        columns = ["kind", "serial", "ca", "key_fingerprint", "key_id", "times"]
        rows = [
            [
                _BAD[row["verdict"]],
                *(row.get(name) for name in columns),
                [str(Place(**place)) for place in row["places"]],
            ]
            for row in report.bad
        ]
        show_table(["verdict", *columns, "seen"], rows)
    for place in logs.places[None]:
        click.echo(f"cannot be read: {place.file}:{place.line}")
