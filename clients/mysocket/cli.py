"""``mysocket``: up, down, status, and the parts alone."""

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from clients.mysocket.configuration import (
    Part,
    edge_part,
    gateway_part,
    read_stack,
    variables,
)
from clients.mysocket.errors import StackError
from clients.mysocket.instance import find, stop, wait_ready
from clients.mysocket.layout import Layout
from clients.mysocketctl.errors import ClientError
from clients.mysocketctl.names import parse_host_name, printable

NOT_RUNNING = 3
"""Exit code of ``status`` when nothing runs (LSB init scripts)."""
_DETACH_SECONDS = 200.0
_Command = TypeVar("_Command", bound=Callable[..., Any])


class PortRange(click.ParamType[Any]):
    """``FIRST-LAST``."""

    name = "first-last"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", str(value), re.ASCII)
        if found is None or not 1 <= int(found[1]) <= int(found[2]) <= 65535:
            self.fail(
                f"not a range of ports like 20000-29999: {printable(str(value))!r}", param, ctx
            )
        return [int(found[1]), int(found[2])]


class DomainType(click.ParamType[Any]):
    """A host name of two labels at least."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            name = parse_host_name(str(value))
        except ClientError as error:
            self.fail(str(error), param, ctx)
        if "." not in name:
            self.fail(f"not a full name: {printable(str(value))!r}", param, ctx)
        return name


class IpAddressType(click.ParamType[Any]):
    """An address of this machine, as digits."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(ip_address(str(value)))
        except ValueError:
            self.fail(f"not an IP address: {printable(str(value))!r}", param, ctx)


def _state_option(command: _Command) -> _Command:
    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(".mysocket"),
        show_default=True,
        help="Directory that holds everything.",
        callback=lambda _context, _parameter, value: Layout(value.absolute()),
    )(command)


_PORT = click.IntRange(1, 65535)


@click.group(name="mysocket")
def root() -> None:
    """Run the product: everything on one machine, or a part alone."""


@root.command()
@_state_option
@click.option(
    "--gateway-name",
    "gateway_names",
    multiple=True,
    type=DomainType(),
    help="Name of the gateway; the first is canonical.  [default: gateway.localhost]",
)
@click.option(
    "--edge-domain", type=DomainType(), help="Domain of the sockets.  [default: edge.localhost]"
)
@click.option("--https-port", type=_PORT, help="Pages and HTTP sockets.  [default: 8443]")
@click.option("--http-port", type=_PORT, help="Redirects to HTTPS.  [default: 8080]")
@click.option("--tunnel-port", type=_PORT, help="Tunnel server (SSH).  [default: 2222]")
@click.option(
    "--port-range", type=PortRange(), help="Ports for TCP and TLS sockets.  [default: 20000-29999]"
)
@click.option(
    "--listen-address",
    type=IpAddressType(),
    help="IP address of all these ports.  [default: 127.0.0.1]",
)
@click.option("--detach", is_flag=True, help="Return when ready and run on in the background.")
def up(state: Layout, *, detach: bool, **options: Any) -> None:
    """Run everything on this machine; options are kept for the next time."""
    # Imported here: `down` and `status` work without what `up` needs.
    from clients.mysocket import up as starting  # noqa: PLC0415

    _need_server_parts()
    if detach:
        words = [word for word in sys.argv[1:] if word != "--detach"]
        command = [sys.executable, "-m", "clients.mysocket", *words]
        _refuse_second(state)
        click.echo(
            starting.detach(command, state, lambda pid: wait_ready(state, pid, _DETACH_SECONDS))
        )
        return
    given = {name: list(v) if isinstance(v, tuple) else v for name, v in options.items()}
    given["gateway_names"] = given["gateway_names"] or None
    starting.up(state, given, _say)


@root.command()
@_state_option
def down(state: Layout) -> None:
    """Stop what `up` runs."""
    running = find(state)
    if running is None:
        click.echo(f"Nothing runs on {state.state}")
        return
    stop(running)
    click.echo("Stopped.")


@root.command()
@_state_option
@click.pass_context
def status(context: click.Context, state: Layout) -> None:
    """Say whether `up` runs, and where."""
    running = find(state)
    if running is None:
        click.echo(f"Nothing runs on {state.state}")
        context.exit(NOT_RUNNING)
    stack = read_stack(state)
    click.echo(f"{'Ready' if running.ready else 'Starting'}, pid {running.pid}: {stack.base_url}")


@root.command()
@_state_option
def gateway(state: Layout) -> None:
    """Run the gateway alone."""
    _need_server_parts()
    _become(state, gateway_part(state), "idp_gateway", "serve")


@root.command()
@_state_option
def edge(state: Layout) -> None:
    """Run one edge alone."""
    _need_server_parts()
    _become(state, edge_part(state), "proxy", "serve")


@root.group()
def account() -> None:
    """Look after local accounts."""


