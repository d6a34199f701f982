"""Options that several commands share, and types that check what is typed."""

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, TypeVar, cast

import click

from clients.mysocketctl.api import GatewayApi, Json
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.files import HomeFiles
from clients.mysocketctl.names import parse_host_name, printable
from clients.mysocketctl.quick import Leftover
from clients.mysocketctl.settings import Settings
from clients.mysocketctl.tokens import kept_api_token

_Command = TypeVar("_Command", bound=Callable[..., Any])
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class HostNameType(click.ParamType[Any]):
    name = "host"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return parse_host_name(str(value))
        except InvalidInput as error:
            self.fail(str(error), param, ctx)


class IdentifierType(click.ParamType[Any]):
    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _IDENTIFIER.fullmatch(str(value)):
            self.fail(f"not an id: {printable(str(value))!r}", param, ctx)
        return str(value)


class WordListType(click.ParamType[Any]):
    """Comma-separated words; the gateway judges what they mean."""

    name = "list"

    def __init__(self, *, must_hold_at: bool) -> None:
        self._must_hold_at = must_hold_at

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        if isinstance(value, list):
            return value
        words = [word.strip() for word in str(value).split(",") if word.strip()]
        for word in words:
            if (
                not word.isprintable()
                or " " in word
                or (word.count("@") == 1) != self._must_hold_at
            ):
                kind = "an email address" if self._must_hold_at else "a domain"
                self.fail(f"not {kind}: {printable(word)!r}", param, ctx)
        return words


class NetworkListType(click.ParamType[Any]):
    """Comma-separated networks and single addresses."""

    name = "list"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        if isinstance(value, list):
            return value
        words = [word.strip() for word in str(value).split(",") if word.strip()]
        for word in words:
            try:
                ip_network(word)
            except ValueError as error:
                self.fail(printable(str(error), 200), param, ctx)
        return words


HOST_NAME = HostNameType()
IDENTIFIER = IdentifierType()
PORT = click.IntRange(1, 65535)
SOCKET_TYPE = click.Choice(["http", "https", "tcp", "tls"], case_sensitive=False)
ENGINE = click.Choice(["auto", "system", "asyncssh"])


def settings_of(context: click.Context) -> Settings:
    return cast("tuple[Settings, Leftover]", context.obj)[0]


def leftover_of(context: click.Context) -> Leftover:
    return cast("tuple[Settings, Leftover]", context.obj)[1]


def logged_in(context: click.Context) -> GatewayApi:
    """The API with the kept token. Raises NotLoggedIn."""
    settings = settings_of(context)
    return GatewayApi(settings, api_token=kept_api_token(HomeFiles(settings.home)))


def json_option(command: _Command) -> _Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def say_if_not_in_force(api: GatewayApi) -> None:
    """After a change: warn if the edges may still go by what was before."""
    if not api.in_force:
        click.echo(
            "mysocketctl: warning: an edge has not confirmed this change yet; it may still serve "
            "what was before",
            err=True,
        )


def login_way_options(command: _Command) -> _Command:
    """``--browser`` and ``--device``; without either the machine decides."""
    for way in ("device", "browser"):
        command = click.option(
            f"--{way}", "way", flag_value=way, default=None, help=f"Log in with a {way}."
        )(command)
    return command


def socket_options(command: _Command) -> _Command:
    """What a socket is made of, spelled as in the original."""
    options = [
        click.option("--name", help="Name of the service."),
        click.option("--protected/--not-protected", default=None, help="Ask for one password."),
        click.option("--username", help="User name of a protected socket."),
        click.option("--password", help="Password of a protected socket."),
        click.option(
            "--cloudauth/--no-cloudauth", default=None, help="Let in only people who log in."
        ),
        click.option(
            "--allowed_email_addresses",
            "--allowed-email-addresses",
            type=WordListType(must_hold_at=True),
            help="Comma-separated addresses to let in.",
        ),
        click.option(
            "--allowed_email_domains",
            "--allowed-email-domains",
            type=WordListType(must_hold_at=False),
            help="Comma-separated email domains to let in.",
        ),
        click.option(
            "--ssh-key-proof/--no-ssh-key-proof",
            default=None,
            help="Certify an SSH key only for who proves to have it.",
        ),
        click.option(
            "--ssh-source-addresses",
            type=NetworkListType(),
            help="Comma-separated networks that sshd sees people come from: the tunnel's own end; "
            "loopback if not said.",
        ),
        click.option(
            "--upstream_http_hostname",
            "--upstream-http-hostname",
            help="Host header for the origin, if not the socket's name.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


_SOCKET_FIELDS = {
    "name": "name",
    "protected": "protected_socket",
    "username": "protected_username",
    "password": "protected_password",
    "cloudauth": "cloud_authentication_enabled",
    "allowed_email_addresses": "cloud_authentication_email_allowed_addressses",
    "allowed_email_domains": "cloud_authentication_email_allowed_domains",
    "ssh_key_proof": "ssh_key_proof_required",
    "ssh_source_addresses": "ssh_source_addresses",
    "upstream_http_hostname": "upstream_http_hostname",
    "type": "socket_type",
}


def socket_fields(given: dict[str, Any]) -> dict[str, Json]:
    """The API's fields for the options that were given. Raises InvalidInput."""
    fields = {_SOCKET_FIELDS[name]: value for name, value in given.items() if value is not None}
    if given.get("protected") and not (given.get("username") and given.get("password")):
        raise InvalidInput("--protected needs --username and --password")
    rules = given.get("allowed_email_addresses") or given.get("allowed_email_domains")
    if rules and given.get("cloudauth") is False:
        raise InvalidInput("--no-cloudauth lets everybody in; leave the allowed lists out")
    if rules and given.get("cloudauth") is None:
        fields["cloud_authentication_enabled"] = True
    return fields
