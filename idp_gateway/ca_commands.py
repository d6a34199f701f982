"""``python -m idp_gateway ca``: replace the keys of the certificate authorities, step by step."""

import json
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from idp_gateway.ca_check import check_command
from idp_gateway.ca_generations import SSH_HOST, SSH_TUNNEL, X509_ISSUING, user_ca_id
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.errors import Conflict, NotFound
from idp_gateway.known_hosts import PATH, known_hosts_lines
from idp_gateway.records import CaGenerationRecord
from idp_gateway.rotation import GivenUp, Standing, Step
from idp_gateway.settings import Settings
from idp_gateway.store.generations import USER_CA

LOOK_SECONDS = 1.0
"""How often a waiting rotation looks whether it can go on."""
MAX_WAIT_MINUTES = 7 * 24 * 60

_SHARED = (X509_ISSUING, SSH_TUNNEL, SSH_HOST)

_config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Settings file (TOML); MYSOCKET_* variables override it.",
)


@click.group("ca")
def ca_group() -> None:
    """Look after the keys of the certificate authorities."""


ca_group.add_command(check_command)


@ca_group.command("status")
@_config
@click.argument("ca", required=False)
def status_command(config: Path | None, ca: str | None) -> None:
    """Print the generations of a CA, or of all that no socket owns or that are being rotated."""
    with closing(build_gateway(Settings.load(config))) as gateway:
        if ca is not None:
            wanted = [_ca_id(gateway, ca)]
        else:
            wanted = sorted({*_SHARED, *gateway.store.unfinished_rotations()})
        _print([_described(gateway.rotation.standing(ca_id)) for ca_id in wanted])


@ca_group.command("rotate")
@_config
@click.argument("ca")
@click.option("--step", is_flag=True, help="Take one step only; the next call takes the next.")
@click.option("--no-wait", is_flag=True, help="Stop where the rotation would have to wait.")
@click.option(
    "--timeout",
    type=click.IntRange(0, MAX_WAIT_MINUTES),
    default=60,
    show_default=True,
    help="Most minutes to wait.",
)
@click.option(
    "--without-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Go on although this enrolled server does not trust the new key.",
)
@click.option(
    "--without-edge",
    "edges",
    multiple=True,
    metavar="ID",
    help="Go on although this edge does not trust the new key.",
)
@click.option(
    "--by-hand",
    is_flag=True,
    help="Vouch that whoever was set up by hand has the new key's line.",
)
@click.option(
    "--compromised",
    is_flag=True,
    help="The old key may be in other hands: end all it signed as soon as the new one signs.",
)
@click.option(
    "--new-root",
    is_flag=True,
    help="The root was moved away on purpose: make another, and x509-issuing below that.",
)
def rotate_command(
    config: Path | None, ca: str, *, step: bool, no_wait: bool, timeout: int, **given: Any
) -> None:
    """Replace the key of a CA: x509-issuing, ssh-tunnel, ssh-host, or a socket's name.

    Goes on with a rotation that was begun before. Progress is on standard error; what stands
    at the end is printed as JSON.
    """
    given_up = GivenUp(
        hosts=frozenset(given["hosts"]),
        edges=frozenset(given["edges"]),
        by_hand=given["by_hand"],
        compromised=given["compromised"],
        new_root=given["new_root"],
    )
    with closing(build_gateway(Settings.load(config))) as gateway:
        ca_id = _ca_id(gateway, ca)
        _check_given_up(gateway, ca_id, given_up)
        standing = gateway.rotation.standing(ca_id, given_up)
        if step or not standing.under_way:
            standing = _take(gateway, standing, given_up)
        if not step:
            ends = time.monotonic() + (0 if no_wait else timeout * 60)
            standing = _finish(gateway, standing, given_up, ends)
        _print(_described(standing))


@ca_group.command("rollback")
@_config
@click.argument("ca")
def rollback_command(config: Path | None, ca: str) -> None:
    """Undo the rotation of a CA that is under way; `rotate` then ends what is left of it."""
    with closing(build_gateway(Settings.load(config))) as gateway:
        _print(_described(gateway.rotation.rollback(_ca_id(gateway, ca))))


@ca_group.command("root-list")
@_config
def root_list_command(config: Path | None) -> None:
    """Make the root's list of withdrawn issuing CAs anew; to be run where root.key is."""
    with closing(build_gateway(Settings.load(config))) as gateway:
        if not gateway.authority.root_list.follow(anew=True):
            raise Conflict(
                "the list was not made: the root's key is not here, or does not sign",
                reason="root-out-of-reach",
            )
        click.echo("made: the root's list", err=True)


