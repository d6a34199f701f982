"""``mysocketctl ca``: why a certificate was issued, what the log has, and what it has not."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain

import click

from clients.mysocketctl.api import Json, segment
from clients.mysocketctl.commands.ca_log import log
from clients.mysocketctl.commands.ca_revoke import lift, revocations, revoke
from clients.mysocketctl.commands.options import json_option, logged_in
from clients.mysocketctl.errors import GatewayRefused, InvalidInput
from clients.mysocketctl.log_files import Place, read_edge_file, read_sshd_file
from clients.mysocketctl.logged import LoggedCertificate, read_certificate
from clients.mysocketctl.sightings import Sighting, Unreadable, latest
from clients.mysocketctl.tables import show_json, show_pairs, show_table
from clients.mysocketctl.verdicts import UNASKED, UNDATED, verdicts

_BAD = {
    "unknown": "never issued",
    "different": "issued, but not like this, or not good any more",
    UNASKED: "the gateway takes no question about it",
    UNDATED: "long gone, and the log does not say when it was seen",
}
_MOST_PLACES = 20
"""Places shown of one certificate."""


@click.group()
def ca() -> None:
    """Certificates: why they were issued, and whether they were."""


for _command in (log, revoke, revocations, lift):
    ca.add_command(_command)


@ca.command()
@click.argument("certificate", metavar="CERT")
@json_option
@click.pass_context
def explain(context: click.Context, certificate: str, *, as_json: bool) -> None:
    """Say why a certificate was issued: to its holder, or to the owner of its socket.

    CERT is a file with an SSH certificate or a PEM certificate, - for standard input, or a serial
    number.
    """
    given = _certificate_or_serial(certificate)
    serial = given.serial if isinstance(given, LoggedCertificate) else given
    with logged_in(context) as api:
        answer = api.get(f"/ca/certificates/{segment(serial)}")
    if isinstance(given, LoggedCertificate) and not given.is_in(answer.get("certificate")):
        raise GatewayRefused(
            "the gateway issued another certificate under this serial number: "
            "somebody else may have signed this one",
            status=200,
            reason="certificate-different",
        )
    if as_json:
        show_json(answer)
        return
    _show_explanation(answer)


def _certificate_or_serial(text: str) -> LoggedCertificate | str:
    if re.fullmatch(r"[0-9A-Fa-f:]{1,64}", text):
        try:
            return read_certificate(text)
        except InvalidInput:
            return text
    return read_certificate(text)


def _show_explanation(answer: Json) -> None:
    decision = answer.get("decision") or {}
    show_pairs(
        [
            ("certificate", f"{answer.get('kind')} {answer.get('serial')}"),
            ("issued to", answer.get("subject")),
            ("issued at", answer.get("issued_at")),
            ("valid", f"{answer.get('not_before')} to {answer.get('not_after')}"),
            ("key", answer.get("public_key_fingerprint")),
            ("holder proved the key", bool(answer.get("proven"))),
            ("socket", answer.get("socket_id")),
            ("login", answer.get("login")),
            ("from", decision.get("source_ip")),
            ("decision", answer.get("decision_id")),
            ("because", decision.get("reasons")),
            ("policies", decision.get("policy_ids")),
            ("policy version", answer.get("policy_version")),
            ("signed by", answer.get("ca")),
            ("place in the log", answer.get("index")),
        ]
    )


@ca.command()
@click.option("--sshd-log", multiple=True, metavar="FILE", help="Log of an sshd; - for stdin.")
@click.option("--edge-log", multiple=True, metavar="FILE", help="Request log of an edge.")
@json_option
@click.pass_context
def reconcile(
    context: click.Context, sshd_log: Sequence[str], edge_log: Sequence[str], *, as_json: bool
) -> int:
    """Look for certificates that servers let in and that were never issued.

    One that was not means that somebody else has the CA's key. The exit code is 1 if there is one,
    or a line that cannot be read, and 2 if no line of a file is of such a log. What has no time
    cannot be held against a certificate's end.
    """
    if not sshd_log and not edge_log:
        raise InvalidInput("--sshd-log or --edge-log names what to read")
    seen, places = _read_all(sshd_log, edge_log)
    times = latest({one: seen[one] for one in seen if isinstance(one, Sighting)})
    unreadable = seen.total() - sum(times.values())
    undated = sum(count for one, count in times.items() if one.seen_at is None)
    with logged_in(context) as api:
        ours = [one for one in times if one.may_be_ours]
        said = dict(zip(ours, verdicts(api, ours), strict=True))
    found = {one: said.get(one, "unknown") for one in times}
    report = [
        one.question()
        | {"verdict": verdict, "times": times[one]}
        | {"places": [place._asdict() for place in places[one._replace(seen_at=None)]]}
        for one, verdict in found.items()
        if verdict in _BAD
    ]
    totals = Counter(found.values())
    if as_json:
        counts: dict[str, Json] = {"unreadable": unreadable, "undated": undated}
        lines = [place._asdict() for place in places[None]]
        show_json({"verdicts": dict(totals), **counts, "unreadable_lines": lines, "report": report})
    else:
        _show_report(report, totals, unreadable=unreadable, undated=undated)
        for place in places[None]:
            click.echo(f"cannot be read: {place.file}:{place.line}")
    return int(bool(report or unreadable))


_UNREADABLE = Unreadable(b"")
Places = dict[Sighting | None, list[Place]]
"""Where each certificate, whatever the time, was seen; under None what cannot be read."""


def _read_all(
    sshd_log: Sequence[str], edge_log: Sequence[str]
) -> tuple[Counter[Sighting | Unreadable], Places]:
    seen: Counter[Sighting | Unreadable] = Counter()
    places: Places = defaultdict(list)
    for names, read in ((sshd_log, read_sshd_file), (edge_log, read_edge_file)):
        for found, place in chain.from_iterable(map(read, names)):
            # Of what cannot be read the number is kept: a line may be a mebibyte.
            seen[found if isinstance(found, Sighting) else _UNREADABLE] += 1
            key = found._replace(seen_at=None) if isinstance(found, Sighting) else None
            if len(places[key]) < _MOST_PLACES:
                places[key].append(place)
    return seen, places


def _show_report(
    report: list[dict[str, Json]], totals: Counter[str], *, unreadable: int, undated: int
) -> None:
    found = ", ".join(f"{count} {verdict}" for verdict, count in sorted(totals.items()))
    click.echo(f"{totals.total()} certificates seen: {found or 'none'}")
    if unreadable:
        click.echo(f"{unreadable} lines about certificates cannot be read")
    if undated:
        click.echo(
            f"{undated} lines have no time: nobody can say whether their certificates had ended"
        )
    if report:
        columns = ["kind", "serial", "ca", "key_fingerprint", "key_id", "times"]
        rows = [
            [
                _BAD[row["verdict"]],
                *(row.get(name) for name in columns),
                [str(Place(**place)) for place in row["places"]],
            ]
            for row in report
        ]
        show_table(["verdict", *columns, "seen"], rows)
