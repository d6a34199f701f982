"""``mysocketctl ca log``: what is in the transparency log, and that it only grows."""

import re
from typing import Any
from urllib.parse import urlencode

import click

from clients.mysocketctl.api import GatewayApi, Json, object_list
from clients.mysocketctl.commands.options import IDENTIFIER, json_option, logged_in, settings_of
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.log_trust import LogTrust
from clients.mysocketctl.logged import read_certificate
from clients.mysocketctl.names import printable
from clients.mysocketctl.tables import show_json, show_pairs, show_table

_COLUMNS = ["index", "issued_at", "kind", "subject", "serial", "key", "not_after"]
_WORD = re.compile(r"[!-~]{1,320}")
_SERIAL = re.compile(r"[0-9A-Fa-f:]{1,64}")
_KINDS = ["ssh-user", "ssh-host", "ssh-tunnel", "x509-client", "x509-server"]
_LIMIT = click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)


@click.group()
def log() -> None:
    """The log of all certificates: nothing leaves the gateway that is not in it."""


@log.command(name="list")
@click.option(
    *("--socket", "--socket_id", "--socket-id", "socket_id"),
    type=IDENTIFIER,
    help="One socket; else all of yours.",
)
@click.option("--kind", type=click.Choice(_KINDS), help="One kind of certificate.")
@click.option("--before", type=click.IntRange(0, 2**62), help="Only entries below this index.")
@_LIMIT
@json_option
@click.pass_context
def list_entries(context: click.Context, /, *, as_json: bool, **sought: Any) -> None:
    """List certificates for your sockets, and your own, newest first."""
    _show_entries(context, sought, as_json=as_json)


@log.command()
@click.argument("word", metavar="WORD")
@_LIMIT
@json_option
@click.pass_context
def search(context: click.Context, word: str, limit: int, *, as_json: bool) -> None:
    """Look for an e-mail address or host name, a key's fingerprint (SHA256:…), or a serial."""
    if not _WORD.fullmatch(word):
        raise InvalidInput(f"not a word to look for: {printable(word)[:100]!r}")
    name = "subject"
    if word.startswith("SHA256:") or re.fullmatch(r"[0-9a-f]{64}", word):
        name = "key_fingerprint"
    elif _SERIAL.fullmatch(word):
        name = "serial"
    _show_entries(context, {name: word, "limit": limit}, as_json=as_json)


@log.command()
@click.argument("certificate", metavar="CERT")
@json_option
@click.pass_context
def verify(context: click.Context, certificate: str, *, as_json: bool) -> None:
    """Check that a certificate is in the log; CERT is its file, - for standard input."""
    given = read_certificate(certificate)
    settings = settings_of(context)
    with GatewayApi(settings) as api:
        document = api.get(f"/ca/log/proof?{urlencode({'serial': given.serial})}")
        trust = LogTrust(settings, api)
        proof, checkpoint = trust.verify(document, kind=given.kind, certificate=given.content)
    found = {
        "serial": given.serial,
        "index": proof.index,
        "size": checkpoint.size,
        "log": str(trust.key),
    }
    if as_json:
        show_json(found)
    else:
        show_pairs([("in the log", True), *found.items()])


@log.command()
@json_option
@click.pass_context
def consistency(context: click.Context, *, as_json: bool) -> None:
    """Check that the log only grew since you last looked."""
    settings = settings_of(context)
    with GatewayApi(settings) as api:
        trust = LogTrust(settings, api)
        before, now = trust.advance()
    found: dict[str, Json] = {
        "log": str(trust.key),
        "size": now.size,
        "root": now.root.hex(),
        "before": None if before is None else before.size,
    }
    if as_json:
        show_json(found)
    else:
        show_pairs([("grew only", "first look" if before is None else True), *found.items()])


def _show_entries(context: click.Context, sought: dict[str, Json], *, as_json: bool) -> None:
    wanted = {name: value for name, value in sought.items() if value is not None}
    with logged_in(context) as api:
        found = object_list(api.get(f"/ca/log/entries?{urlencode(wanted)}"))
    if as_json:
        show_json(found)
        return
    shown = [one | {"key": one.get("public_key_fingerprint")} for one in found]
    show_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in shown])
