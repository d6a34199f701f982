"""``ca``: see the subcommands."""

import click


@click.group()
def ca() -> None:
    """ca"""
