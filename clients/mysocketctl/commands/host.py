"""``mysocketctl host``: this server's sshd trusts a socket's people, and proves itself to them."""

import shlex
import socket as sockets
from pathlib import Path

import click

from clients.mysocketctl.api import GatewayApi, object_list, segment
from clients.mysocketctl.commands.options import (
    HOST_NAME,
    IDENTIFIER,
    json_option,
    logged_in,
    settings_of,
)
from clients.mysocketctl.errors import HostOutOfDate
from clients.mysocketctl.host_files import DEFAULT_DIRECTORY, HostDirectory, HostState, install
from clients.mysocketctl.host_status import standing
from clients.mysocketctl.host_surroundings import keep_roots, readable_roots, rivals
from clients.mysocketctl.host_sync import (
    EVERYBODY,
    enrol,
    load_host_key,
    sshd_directives,
    sync,
)
from clients.mysocketctl.settings import Settings
from clients.mysocketctl.tables import show_json, show_pairs, show_table

_STALE_SECONDS = 900
_COLUMNS = ["host_id", "name", "fingerprint", "not_after", "seen_at", "synced_number"]

_DIRECTORY = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Where the files for sshd are kept.",
)
_SOCKET = click.option(
    "--socket", "socket_id", required=True, type=IDENTIFIER, help="As in socket ls."
)


class LoginType(click.ParamType[str]):
    """A login name, which becomes a file name."""

    name = "login"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value)
        allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        if not 1 <= len(text) <= 64 or text[0] in ".-" or not allowed.issuperset(text):
            self.fail("not a login name", param, ctx)
        return text


@click.group()
def host() -> None:
    """Enrol this server's sshd and keep it up to date."""


@host.command("enrol")
@_SOCKET
@_DIRECTORY
@click.option("--name", help="What to call this server; else its host name.")
@click.option(
    "--principal",
    "principals",
    multiple=True,
    type=HOST_NAME,
    help="Further name below the socket's own; may be repeated. Else the socket's own.",
)
@click.option(
    "--host-key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Private host key; else the first of sshd's own.",
)
@click.option(
    "--login",
    "logins",
    multiple=True,
    type=LoginType(),
    help="Login that everybody the socket admits may use; may be repeated.",
)
@click.pass_context
def enrol_here(
    context: click.Context,
    *,
    socket_id: str,
    directory: Path,
    name: str | None,
    principals: tuple[str, ...],
    host_key: Path | None,
    logins: tuple[str, ...],
) -> None:
    """Enrol this server behind one of your sockets."""
    settings = settings_of(context)
    files = HostDirectory(directory.absolute())
    directives = sshd_directives(files)
    key = load_host_key(host_key)
    with logged_in(context) as api:
        state = enrol(
            api,
            files,
            settings=settings,
            socket_id=socket_id,
            name=name or sockets.gethostname() or "host",
            principals=principals,
            host_key=key,
        )
    state = keep_roots(files, state)
    for login in logins:
        install(files.principals / login, f"{EVERYBODY}\n")
    with _gateway_of(settings, state) as api:
        sync(api, files, settings=settings)
    install(files.sshd_config, directives)
    _say_what_is_next(files, state)


@host.command("sync")
@_DIRECTORY
@click.option(
    "--on-renewal",
    metavar="COMMAND",
    help="Run this until it succeeds after a new host certificate came: systemctl reload ssh",
)
@click.pass_context
def sync_here(context: click.Context, directory: Path, on_renewal: str | None) -> None:
    """Fetch, check and install what this server's sshd goes by; the last good files stay."""
    files = HostDirectory(directory.absolute())
    settings = settings_of(context)
    with _gateway_of(settings, files.read_state()) as api:
        done = sync(api, files, settings=settings, on_renewal=on_renewal)
    renewed = ", a new host certificate" if done.renewed else ""
    click.echo(f"Bundle {done.bundle.number} of {done.state.dns_name} is installed{renewed}.")
    if done.bundle.enrol_again:
        raise HostOutOfDate("the host certificate cannot be renewed; run: mysocketctl host enrol")


@host.command()
@_DIRECTORY
@click.option(
    "--max-age",
    type=click.IntRange(1, 31_536_000),
    default=_STALE_SECONDS,
    show_default=True,
    help="Seconds since the last news after which they are too old.",
)
@json_option
@click.pass_context
def status(context: click.Context, directory: Path, max_age: int, *, as_json: bool) -> None:  # noqa: ARG001
    """Show what this server's sshd goes by; exit code 1 if it is out of date."""
    files = HostDirectory(directory.absolute())
    state = files.read_state()
    facts, wrong = standing(files, state, max_age=max_age)
    show_json(facts) if as_json else show_pairs(facts.items())
    if wrong:
        raise HostOutOfDate(wrong)


@host.command()
@_SOCKET
@json_option
@click.pass_context
def ls(context: click.Context, socket_id: str, *, as_json: bool) -> None:
    """List the servers enrolled for one of your sockets."""
    with logged_in(context) as api:
        found = object_list(api.get(f"/socket/{segment(socket_id)}/host"))
    if as_json:
        show_json(found)
    else:
        show_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in found])


@host.command()
@_SOCKET
@click.option("--host-id", required=True, type=IDENTIFIER, help="As in host ls.")
@click.pass_context
def remove(context: click.Context, socket_id: str, host_id: str) -> None:
    """Forget a server and revoke its host certificates."""
    with logged_in(context) as api:
        api.delete(f"/socket/{segment(socket_id)}/host/{segment(host_id)}")
    click.echo(f"Host {host_id} removed")


def _gateway_of(settings: Settings, state: HostState) -> GatewayApi:
    """The gateway the host was enrolled at, whatever this shell's settings say."""
    ca_file = settings.ca_file or readable_roots(state)
    return GatewayApi(settings._replace(api_url=state.gateway, ca_file=ca_file))


def _say_what_is_next(files: HostDirectory, state: HostState) -> None:
    click.echo(f"This server is enrolled for {state.dns_name} as host {state.host_id}.")
    click.echo("For sshd, once:")
    click.echo(
        f"  ln -s {shlex.quote(str(files.sshd_config))} /etc/ssh/sshd_config.d/10-mysocket.conf"
    )
    click.echo("  systemctl reload ssh")
    for rival in rivals(files):
        click.echo(
            f"mysocketctl: {rival} names CAs or lists too: an sshd takes the first it reads, "
            "so each socket needs an sshd of its own",
            err=True,
        )
    click.echo(f"For clients' known_hosts, from {files.known_hosts}:")
    click.echo(files.known_hosts.read_text("ascii"), nl=False)
