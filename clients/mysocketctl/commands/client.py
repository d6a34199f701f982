"""``mysocketctl client``: reaching a socket as a person."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from clients.mysocketctl.api import GatewayApi
from clients.mysocketctl.certificates import ClientIdentity
from clients.mysocketctl.commands.options import (
    HOST_NAME,
    PORT,
    leftover_of,
    login_way_options,
    settings_of,
)
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.key_proofs import OwnKey
from clients.mysocketctl.ssh_config import recipe
from clients.mysocketctl.ssh_keys import KeyChoice, SshIdentity
from clients.mysocketctl.tls_session import SocketDialer, run_listener, run_standard_streams
from clients.mysocketctl.tokens import read_claims

_Command = TypeVar("_Command", bound=Callable[..., Any])
_HOST = click.option("--host", required=True, type=HOST_NAME, help="Name of the socket.")


@click.group()
def client() -> None:
    """Reach a socket by who you are: TLS, SSH."""


@client.command()
@_HOST
@click.option("--port", type=PORT, help="Port of the socket; the gateway knows it.")
@click.option(
    "--listener",
    "--listen",
    "listener",
    type=click.IntRange(0, 65535),
    help="Listen on this local port; 0 picks one.",
)
@login_way_options
@click.pass_context
def tls(
    context: click.Context, host: str, port: int | None, listener: int | None, way: str | None
) -> None:
    """Connect standard input and output, or a local port, to a TLS socket."""
    settings = settings_of(context)
    dial = SocketDialer(settings, ClientIdentity(settings, host, way=way), port)
    if listener is None:
        run_standard_streams(dial, leftover_of(context))
    else:
        run_listener(dial, listener, lambda line: click.echo(line, err=True))


def _key_options(command: _Command) -> _Command:
    """Which key gets the certificate, and where the key is kept."""
    options = [
        click.option(
            "--identity",
            "own",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Certify this key of yours: a key file, a security key's, or the .pub of an "
            "agent's key.",
        ),
        click.option("--agent-only", is_flag=True, help="Keep the key off the disk."),
        click.option(
            "--confirm", is_flag=True, help="Have the agent ask before each use; off the disk too."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _key_choice(own: Path | None, *, agent_only: bool, confirm: bool) -> KeyChoice:
    if own is not None and (agent_only or confirm):
        raise InvalidInput("--identity leaves your key where it is; take it or the agent's options")
    return KeyChoice(own=own, agent_only=agent_only, confirm=confirm)


@client.command("ssh-keysign")
@_HOST
@_key_options
@click.option("--fresh", is_flag=True, help="Ask for a new one although the kept one is good.")
@login_way_options
@click.pass_context
def ssh_keysign(
    context: click.Context,
    host: str,
    way: str | None,
    own: Path | None,
    *,
    agent_only: bool,
    confirm: bool,
    fresh: bool,
) -> None:
    """Get an SSH certificate for a socket, on disk and in the running agent."""
    choice = _key_choice(own, agent_only=agent_only, confirm=confirm)
    identity = SshIdentity(ClientIdentity(settings_of(context), host, way=way), choice)
    ends = identity.sign(fresh=fresh)
    left = max(0, int(ends - time.time()))
    click.echo(
        f"SSH certificate for {host}: {identity.certificate_path}, good for {left} s", err=True
    )


@client.command("ssh-config")
@click.option("--host", required=True, help="Name of the socket, or *.domain with --modern.")
@click.option("--modern", is_flag=True, help="One block that works for everything ssh does.")
@_key_options
@click.pass_context
def ssh_config(
    context: click.Context,
    host: str,
    own: Path | None,
    *,
    modern: bool,
    agent_only: bool,
    confirm: bool,
) -> None:
    """Print what belongs into ~/.ssh/config for a socket."""
    choice = _key_choice(own, agent_only=agent_only, confirm=confirm)
    if own is not None:
        OwnKey(own)  # what cannot be certified does not belong into a configuration
    click.echo(recipe(settings_of(context), host, choice, modern=modern), nl=False)


@client.command()
@_HOST
@login_way_options
@click.pass_context
def login(context: click.Context, host: str, way: str | None) -> None:
    """Log in for a socket and keep the token."""
    settings = settings_of(context)
    with GatewayApi(settings) as api:
        token = ClientIdentity(settings, host, way=way).log_in(api)
    email = read_claims(token).email
    click.echo(f"Logged in to {host}" + (f" as {email}" if email else ""))


@client.command()
@_HOST
@click.pass_context
def logout(context: click.Context, host: str) -> None:
    """Forget token and certificates for a socket."""
    identity = ClientIdentity(settings_of(context), host)
    forgotten = SshIdentity(identity).forget()
    there = identity.log_out() or forgotten
    click.echo(f"Logged out of {host}." if there else f"You were not logged in to {host}.")
