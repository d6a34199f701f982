"""``ssh-lint``: says what is wrong with an SSH certificate."""

import click


@click.command(name="ssh-lint")
def ssh_lint() -> None:
    """Say what is wrong with an SSH certificate."""
