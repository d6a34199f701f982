"""The original service's own Python client, unmodified, on its own names and ports.

Its API host and both port numbers are written into it, so it runs on a machine of its own:
``tests/support/netns.py``.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documentation import ROOT
from tests.support.netns import Machine, machine
from tests.support.processes import Process, eventually, running
from tests.support.product import Product, clean_environment, running_product

REQUIREMENTS = ROOT / "requirements" / "original-client.txt"
ENVIRONMENT = ROOT / ".cache" / "original-client"
GATEWAY, TUNNELS, DOMAIN = "api.mysocket.io", "ssh.mysocket.io", "edge.lab.example"
EMAIL, PASSWORD = "ada@lab.example", "correct horse battery staple"
DOWNLOADS = {"system": 30_000_000, "paramiko": 1_000_000}
"""Bytes of the file that is fetched through each engine; paramiko is slow."""


@pytest.fixture(scope="module")
def original() -> Path:
    """``mysocketctl`` 0.15 in an environment of its own: it needs a PyJWT we could not share."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = ENVIRONMENT / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        pip = [ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--require-hashes", "-r", REQUIREMENTS], check=True)
        stamp.write_text(wanted)
    return ENVIRONMENT / "bin" / "mysocketctl"


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    names = (GATEWAY, TUNNELS, "mtls.edge.mysocket.io", "download.edge.mysocket.io")
    with machine(tmp_path_factory.mktemp("machine"), *names) as here:
        yield here


@pytest.fixture(scope="module")
def product(inside: Machine) -> Iterator[Product]:
    with running_product(
        enter=inside.enter,
        https_port=443,
        http_port=80,
        tunnel_port=22,
        port_range=(20000, 20060),
        gateway_name=GATEWAY,
        edge_domain=DOMAIN,
        options=("--gateway-name", GATEWAY, "--edge-domain", DOMAIN),
    ) as up:
        yield up


