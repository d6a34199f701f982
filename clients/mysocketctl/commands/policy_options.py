"""What the commands about policies share: arguments, sending a document, showing a policy."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import click

from clients.mysocketctl.api import Json
from clients.mysocketctl.commands.typed import LIST_FILE, NAME, WHY
from clients.mysocketctl.errors import GatewayRefused
from clients.mysocketctl.policy_files import as_yaml, refused_document
from clients.mysocketctl.tables import show_pairs

POLICY = click.argument("wanted", metavar="POLICY", type=NAME)
FILE = click.argument("file", metavar="FILE")
WHY_OPTION = click.option("--why", type=WHY, help="For the history.")
ORG_WIDE = click.option(
    "--org-wide/--not-org-wide", default=None, help="Whether it is on every socket of yours."
)

LISTS = click.option(
    "--prefix-list",
    "lists",
    multiple=True,
    type=LIST_FILE,
    help="What a list that the document names has; repeatable.",
)


def said(given: Mapping[str, Any]) -> dict[str, Json]:
    """What was given, without what was not."""
    return {name: value for name, value in given.items() if value is not None}


@contextlib.contextmanager
def faults_of(name: str) -> Iterator[None]:
    """Turns the gateway's refusal of the document ``name`` into the document's faults.

    Raises:
        PolicyFaulty: the gateway does not take the document.
    """
    try:
        yield
    except GatewayRefused as error:
        if faulty := refused_document(error, name):
            raise faulty from error
        raise


def show_policy(found: dict[str, Json]) -> None:
    """Its fields, and below them its document."""
    names = ["name", "description", "version", "org_wide", "socket_ids", "updated_at", "id"]
    names += ["change", "at", "by", "why"]
    show_pairs((name, found[name]) for name in names if found.get(name) not in (None, "", []))
    click.echo()
    click.echo(as_yaml(found.get("policy_data")), nl=False)
