"""What the gateway's ``bootstrap`` made here: the first account and the demonstration."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clients.mysocket.errors import StackError
from clients.mysocket.layout import Layout
from clients.mysocketctl.api import GatewayApi
from clients.mysocketctl.commands.login import password_login
from clients.mysocketctl.files import HomeFiles, write_private
from clients.mysocketctl.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAccount:
    """An account with a verified address and its socket, which lets in that address alone."""

    email: str
    password: str | None = field(repr=False)
    """``None`` if its file was removed: nobody knows it any more."""
    socket_id: str
    dns_name: str
    url: str
    tunnel_id: str


def bootstrap(command: Sequence[str], environment: Mapping[str, str]) -> FirstAccount:
    """Run ``bootstrap``, which makes only what is missing.

    Raises:
        StackError: it failed, or printed something else than agreed.
    """
    done = subprocess.run(
        list(command),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise StackError("bootstrap-failed", f"the gateway could not be set up: {said}")
    try:
        return _parse(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            "bootstrap-failed", "the gateway's bootstrap printed no account"
        ) from error


def _parse(made: Any) -> FirstAccount:
    password = made["password"]
    return FirstAccount(
        email=str(made["email"]),
        password=None if password is None else str(password),
        socket_id=str(made["socket"]["socket_id"]),
        dns_name=str(made["socket"]["dns_name"]),
        url=str(made["socket"]["url"]),
        tunnel_id=str(made["tunnel"]["tunnel_id"]),
    )


def log_in(layout: Layout, settings: Settings, account: FirstAccount) -> None:
    """Get a new API token and keep it where the demonstration's own client looks for it.

    Raises:
        ClientError: the gateway does not answer or refuses the password.
    """
    with GatewayApi(settings) as api:
        token = password_login(api, account.email, account.password or "")
    write_private(HomeFiles(layout.demo_home).api_token, token + "\n")
