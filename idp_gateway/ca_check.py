"""``python -m idp_gateway ca check``: whether every key of a CA can be had, and new ones too."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ca.ca_keys import algorithm_of
from ca.errors import CaError
from idp_gateway.ca_generations import SSH_HOST, SSH_TUNNEL, X509_ISSUING, user_ca_id
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.records import CaGenerationRecord
from idp_gateway.settings import Settings

NEW_KEYS = (user_ca_id("check"), SSH_HOST, SSH_TUNNEL, X509_ISSUING)
"""A CA of each purpose; no socket has that id."""


@click.command("check")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Settings file (TOML); MYSOCKET_* variables override it.",
)
def check_command(config: Path | None) -> None:
    """Let every key that signs, or is to, sign a sentence, and make a new one for a moment.

    Prints JSON; ends with status 1 if a key cannot be had.
    """
    gateway = build_gateway(Settings.load(config))
    try:
        found = [_present(gateway, record) for record in gateway.store.signing_generations()]
        found += [_new(gateway, ca_id) for ca_id in NEW_KEYS]
    finally:
        gateway.close()
    click.echo(json.dumps(found, indent=2))
    sys.exit(0 if all(one["works"] for one in found) else 1)


def _present(gateway: Gateway, record: CaGenerationRecord) -> dict[str, Any]:
    about = {
        "ca": record.ca_id,
        "generation": record.generation,
        "state": record.state.value,
        "signer": record.signer,
        "key_id": record.key_id,
    }
    return about | _tried(lambda: gateway.authority.generations.check_signs(record))


def _new(gateway: Gateway, ca_id: str) -> dict[str, Any]:
    about: dict[str, Any] = {"ca": ca_id.partition(":")[0], "generation": None, "state": "new"}

    def make() -> None:
        made = gateway.authority.generations.try_new_key(ca_id)
        about.update(signer=made.backend, algorithm=algorithm_of(made.signer.public_key))

    return about | _tried(make) | about


def _tried(step: Callable[[], object]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        step()
    except CaError as error:
        return {"works": False, "reason": error.reason, "detail": str(error)}
    return {"works": True, "milliseconds": round((time.perf_counter() - began) * 1000, 3)}
