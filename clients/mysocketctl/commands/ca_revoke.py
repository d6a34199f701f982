"""``mysocketctl ca revoke``, ``revocations`` and ``lift``."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ca.formats.errors import FormatError
from ca.formats.ssh_certificate import parse_certificate_line
from ca.formats.ssh_keys import parse_key_line
from clients.mysocketctl.api import GatewayApi, object_list, segment
from clients.mysocketctl.commands.options import IDENTIFIER, json_option, logged_in
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.files import read_small
from clients.mysocketctl.tables import show_json, show_pairs, show_table

_COLUMNS = ["revocation_id", "scope", "value", "reason", "created_by", "created_at", "lifted_at"]

_PAGE_SIZE = 500

_SOCKET = click.option(
    "--socket", "socket_id", required=True, type=IDENTIFIER, help="As in socket ls."
)


@click.command()
@_SOCKET
@click.option("--person", metavar="EMAIL", help="Everything of this person, and nothing new.")
@click.option(
    "--key", metavar="KEY", help="This key: SHA256:…, or a file with it or its certificate."
)
@click.option("--serial", metavar="SERIAL", help="This one certificate.")
@click.option("--all", "everything", is_flag=True, help="Every certificate issued up to now.")
@click.option("--reason", default="", help="For the record.")
@json_option
@click.pass_context
def revoke(
    context: click.Context, /, *, socket_id: str, reason: str, as_json: bool, **what: Any
) -> None:
    """Take certificates of a socket back: one of --person, --key, --serial or --all."""
    what["socket"] = "" if what.pop("everything") else None
    named = [(scope, value) for scope, value in what.items() if value is not None]
    if len(named) != 1:
        raise InvalidInput("say one of --person, --key, --serial and --all")
    scope, value = named[0]
    body = {
        "scope": scope,
        "value": _fingerprint(value) if scope == "key" else value,
        "reason": reason,
    }
    with logged_in(context) as api:
        made = api.post(f"/socket/{segment(socket_id)}/revocation", body)
        in_force = api.in_force
    if as_json:
        show_json(made)
    else:
        said = _shown(made)
        show_pairs(
            (name, said.get(name))
            for name in (*_COLUMNS, "certificates")
            if said.get(name) is not None
        )
    if made.get("certificates") == 0:
        slip = "" if scope == "socket" else "; is it spelled right?"
        click.echo(
            f"mysocketctl: warning: it names no certificate that is still good{slip}", err=True
        )
    if not in_force:
        click.echo(
            "mysocketctl: warning: an edge has not confirmed this yet; it may still serve what"
            " was before",
            err=True,
        )


@click.command()
@_SOCKET
@json_option
@click.pass_context
def revocations(context: click.Context, socket_id: str, *, as_json: bool) -> None:
    """List a socket's revocations, newest first."""
    with logged_in(context) as api:
        found = list(_all_of(api, socket_id))
    if as_json:
        show_json(found)
    else:
        show_table(_COLUMNS, [[_shown(one).get(name) for name in _COLUMNS] for one in found])


@click.command()
@_SOCKET
@click.option("--revocation-id", required=True, type=IDENTIFIER, help="As in ca revocations.")
@click.pass_context
def lift(context: click.Context, socket_id: str, revocation_id: str) -> None:
    """Readmit a person or a key; certificates that were revoked stay revoked."""
    with logged_in(context) as api:
        api.delete(f"/socket/{segment(socket_id)}/revocation/{segment(revocation_id)}")
    click.echo(f"Revocation {revocation_id} lifted")


def _all_of(api: GatewayApi, socket_id: str) -> Iterator[Any]:
    for page in itertools.count(1):
        query = f"page={page}&page_size={_PAGE_SIZE}"
        found = object_list(api.get(f"/socket/{segment(socket_id)}/revocation?{query}"))
        yield from found
        if len(found) < _PAGE_SIZE:
            return


def _shown(revocation: Any) -> Any:
    """For people; of a whole socket the value is a number that only the gateway counts with."""
    return revocation | ({"value": None} if revocation.get("scope") == "socket" else {})


def _fingerprint(text: str) -> str:
    """A fingerprint as it is, or of the key or certificate in a file. Raises InvalidInput."""
    if text.startswith("SHA256:") or (len(text) == 64 and not Path(text).exists()):
        return text
    line = read_small(Path(text))
    if line is None:
        raise InvalidInput(f"neither a fingerprint (SHA256:…) nor a file: {text!r}")
    for parse in (parse_key_line, parse_certificate_line):
        try:
            return parse(line).fingerprint
        except FormatError:
            continue
    raise InvalidInput(f"{text} holds no public key and no SSH certificate")
