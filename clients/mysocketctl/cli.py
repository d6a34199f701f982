"""The command line: groups are imported when they are called, errors are one line each."""

import importlib
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence

import click

from clients.mysocketctl.errors import ClientError, GatewayRefused
from clients.mysocketctl.names import printable
from clients.mysocketctl.quick import Leftover
from clients.mysocketctl.settings import read_settings

COMMANDS: Mapping[str, tuple[str, str]] = {
    "access": ("access", "Ask to be let in, and answer who asks."),
    "account": ("account", "Create an account, or show yours."),
    "audit": ("audit", "See who was let in where, and why not."),
    "ca": ("ca", "Certificates: why issued, on record, revoked."),
    "client": ("client", "Reach a socket by who you are: TLS, SSH."),
    "connect": ("connect", "Publish a local port: socket and tunnel in one."),
    "guest": ("guest", "Let one address in for a while, by a link."),
    "host": ("host", "Enrol this server's sshd and keep it up to date."),
    "login": ("login", "Log in and keep the token."),
    "logout": ("login", "Forget the kept token."),
    "policy": ("policy", "Say who may reach your sockets, and try it out."),
    "prefix-list": ("prefix_list", "Keep named lists of networks for policies."),
    "socket": ("socket", "Create and change sockets."),
    "ssh-lint": ("ssh_lint", "Say what is wrong with an SSH certificate."),
    "tunnel": ("tunnel", "Create tunnels and connect them."),
    "version": ("version", "Show the version."),
}
INTERNAL_ERROR = 70
"""EX_SOFTWARE of sysexits.h: a fault of ours."""


class LazyGroup(click.Group):
    """Knows its commands by name and one line; imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"clients.mysocketctl.commands.{COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101 - our own table
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@click.group(cls=LazyGroup, name="mysocketctl")
@click.option("--api", "api_url", metavar="URL", help="Gateway; else MYSOCKET_API.")
@click.option(
    "--ca-file", metavar="FILE", help="Further roots to trust, PEM; else MYSOCKET_CA_FILE."
)
@click.option(
    "--require-log-proof",
    is_flag=True,
    help="Take no certificate without proof that it is logged; else MYSOCKET_REQUIRE_LOG_PROOF.",
)
@click.pass_context
def root(
    context: click.Context, *, api_url: str | None, ca_file: str | None, require_log_proof: bool
) -> None:
    """Reach private services by identity, and publish your own."""
    settings = read_settings(
        os.environ, api_url=api_url, ca_file=ca_file, require_log_proof=require_log_proof
    )
    context.obj = (settings, context.obj or Leftover())


def run(arguments: Sequence[str], *, leftover: Leftover | None = None) -> int:
    """Run one command line; its exit code. Every failure is one line on standard error."""
    try:
        return _invoke(arguments, leftover or Leftover())
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except ClientError as error:
        _debug_trace()
        for line in error.details:
            click.echo(printable(line, 1000), err=True)
        return _fail(f"{error}{_word(error)}", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:  # noqa: BLE001 - a person must never see a traceback unasked
        _debug_trace()
        what = printable(f"{type(error).__name__}: {error}")
        return _fail(f"internal error, {what} (MYSOCKET_DEBUG=TRUE shows more)", INTERNAL_ERROR)


def _invoke(arguments: Sequence[str], leftover: Leftover) -> int:
    outcome = root.main(
        list(arguments), prog_name="mysocketctl", standalone_mode=False, obj=leftover
    )
    sys.stdout.flush()
    return outcome if isinstance(outcome, int) else 0


def _fail(message: str, code: int) -> int:
    if message:
        click.echo(f"mysocketctl: {printable(message, 1000)}", err=True)
    return code


def _word(error: ClientError) -> str:
    """The gateway's own stable word, to search for; nothing if it gave none or already says it."""
    word = error.reason
    ours = not isinstance(error, GatewayRefused) or word == type(error).reason
    if ours or word in str(error) or not re.fullmatch(r"[a-z0-9_-]{1,40}", word, re.ASCII):
        return ""
    return f" ({word})"


def _debug_trace() -> None:
    if os.environ.get("MYSOCKET_DEBUG") == "TRUE":
        traceback.print_exc()
