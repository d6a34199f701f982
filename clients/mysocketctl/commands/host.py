"""``host``: see the subcommands."""

import click


@click.group()
def host() -> None:
    """host"""
