"""``mysocketctl policy diff``: the recorded requests, decided anew under another document."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import click

from clients.mysocketctl.api import GatewayApi, Json, object_list, refusal_of
from clients.mysocketctl.commands.options import json_option, logged_in
from clients.mysocketctl.commands.policy_options import FILE, faults_of, said
from clients.mysocketctl.commands.typed import NAME
from clients.mysocketctl.errors import GatewayUnreachable, InvalidInput, ProtocolViolation
from clients.mysocketctl.named import find_policy, find_socket
from clients.mysocketctl.policy_files import read_source
from clients.mysocketctl.tables import counted, show_json, show_table

LOSS = 3
"""Exit code of ``--fail-on-loss``."""
_COUNTS = ("records", "gained", "lost", "people_gained", "people_lost", "unreadable")
_COLUMNS = ["who", "socket", "action", "requests", "last seen", "before", "after"]


@click.command()
@FILE
@click.option("--policy", type=NAME, help="The policy that would get this document: id or name.")
@click.option("--socket", "sockets", multiple=True, type=NAME, help="Here as well; repeatable.")
@click.option("--org-wide", is_flag=True, default=None, help="On every socket.")
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True)
@click.option("--fail-on-loss", is_flag=True, help="Exit code 3 if anybody would, or may.")
@json_option
@click.pass_context
def diff(
    context: click.Context, /, file: str, *, fail_on_loss: bool, as_json: bool, **given: Any
) -> int:
    """Say who would gain and who would lose access by FILE, before anything changes.

    Every request of the last days is decided anew. Without --policy, FILE is taken as a further
    policy of the sockets; with it, all sockets that have the policy count.
    """
    if not (given["policy"] or given["sockets"] or given["org_wide"]):
        raise InvalidInput("say --policy, --socket or --org-wide")
    text, name = read_source(file)
    with logged_in(context) as api:
        body = _question(api, given) | text
        with faults_of(name):
            result = _replay(api, body)
    counts = _counts(result)
    if as_json:
        show_json(result)
    else:
        _show(result, counts)
    _warn(counts, fails=fail_on_loss)
    return LOSS if fail_on_loss and (counts["lost"] or counts["unreadable"]) else 0


def _counts(result: dict[str, Json]) -> dict[str, int]:
    """The numbers of all, which the lists may be shorter than. Raises ProtocolViolation."""
    counts = {name: result.get(name) for name in _COUNTS}
    found = {name: n for name, n in counts.items() if type(n) is int and n >= 0}
    if len(found) < len(counts):
        missing = ", ".join(sorted(set(counts) - set(found)))
        raise ProtocolViolation(f"the gateway's answer does not say how many: {missing}")
    return found


def _warn(counts: dict[str, int], *, fails: bool) -> None:
    """Say what is not known, whatever form the answer has."""
    if counts["unreadable"]:
        said = (
            f"mysocketctl: warning: {counts['unreadable']} of the {counts['records']} requests"
            " cannot be decided anew, too little was recorded of them; they may lose access"
        )
        click.echo(said + (": exit code 3" if fails else ""), err=True)


def _question(api: GatewayApi, given: dict[str, Any]) -> dict[str, Json]:
    body = said({"days": given["days"], "org_wide": given["org_wide"]})
    if given["policy"]:
        body["policy_id"] = find_policy(api, given["policy"]).get("id")
    if given["sockets"]:
        body["socket_ids"] = [find_socket(api, one).get("socket_id") for one in given["sockets"]]
    return body


def _replay(api: GatewayApi, body: dict[str, Json]) -> dict[str, Json]:
    """The result, once everything is decided; a bar shows how far it is, on a terminal.

    Raises:
        GatewayRefused: the gateway gave up on the way.
        GatewayUnreachable: there is no answer, or it ended before the result.
    """
    last: dict[str, Json] | None = None
    try:
        with _progress() as progress:
            for line in api.post_for_lines("/policies/diff", body):
                if line.get("type") == "result":
                    return line
                if line.get("type") == "problem":
                    status = line.get("status")
                    raise refusal_of(line, status if isinstance(status, int) else 500)
                last = line
                progress.show(line.get("done"), line.get("total"))
    except GatewayUnreachable as error:
        if last is None:
            raise
        raise _cut_off(last) from error
    raise _cut_off(last or {})


def _cut_off(last: dict[str, Json]) -> GatewayUnreachable:
    """What to say where ``last`` was the last line."""
    done, total = last.get("done"), last.get("total")
    where = f" at {done} of {total} requests" if type(done) is int and type(total) is int else ""
    return GatewayUnreachable(
        f"the replay was cut off before its result{where}, so who would gain or lose is not known;"
        " try again, or with fewer --days"
    )


class _Progress(Protocol):
    def show(self, done: Json, total: Json) -> None: ...


class _NoBar:
    def show(self, done: Json, total: Json) -> None:
        """Nobody watches."""


class _Bar:
    """A bar that learns from each line how long it is."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def show(self, done: Json, total: Json) -> None:
        if isinstance(done, int) and isinstance(total, int) and 0 <= done <= total:
            self._bar.length = total
            self._bar.update(done - self._bar.pos)


@contextlib.contextmanager
def _progress() -> Iterator[_Progress]:
    if not sys.stderr.isatty():
        yield _NoBar()
        return
    with click.progressbar(length=1, label="Deciding anew", file=sys.stderr) as bar:
        yield _Bar(bar)


def _show(result: dict[str, Json], counts: dict[str, int]) -> None:
    since, until = result.get("since"), result.get("until")
    click.echo(f"{counts['records']} recorded requests from {since} to {until}")
    for word, past in (("gain", "gained"), ("lose", "lost")):
        entries = object_list(result.get(word) or [])
        click.echo(
            f"\nwould {word} access: {counted(counts['people_' + past], 'person', 'people')},"
            f" {counted(counts[past], 'request')}"
        )
        if entries:
            show_table(_COLUMNS, [_row(one) for one in entries])
    if counts["unreadable"]:
        click.echo(f"\nnot known: {counted(counts['unreadable'], 'request')}")
    if result.get("truncated"):
        click.echo("mysocketctl: warning: there are more; the lists are cut short", err=True)


def _row(one: dict[str, Json]) -> Sequence[Json]:
    names = ["dnsname", "action", "count", "last_seen", "before", "after"]
    return [_who(one), *(one.get(name) for name in names)]


def _who(one: dict[str, Json]) -> str:
    program = one.get("service_account")
    return str(program or one.get("email") or f"{one.get('issuer')} {one.get('subject')}")