@account.command()
@_state_option
@click.argument("email")
@click.option("--name", default="", help="Shown to origins.")
def add(state: Layout, email: str, name: str) -> None:
    """Add an account with a verified address; prints its random password."""
    _account(state, "add", email, *(("--name", name) if name else ()))


@account.command()
@_state_option
@click.argument("email")
def verify(state: Layout, email: str) -> None:
    """Vouch for the address of an account."""
    _account(state, "verify", email)


@account.command("list")
@_state_option
def list_accounts(state: Layout) -> None:
    """List all accounts."""
    _account(state, "list")


@root.group()
def ca() -> None:
    """Look after the keys of the certificate authorities."""


@ca.command("status")
@_state_option
@click.argument("ca", required=False)
def ca_status(state: Layout, ca: str | None) -> None:
    """Print the generations of a CA, or of all that are shared or being rotated."""
    _ca(state, "status", *(() if ca is None else ("--", ca)))


@ca.command("check")
@_state_option
def ca_check(state: Layout) -> None:
    """Let every key that signs now sign something, and make one of each kind for a moment."""
    _ca(state, "check")


@ca.command("rotate")
@_state_option
@click.argument("ca")
@click.option("--step", is_flag=True, help="Take one step only; the next call takes the next.")
@click.option("--no-wait", is_flag=True, help="Stop where the rotation would have to wait.")
@click.option("--timeout", type=click.IntRange(0, 10080), help="Most minutes to wait.")
@click.option(
    "--without-host", "hosts", multiple=True, metavar="NAME", help="Go on without this server."
)
@click.option(
    "--without-edge", "edges", multiple=True, metavar="ID", help="Go on without this edge."
)
@click.option("--by-hand", is_flag=True, help="Vouch for whoever was set up by hand.")
@click.option("--compromised", is_flag=True, help="End at once what the old key signed.")
@click.option("--new-root", is_flag=True, help="The root was moved away on purpose: make another.")
def ca_rotate(state: Layout, ca: str, **options: Any) -> None:
    """Replace the key of x509-issuing, ssh-tunnel, ssh-host, or of a socket, given by its name."""
    words = [
        f"--{name.replace('_', '-')}"
        for name in ("step", "no_wait", "by_hand", "compromised", "new_root")
        if options[name]
    ]
    if options["timeout"] is not None:
        words += ["--timeout", str(options["timeout"])]
    words += [f"--without-host={name}" for name in options["hosts"]]
    words += [f"--without-edge={name}" for name in options["edges"]]
    _ca(state, "rotate", *words, "--", ca)


@ca.command("rollback")
@_state_option
@click.argument("ca")
def ca_rollback(state: Layout, ca: str) -> None:
    """Undo the rotation of a CA that is under way."""
    _ca(state, "rollback", "--", ca)


@ca.command("root-list")
@_state_option
def ca_root_list(state: Layout) -> None:
    """Make the root's list of withdrawn issuing CAs anew; to be run where root.key is."""
    _ca(state, "root-list")


def _ca(state: Layout, action: str, *arguments: str) -> NoReturn:
    _need_server_parts()
    _become(state, gateway_part(state), "idp_gateway", "ca", action, arguments=arguments)


def _account(state: Layout, action: str, *arguments: str) -> NoReturn:
    _need_server_parts()
    _become(state, gateway_part(state), "idp_gateway", "account", action, arguments=arguments)


def _become(state: Layout, part: Part, *words: str, arguments: Sequence[str] = ()) -> NoReturn:
    """Go on as a part of the product that works on this state directory and on no other."""
    if not part.config.exists():
        raise StackError("no-configuration", f"there is no {part.config}; mysocket up writes one")
    environment = dict(os.environ) | variables(state, part)
    command = [sys.executable, "-m", *words, "--config", str(part.config), *arguments]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment)  # noqa: S606 - fixed words


def _need_server_parts() -> None:
    for module in ("fastapi", "grpc", "sqlmodel"):
        if importlib.util.find_spec(module) is None:
            raise StackError(
                "not-installed", "the server is not installed; install mysocket[server]"
            )


def _refuse_second(state: Layout) -> None:
    running = find(state)
    if running is not None:
        raise StackError("already-running", f"already running on {state.state} (pid {running.pid})")


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. Every failure is one line on standard error."""
    try:
        outcome = root.main(list(arguments), prog_name="mysocket", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except (StackError, ClientError) as error:
        return _fail(str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        if os.environ.get("MYSOCKET_DEBUG") == "TRUE":
            raise
        what = printable(f"{type(error).__name__}: {error}")
        return _fail(f"internal error, {what} (MYSOCKET_DEBUG=TRUE shows more)", 70)
    return outcome if isinstance(outcome, int) else 0


def _fail(message: str, code: int) -> int:
    click.echo(f"mysocket: {printable(message, 1000)}", err=True)
    return code
