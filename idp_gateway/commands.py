"""``python -m idp_gateway``: run the gateway, set a machine up, look after accounts.

Web framework and routes are loaded by the two commands that need them: that takes longer than all
that the others do.
"""

import json
import logging
import os
import secrets
import sys
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from ca.errors import CaError
from idp_gateway.accounts import hash_password, register
from idp_gateway.bootstrap import DEFAULT_EMAIL, bootstrap
from idp_gateway.ca_commands import ca_group
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.errors import GatewayError, InvalidInput, NotFound
from idp_gateway.records import AccountRecord
from idp_gateway.schemas.text import Name
from idp_gateway.settings import Settings
from policy.addresses import EmailAddress
from policy.errors import PolicyError

_config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Settings file (TOML); MYSOCKET_* variables override it.",
)


@click.group()
def cli() -> None:
    """The identity gateway of mysocket."""


@cli.command("serve")
@_config
def serve_command(config: Path | None) -> None:
    """Run the gateway until it is told to stop."""
    from idp_gateway.server import serve  # noqa: PLC0415 - see above

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # One line for every migration that is already there helps nobody.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    serve(_gateway(config))


@cli.command("bootstrap")
@_config
@click.option("--email", default=DEFAULT_EMAIL, show_default=True, help="Of the first account.")
def bootstrap_command(config: Path | None, email: str) -> None:
    """Make keys, database, a first account and a demonstration socket; print them as JSON."""
    _print_json(bootstrap(_gateway(config), email))


@cli.command("openapi")
def openapi_command() -> None:
    """Print the API's OpenAPI document."""
    from idp_gateway.app import application  # noqa: PLC0415 - see above
    from idp_gateway.documentation import describe  # noqa: PLC0415

    _print_json(describe(application()))


cli.add_command(ca_group)


@cli.group("account")
def account_group() -> None:
    """Look after local accounts."""


@account_group.command("add")
@_config
@click.argument("email")
@click.option("--name", default="", help="Shown to origins; the address if empty.")
def account_add(config: Path | None, email: str, name: str) -> None:
    """Add an account whose address is vouched for; prints its random password."""
    gateway = _gateway(config)
    address = str(EmailAddress.parse(email))
    shown_name = _shown_name(name) if name else address
    squatted = gateway.store.find_account_by_email(address)
    if squatted is not None and not squatted.email_verified:
        _hand_over(gateway, squatted, shown_name)
        return
    password = secrets.token_urlsafe(15)
    account = register(
        gateway.store,
        name=shown_name,
        email=address,
        password=password,
        email_verified=True,
        now=gateway.clock(),
    )
    _print_json({**_described(account), "password": password})


def _shown_name(text: str) -> str:
    """The name, as the API would take it."""
    try:
        return TypeAdapter[str](Name).validate_python(text)
    except ValidationError as error:
        raise InvalidInput(f"name: {error.errors()[0]['msg']}", field="name") from error


@account_group.command("verify")
@_config
@click.argument("email")
def account_verify(config: Path | None, email: str) -> None:
    """Vouch for an account's address, so that it counts in policies; prints its new password.

    Anybody may have registered the address: password, tunnel key and logins of before end here.
    Give the new password to the address's owner. The same command resets a forgotten one.
    """
    gateway = _gateway(config)
    address = str(EmailAddress.parse(email))
    account = gateway.store.find_account_by_email(address)
    if account is None:
        raise NotFound(f"no account has the address {address}")
    _hand_over(gateway, account, None)


@account_group.command("list")
@_config
def account_list(config: Path | None) -> None:
    """Print every account."""
    _print_json([_described(account) for account in _gateway(config).store.accounts()])


def _hand_over(gateway: Gateway, account: AccountRecord, name: str | None) -> None:
    password = secrets.token_urlsafe(15)
    owned = gateway.store.hand_over_account(
        account.account_id,
        password_hash=hash_password(password),
        name=name,
        issuer=gateway.settings.base_url,
        now=gateway.clock(),
    )
    _print_json({**_described(owned), "password": password})


def _gateway(config: Path | None) -> Gateway:
    return build_gateway(Settings.load(config))


def _described(account: AccountRecord) -> dict[str, object]:
    return {
        "account_id": account.account_id,
        "email": account.email,
        "email_verified": account.email_verified,
        "name": account.name,
        "user_name": account.user_name,
        "created_at": account.created_at.isoformat(),
    }


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def main() -> None:
    """Run the command line; what goes wrong on purpose is one line, not a traceback."""
    os.umask(0o077)  # the database holds hashes and passwords: nobody else's to read
    try:
        cli()
    except (GatewayError, PolicyError, CaError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
