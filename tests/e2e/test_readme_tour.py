"""The README's tour, typed as written, on a machine of its own with the default names and ports."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.documentation import ROOT, section, shell_blocks
from tests.support.netns import Machine, machine
from tests.support.processes import Process, eventually, running
from tests.support.product import BIN, clean_environment
from tests.support.terminal import Terminal


class Tour:
    """A checkout (by links), the product in one terminal, the reader at another."""

    def __init__(self, directory: Path, here: Machine) -> None:
        self.here = here
        self.directory = directory
        for name in ("docs", "scripts", "requirements", "Makefile", "pyproject.toml"):
            (directory / name).symlink_to(ROOT / name)
        self._be_set_up()
        # ssh finds ~ in the password file, not in $HOME: put a directory of ours there.
        ssh = Path("~/.ssh").expanduser()
        ssh.mkdir(mode=0o700, exist_ok=True)
        (directory / "ssh").mkdir(mode=0o700)
        subprocess.run([*here.enter, "mount", "--bind", directory / "ssh", ssh], check=True)
        self.environment = clean_environment(
            Path("~").expanduser(),
            BROWSER=f"env HOME={directory} {sys.executable} -m tests.support.at_browser",
            PYTHONPATH=str(ROOT),
        )

    def _be_set_up(self) -> None:
        """As after a first ``make up``: that machine has no network to install anything from."""
        environment = self.directory / ".venv"
        environment.mkdir()
        for part in Path(sys.prefix).iterdir():
            if not part.name.startswith(".installed-"):
                (environment / part.name).symlink_to(part)
        stamp = "cat pyproject.toml scripts/setup requirements/server.txt | sha256sum"
        stamp += " > .venv/.installed-server"
        subprocess.run(["bash", "-ec", stamp], cwd=self.directory, check=True)

    def learn_the_password(self, account: Path) -> None:
        """What ``make up`` printed, as the file keeps it."""
        known = json.loads(account.read_text())
        self.environment |= {
            "PERSON_EMAIL": known["email"],
            "PERSON_PASSWORD": known["password"],
            "MYSOCKET_PASSWORD": known["password"],
        }

    def run(self, *command: str | Path, **environment: str) -> str:
        done = subprocess.run(
            [*self.here.enter, *command],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done
        return done.stdout

    def sockets(self) -> dict[str, dict[str, Any]]:
        listing = self.run(
            *(BIN / "mysocketctl", "socket", "ls", "--json"),
            MYSOCKET_API="https://gateway.localhost:8443",
            MYSOCKET_CA_FILE=str(self.directory / ".mysocket" / "ca" / "root.pem"),
        )
        return {one["name"]: one for one in json.loads(listing)}

    def connected(self, name: str) -> bool:
        """Whether the socket of this name has its tunnel."""
        found = self.sockets().get(name)
        return found is not None and any(tunnel["connected"] for tunnel in found["tunnels"])

    def open(self, name: str, path: str = "/") -> str:
        """What the reader's browser shows at a socket."""
        address = f"https://{self.sockets()[name]['dnsname']}:8443{path}"
        authority = str(self.directory / ".mysocket" / "ca" / "root.pem")
        return self.run(
            *(sys.executable, "-m", "tests.support.at_browser", address),
            HOME=str(self.directory),
            MYSOCKET_CA_FILE=authority,
        )


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    with machine(tmp_path) as here:
        yield Tour(tmp_path, here)


@pytest.mark.timeout(300)
def test_the_tour_works_as_written(tour: Tour) -> None:
    blocks = shell_blocks(section((ROOT / "README.md").read_text("utf-8"), "Tour"))
    state = tour.directory / ".mysocket"
    up = Process(
        *(*tour.here.enter, "make", "-C", tour.directory, "up"),
        env=tour.environment,
        log=tour.directory / "up.log",
    )
    with running(up):
        up.wait_for_output("Ready.", within=90)
        tour.learn_the_password(next(state.glob("first-account*")))
        terminal = Terminal(tour.directory, tour.environment, tour.here.enter)
        with running(terminal.process):
            said = [walk(tour, terminal, block) for block in blocks]
    everything = "\n".join(said)
    assert "admin@example.test" in everything
    assert '"reason":"login-required"' in everything.replace('": "', '":"')
    assert "this is " in everything
    assert "mysocket_ssh_signed" in everything
    assert "not-on-list" in everything


def walk(tour: Tour, terminal: Terminal, block: str) -> str:
    """Type one block and look at what it is meant to have brought about."""
    if "pip install" in block:
        # The one step that needs the network, which that machine has not.
        command = ["bash", "-ec", block]
        subprocess.run(command, cwd=tour.directory, env=tour.environment, check=True)
        return ""
    said = terminal.type(block)
    for name in ("files", "calendar", "server"):
        if f"--name {name}" in block:
            eventually(lambda name=name: tour.connected(name), what=f"{name} connected")
    if "--name files" in block:
        said += tour.open("files")
        assert "Directory listing" in said
    if "--name calendar" in block:
        said += tour.open("calendar", "/.web/")
        assert "Collection management" in said
    if "socket update" in block:
        said += tour.open("files")
    return said
