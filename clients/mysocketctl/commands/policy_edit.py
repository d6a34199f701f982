"""``mysocketctl policy edit``."""

from typing import Any

import click

from clients.mysocketctl import drafts
from clients.mysocketctl.api import GatewayApi, Json, segment
from clients.mysocketctl.commands.options import (
    json_option,
    logged_in,
    say_if_not_in_force,
    settings_of,
)
from clients.mysocketctl.commands.policy_options import (
    ORG_WIDE,
    POLICY,
    WHY_OPTION,
    faults_of,
    said,
    show_policy,
)
from clients.mysocketctl.commands.typed import NAME, WHY
from clients.mysocketctl.files import HomeFiles
from clients.mysocketctl.named import find_policy
from clients.mysocketctl.policy_files import as_yaml, read_policy_text, read_source
from clients.mysocketctl.tables import show_json


@click.command()
@POLICY
@click.option("--file", metavar="FILE", help="Take this document; no editor. - is standard input.")
@click.option("--name", type=NAME, help="Call it this from now on.")
@click.option("--description", type=WHY, help="What it is for.")
@ORG_WIDE
@WHY_OPTION
@json_option
@click.pass_context
def edit(
    context: click.Context, /, wanted: str, file: str | None, *, as_json: bool, **given: Any
) -> None:
    """Change a policy: in $EDITOR, by a file, or only its name and description.

    The editor opens again, with the faults on top, until the document is taken. Give up with an
    empty file or without a change: what you wrote is kept, and the command says where.
    """
    text = None if file is None else read_source(file)
    fields = said({name: value for name, value in given.items() if name != "why"})
    with logged_in(context) as api:
        found = find_policy(api, wanted)
        change = _Change(api, found, given)
        if text is not None:
            changed: dict[str, Json] | None = change.send(*text)
        elif fields:
            changed = change.send({}, "the policy")
        else:
            changed = _in_editor(HomeFiles(settings_of(context).home), change)
        say_if_not_in_force(api)
    if changed is None:
        click.echo("Nothing was changed.", err=True)
    elif as_json:
        show_json(changed)
    else:
        show_policy(changed)


class _Change:
    """A change of one policy, from the version that was read."""

    def __init__(self, api: GatewayApi, found: dict[str, Json], given: dict[str, Any]) -> None:
        self._api, self.found = api, found
        self._body = said(given) | {"version": found.get("version")}

    def send(self, document: dict[str, Json], name: str) -> dict[str, Json]:
        """Raises PolicyFaulty."""
        path = f"/policy/{segment(str(self.found.get('id')))}"
        with faults_of(name):
            changed: dict[str, Json] = self._api.put(path, self._body | document)
        return changed

    def send_text(self, text: str) -> dict[str, Json]:
        """Raises PolicyFaulty."""
        read_policy_text(text, "the draft")
        return self.send({"policy_text": text}, "the draft")


def _in_editor(files: HomeFiles, change: _Change) -> dict[str, Json] | None:
    found = change.found
    preface = [
        f"Policy {found.get('name')}, version {found.get('version')}. Comments are not kept.",
        "Save without a change, or an empty file, to leave it as it is.",
    ]
    text = as_yaml(found.get("policy_data"))
    name = segment(str(found.get("id")))[:64]
    return drafts.edit(files, name, text, preface=preface, accept=change.send_text)