class Ada:
    """Somebody with the original client, a home and a key in an agent."""

    def __init__(self, client: Path, inside: Machine, product: Product, home: Path) -> None:
        self.client, self.inside, self.home = client, inside, home
        self.environment = clean_environment(
            home,
            REQUESTS_CA_BUNDLE=str(product.authority),
            SSL_CERT_FILE=str(product.authority),
            PYTHONUNBUFFERED="1",
        )

    def enter(self, *command: str | Path, check: bool = True) -> str:
        """Run a program on that machine; what it printed."""
        done = subprocess.run(
            [*self.inside.enter, *command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=90,
            check=False,
        )
        output = (done.stdout + done.stderr).decode()
        assert not check or done.returncode == 0, output
        return output

    def ctl(self, *arguments: str, check: bool = True) -> str:
        return self.enter(self.client, *arguments, check=check)

    def start(self, *arguments: str) -> Process:
        log = self.home / f"{arguments[0]}-{len(list(self.home.glob('*.log')))}.log"
        return Process(*self.inside.enter, self.client, *arguments, env=self.environment, log=log)


@pytest.fixture(scope="module")
def ada(
    original: Path,
    inside: Machine,
    product: Product,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Ada]:
    home = tmp_path_factory.mktemp("ada")
    somebody = Ada(original, inside, product, home)
    key = home / "key"
    somebody.enter("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    # OpenSSH looks for keys in the home of the password file, not in $HOME: hence an agent.
    agent = home / "agent"
    with running(
        Process(*("ssh-agent", "-D", "-a", agent), env=somebody.environment, log=home / "agent.log")
    ) as process:
        process.wait_for(agent.exists)
        somebody.environment["SSH_AUTH_SOCK"] = str(agent)
        somebody.enter("ssh-add", "-q", key)
        public = (home / "key.pub").read_text()
        account = ("--name", "Ada", "--email", EMAIL, "--password", PASSWORD)
        assert "Congratulation" in somebody.ctl("account", "create", *account, "--sshkey", public)
        yield somebody


@pytest.fixture(scope="module")
def logged_in(ada: Ada) -> Ada:
    assert "Login failed" in ada.ctl("login", "--email", EMAIL, "--password", "wrong", check=False)
    assert "Logged in" in ada.ctl("login", "--email", EMAIL, "--password", PASSWORD)
    return ada


def test_it_shows_the_account(logged_in: Ada) -> None:
    shown = logged_in.ctl("account", "show")

    assert EMAIL in shown
    assert "ssh-ed25519" in shown


def test_it_creates_lists_and_deletes_sockets(logged_in: Ada) -> None:
    rules = ("--cloudauth", "--allowed_email_addresses", f"{EMAIL},bob@lab.example")
    made = logged_in.ctl("socket", "create", "--name", "db", "--type", "tls", *rules)
    (name,) = set(re.findall(rf"[a-z]+-[a-z]+-\d+\.{re.escape(DOMAIN)}", made))
    (socket_id,) = set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", made))

    assert name in logged_in.ctl("socket", "ls")
    tunnel = logged_in.ctl("tunnel", "create", "--socket_id", socket_id)
    assert re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", tunnel)
    logged_in.ctl("tunnel", "ls", "--socket_id", socket_id)
    logged_in.ctl("socket", "delete", "--socket_id", socket_id)
    assert name not in logged_in.ctl("socket", "ls")


@pytest.fixture(scope="module")
def files(inside: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A web server on port 8000 of that machine, and the folder it serves."""
    folder = tmp_path_factory.mktemp("www")
    (folder / "hello.txt").write_text("hello from the origin\n")
    for engine, size in DOWNLOADS.items():
        (folder / f"{engine}.bin").write_bytes(os.urandom(size))
    command = (*inside.enter, sys.executable, "-m", "http.server", "8000", "--bind", "127.0.0.1")
    log = folder.with_suffix(".log")
    with running(Process(*command, "--directory", folder, log=log)) as server:
        probe = [*inside.enter, "curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:8000/hello.txt"]
        server.wait_for(lambda: subprocess.run(probe, check=False).returncode == 0)
        yield folder


@pytest.mark.parametrize("engine", sorted(DOWNLOADS))
def test_it_publishes_an_app(engine: str, logged_in: Ada, product: Product, files: Path) -> None:
    client = logged_in.start("connect", "--port", "8000", "--engine", engine, "--name", engine)
    try:
        pattern = rf"[a-z]+-[a-z]+-\d+\.{re.escape(DOMAIN)}"
        found = client.wait_for(lambda: re.search(pattern, client.output()), what="its table")
        assert found
        name = found[0]
        logged_in.inside.add_names(name)
        curl = ("curl", "-s", "--cacert", str(product.authority), f"https://{name}")

        def served() -> bool:
            return "hello from" in logged_in.enter(*curl[:-1], f"{curl[-1]}/hello.txt", check=False)

        client.wait_for(served, what="the page through the tunnel")
        copy = files.parent / "copy"
        logged_in.enter(*curl[:-1], "-o", copy, f"{curl[-1]}/{engine}.bin")
        assert copy.stat().st_size == DOWNLOADS[engine]
        assert _digest(copy) == _digest(files / f"{engine}.bin")
        client.wait_for(lambda: "GET" in client.output(), what="the request log on its screen")
    finally:
        _interrupt(client)
    assert name not in logged_in.ctl("socket", "ls")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _interrupt(client: Process) -> None:
    """^C as a person presses it: once more each time it says that this ends it (paramiko)."""
    invitation = "Press ctrl-c to exit"
    try:
        for _ in range(3):
            invited = client.output().count(invitation)
            client.send_signal(signal.SIGINT)
            eventually(
                lambda: not client.running or client.output().count(invitation) > invited,  # noqa: B023
                what=f"the end of the client:\n{client.output()}",
            )
            if not client.running:
                return
        pytest.fail(f"does not end:\n{client.output()}")
    finally:
        client.stop()