def _finish(gateway: Gateway, standing: Standing, given_up: GivenUp, ends: float) -> Standing:
    """Go on until the rotation is over, or must wait for longer than it may."""
    told = ""
    while standing.under_way:
        if standing.ready:
            standing = _take(gateway, standing, given_up)
            continue
        if standing.why != told:
            told = standing.why
            click.echo(f"to {standing.step}: {told}", err=True)
        if time.monotonic() >= ends:
            raise Conflict(
                f"stopped before the step {standing.step}: {told}; run the same again to go on",
                reason="rotation-waits",
            )
        time.sleep(LOOK_SECONDS)
        standing = gateway.rotation.standing(standing.ca_id, given_up)
    return standing


def _take(gateway: Gateway, standing: Standing, given_up: GivenUp) -> Standing:
    after = gateway.rotation.take(standing.ca_id, standing.step, given_up)
    click.echo(f"{_DONE[standing.step]}: {standing.ca_id}", err=True)
    if standing.step is Step.PUBLISH:
        _show_new_line(gateway, after)
    return after


def _show_new_line(gateway: Gateway, standing: Standing) -> None:
    """What belongs where somebody set trust up by hand."""
    if standing.ca_id.startswith(USER_CA):
        click.echo(f"the new line: {standing.generations[-1].public}", err=True)
    elif standing.ca_id == SSH_HOST:
        click.echo("known_hosts of every ssh client has to hold from now on:", err=True)
        for line in known_hosts_lines(gateway):
            click.echo(line, err=True)
        click.echo(f"clients get it from {gateway.settings.base_url}{PATH}", err=True)


_DONE = {
    Step.PREPARE: "prepared",
    Step.PUBLISH: "published",
    Step.ACTIVATE: "activated",
    Step.RETIRE: "retired",
}


def _ca_id(gateway: Gateway, ca: str) -> str:
    """The id of the CA an operator names: a shared one, or a socket's by its public name, its id,
    or the name its owner gave it.
    """
    if ca in _SHARED:
        return ca
    name = ca.removeprefix(USER_CA)
    socket = gateway.store.find_socket_by_dns_name(name.lower()) or gateway.store.find_socket(name)
    if socket is None:
        called = gateway.store.sockets_called(name) if name else ()
        if len(called) > 1:
            raise Conflict(
                f"more than one socket is called {ca[:100]!r}: "
                + ", ".join(one.dns_name for one in called[:5]),
                reason="ca-ambiguous",
            )
        socket = next(iter(called), None)
    if socket is None:
        raise NotFound(
            f"no CA {ca[:100]!r}; there are {', '.join(_SHARED)} and one for each socket's name",
            reason="ca-unknown",
        )
    return user_ca_id(socket.socket_id)


def _check_given_up(gateway: Gateway, ca_id: str, given_up: GivenUp) -> None:
    """Refuse names nobody has: a slip of the pen must not look like consent."""
    known = {edge.edge_id for edge in gateway.store.edges()}
    for unknown in sorted(given_up.edges - known):
        raise NotFound(f"there is no edge {unknown[:100]!r}", reason="edge-unknown")
    names = gateway.rotation.host_names(ca_id)
    for unknown in sorted(given_up.hosts - names):
        raise NotFound(f"there is no host {unknown[:100]!r} here", reason="host-unknown")


def _described(standing: Standing) -> dict[str, Any]:
    return {
        "ca": standing.ca_id,
        "under_way": standing.under_way,
        "next_step": standing.step.value,
        "ready": standing.ready,
        "awaited": [
            {"kind": one.kind.value, "name": one.name, "seen_at": _time(one.seen_at)}
            for one in standing.awaited
        ],
        "until": _time(standing.until),
        "generations": [_generation(record) for record in standing.generations],
    }


def _generation(record: CaGenerationRecord) -> dict[str, Any]:
    return {
        "generation": record.generation,
        "state": record.state.value,
        "key_id": record.key_id,
        "signer": record.signer,
        "public": record.public,
        "created_at": _time(record.created_at),
        "published_at": _time(record.published_at),
        "activated_at": _time(record.activated_at),
        "draining_until": _time(record.draining_until),
        "retired_at": _time(record.retired_at),
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _print(value: object) -> None:
    click.echo(json.dumps(value, indent=2))
