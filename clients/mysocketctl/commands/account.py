"""``mysocketctl account``."""

from typing import cast

import click

from clients.mysocketctl.api import GatewayApi, Json, segment
from clients.mysocketctl.commands.options import json_option, logged_in, settings_of
from clients.mysocketctl.tables import show_json, show_pairs
from clients.mysocketctl.tokens import read_claims


@click.group()
def account() -> None:
    """Create an account, or show yours."""


@account.command()
@click.option("--name", required=True, help="Your name.")
@click.option("--email", required=True, help="Your email address.")
@click.password_option("--password", envvar="MYSOCKET_PASSWORD", help="Your password; asked for.")
@click.option("--sshkey", default="", help="Your public SSH key, for tunnels by plain ssh.")
@click.pass_context
def create(context: click.Context, name: str, email: str, password: str, sshkey: str) -> None:
    """Create an account on the gateway."""
    body = {"name": name, "email": email, "password": password, "sshkey": sshkey.strip()}
    with GatewayApi(settings_of(context)) as api:
        created = cast("Json", api.post("/user", body))
    click.echo(f"Account {email} created. Now: mysocketctl login --email {email}")
    if isinstance(created, dict) and created.get("email_verified") is False:
        click.echo(
            "Its email address is unverified: it opens no sockets until an operator vouches."
        )


@account.command()
@json_option
@click.pass_context
def show(context: click.Context, *, as_json: bool) -> None:
    """Show your account."""
    with logged_in(context) as api:
        user_id = read_claims(api.api_token or "").user_id
        found = api.get(f"/user/{segment(user_id)}")
    if as_json:
        show_json(found)
        return
    names = ["name", "email", "email_verified", "user_id", "user_name", "sshkey"]
    show_pairs([(name, found.get(name)) for name in names if name in found])
