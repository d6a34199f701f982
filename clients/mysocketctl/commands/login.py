"""``mysocketctl login`` and ``logout``."""

import click

from clients.mysocketctl.api import GatewayApi, text_field
from clients.mysocketctl.commands.options import login_way_options, settings_of
from clients.mysocketctl.errors import GatewayRefused, LoginFailed
from clients.mysocketctl.files import HomeFiles, remove, write_private
from clients.mysocketctl.oauth import LoginRequest, log_in
from clients.mysocketctl.tokens import read_claims


@click.command()
@click.option("--email", help="Your email address.")
@click.option("--password", envvar="MYSOCKET_PASSWORD", help="Your password; asked for.")
@login_way_options
@click.pass_context
def login(context: click.Context, email: str | None, password: str | None, way: str | None) -> None:
    """Log in and keep the token; with a password, or with --browser or --device."""
    settings = settings_of(context)
    with GatewayApi(settings) as api:
        if way is not None:
            token = log_in(api, LoginRequest(resource=None, way=way))
        else:
            email = email or click.prompt("Email")
            password = password or click.prompt("Password", hide_input=True)
            token = password_login(api, str(email), str(password))
    read_claims(token)
    write_private(HomeFiles(settings.home).api_token, token + "\n")
    click.echo(f"Logged in. Token kept in {HomeFiles(settings.home).api_token}")


def password_login(api: GatewayApi, email: str, password: str) -> str:
    """An API token for a local account. Raises LoginFailed."""
    try:
        return text_field(api.post("/login", {"email": email, "password": password}), "token")
    except GatewayRefused as refusal:
        if refusal.status == 401:
            raise LoginFailed("login failed: wrong email address or password") from refusal
        raise


@click.command()
@click.pass_context
def logout(context: click.Context) -> None:
    """Forget the kept token."""
    there = remove(HomeFiles(settings_of(context).home).api_token)
    click.echo("Logged out." if there else "You were not logged in.")
