"""Nonsense for every option of both programs: one line that says so, and nothing half done."""

import subprocess
from typing import Any

import click
import pytest

from clients.mysocket.cli import root as mysocket
from clients.mysocketctl.cli import root as mysocketctl
from tests.support import warm
from tests.support.command_tree import Place, places
from tests.support.product import Person, Product
from tests.support.row_counts import row_counts

LONGEST_LINE = 1_100
ASKED_FOR = {
    ("account", "create"): ("password",),
    ("login",): ("email", "password"),
    ("socket", "create"): ("name",),
}
"""Options that are demanded or prompted for without being marked so."""


@pytest.fixture(scope="module")
def product_environment() -> dict[str, str]:
    """Accounts are open to all, so that nothing is refused for that alone."""
    return {"MYSOCKET_SIGNUP_OPEN": "true"}


@pytest.fixture(scope="module")
def target(owner: Person) -> dict[str, Any]:
    return owner.create_socket(
        name="target",
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[owner.email],
    )


@pytest.fixture(scope="module")
def sensible(target: dict[str, Any]) -> dict[str, str]:
    """A good value for each parameter that some command demands."""
    return {
        "socket_id": target["socket_id"],
        "tunnel_id": target["tunnels"][0]["tunnel_id"],
        "host": target["dnsname"],
        "port": "9",
        "name": "probe",
        "email": "probe@example.com",
        "password": "correct horse battery staple",
        "files": "/etc/hostname",
        "certificate": "/etc/hostname",
        "word": "probe@example.com",
        "ca": "x509-issuing",
        "wanted": "probe",
        "sockets": target["socket_id"],
        "socket": target["dnsname"],
        "reason": "probe",
        "request_id": "probe",
        "guest_id": "probe",
        "file": "/etc/hostname",
        "version": "1",
    }


def every(command: click.Command) -> list[Any]:
    return [pytest.param(place, id=str(place)) for place in places(command)]


def typed(place: Place, value: str, sensible: dict[str, str]) -> list[str]:
    """The whole command line with one nonsensical value in it."""
    if isinstance(place.parameter, click.Option) and not place.command:
        return [*place.words(value), "socket", "ls"]
    options = [o for o in place.others if isinstance(o, click.Option) and o.name in sensible]
    arguments = [o for o in place.others if isinstance(o, click.Argument)]
    given = [f"{option.opts[0]}={sensible[str(option.name)]}" for option in options]
    wanted = ASKED_FOR.get(place.command, ())
    given += [f"--{name}={sensible[name]}" for name in wanted if name != place.parameter.name]
    return [
        *place.command,
        *given,
        *place.words(value),
        *(sensible[str(argument.name)] for argument in arguments),
    ]


def judge(done: subprocess.CompletedProcess[bytes], value: str) -> None:
    said = done.stderr.decode()
    assert done.returncode not in {0, 70}, (done.returncode, done.stdout, said)
    assert len(said.splitlines()) == 1, said
    assert 10 < len(said) <= LONGEST_LINE, said
    assert "Traceback" not in said
    assert "\x1b" not in said + done.stdout.decode()


@pytest.mark.parametrize("place", every(mysocketctl))
def test_an_option_of_mysocketctl(
    place: Place, sensible: dict[str, str], owner: Person, product: Product
) -> None:
    before = row_counts(product)
    for value in place.hostile:
        arguments = typed(place, value, sensible)
        environment = owner.environment | {"MYSOCKET_LOGIN": "device", "BROWSER": "false"}
        done = warm.run("clients.mysocketctl", arguments, env=environment)
        judge(done, value)
    assert row_counts(product) == before


@pytest.mark.parametrize("place", every(mysocket))
def test_an_option_of_mysocket(
    place: Place, sensible: dict[str, str], owner: Person, product: Product, tmp_path: Any
) -> None:
    before = row_counts(product)
    state = tmp_path / "state" if place.command == ("up",) else product.state
    for value in place.hostile:
        own = [] if place.parameter.name == "state" else [f"--state={state}"]
        group, words = len(place.command), typed(place, value, sensible)
        arguments = [*words[:group], *own, *words[group:]]
        done = warm.run("clients.mysocket", arguments, env=owner.environment)
        judge(done, value)
    assert row_counts(product) == before
    assert place.command != ("up",) or not state.exists()
