"""``mysocketctl version``."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import click


@click.command()
def version() -> None:
    """Show the version."""
    try:
        click.echo(installed_version("mysocket"))
    except PackageNotFoundError:
        click.echo("unknown (not installed)")
