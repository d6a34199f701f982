"""The product itself, ``mysocket up`` with its whole process tree, and people who use it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import warm
from tests.support.documentation import ROOT
from tests.support.processes import Process, children_of, command_line, eventually, free_port
from tests.support.visitor import Visitor

BIN = Path(sys.executable).parent
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR")
_OWN_PORTS = 60
"""How many ports of its own a test's product may give away to sockets."""


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """What a person's shell would have, and nothing of the machine's proxies and certificates."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {"HOME": str(home)} | more


@dataclass(slots=True)
class Person:
    """Somebody with a home directory, a local account and ``mysocketctl``."""

    product: "Product"
    email: str
    password: str
    home: Path
    processes: list[Process] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(
            self.home,
            MYSOCKET_API=self.product.base_url,
            MYSOCKET_CA_FILE=str(self.product.authority),
            BROWSER=f"{sys.executable} -m tests.support.at_browser",
            PYTHONPATH=str(ROOT),
            PERSON_EMAIL=self.email,
            PERSON_PASSWORD=self.password,
        )

    def ctl(
        self,
        *arguments: str,
        stdin: bytes = b"",
        check: bool = True,
        timeout: float = 60,
        **environment: str,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``mysocketctl``; with ``check`` a failure shows what it said."""
        done = warm.run(
            BIN / "mysocketctl",
            arguments,
            env=self.environment | environment,
            stdin=stdin,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done}"
        return done

    def start(self, *arguments: str) -> Process:
        """Start a ``mysocketctl`` that stays; it ends with the product."""
        log = self.home / f"{len(self.processes)}.log"
        process = Process(BIN / "mysocketctl", *arguments, env=self.environment, log=log)
        self.processes.append(process)
        return process

    def log_in(self) -> None:
        self.ctl("login", "--email", self.email, "--password", self.password)

    @property
    def api(self) -> Visitor:
        """The API, with the token that ``mysocketctl login`` keeps."""
        token = (self.home / ".mysocketio_token").read_text().strip()
        visitor = self.product.visitor()
        visitor.headers["x-access-token"] = token
        return visitor

    def create_socket(self, **fields: Any) -> dict[str, Any]:
        """A socket with its first tunnel, as ``POST /connect`` answers it."""
        with self.api as api:
            return api.post("/connect", json={"name": "test", **fields}).raise_for_status().json()

    def change_socket(self, socket: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
        with self.api as api:
            answer = api.put(f"/socket/{socket['socket_id']}", json={**socket, **fields})
            return answer.raise_for_status().json()

    def publish(self, socket: Mapping[str, Any], port: int) -> Process:
        """Connect the socket's first tunnel to ``port`` of this machine; returns when it stands."""
        tunnel_id = socket["tunnels"][0]["tunnel_id"]
        process = self.start(
            *("tunnel", "connect", "--socket_id", socket["socket_id"]),
            *("--tunnel_id", tunnel_id, "--port", str(port)),
        )
        process.wait_for(self.product.endpoint(tunnel_id).exists, what="the tunnel's socket")
        return process


@dataclass(slots=True)
class Product:
    """One installation in a state directory of its own, on ports of its own."""

    state: Path
    https_port: int
    http_port: int
    tunnel_port: int
    port_range: tuple[int, int]
    gateway_name: str = "gateway.localhost"
    edge_domain: str = "edge.localhost"
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    enter: Sequence[str] = ()
    """Prefix that runs a command where the product runs, for a machine of its own."""
    process: Process | None = None
    people: list[Person] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        suffix = "" if self.https_port == 443 else f":{self.https_port}"
        return f"https://{self.gateway_name}{suffix}"

    @property
    def authority(self) -> Path:
        """The root certificate people are told to trust."""
        return self.state / "ca" / "root.pem"

    @property
    def log(self) -> Path:
        return self.state / "up.log"

    def start(self) -> None:
        """``mysocket up``, until it says that everything is ready."""
        first, last = self.port_range
        self.state.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self.process = Process(
            *(*self.enter, BIN / "mysocket", "up", "--state", self.state),
            *("--https-port", str(self.https_port), "--http-port", str(self.http_port)),
            *("--tunnel-port", str(self.tunnel_port), "--port-range", f"{first}-{last}"),
            *self.options,
            env=clean_environment(self.state, **self.environment),
            log=self.log,
        )
        self.process.wait_for_output("Ready.", within=90)

    def answers(self) -> bool:
        """Whether the gateway answers through the edge."""
        if not self.authority.exists():
            return False
        with contextlib.suppress(Exception), self.visitor() as visitor:
            return visitor.get("/.well-known/jwks.json").status_code == 200
        return False

    def stop(self) -> None:
        for person in self.people:
            for process in person.processes:
                process.stop()
        if self.process is not None:
            self.process.stop()

    def pid(self, what: str) -> int:
        """Process id of ``gateway``, ``edge`` or ``envoy``."""
        word = {"gateway": "idp_gateway", "edge": "proxy serve", "envoy": "_bin/envoy"}[what]
        assert self.process is not None
        top = self.process.pid

        def look() -> int:
            pids = [pid for pid in children_of(top) if word in command_line(pid)]
            return pids[0] if pids else 0

        return eventually(look, what=what)

    def kill_everything(self) -> None:
        """``kill -9`` of every process of the product, all at once."""
        assert self.process is not None
        pids = [self.process.pid, *children_of(self.process.pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.stop()
        eventually(lambda: not any(map(command_line, pids)), what="the end of all processes")

    def visitor(self) -> Visitor:
        """Somebody with an HTTP client and no cookies, at the gateway's address."""
        return Visitor.trusting(self.authority, base_url=self.base_url)

    def socket_url(self, socket: Mapping[str, Any]) -> str:
        return f"https://{socket['dnsname']}:{self.https_port}"

    def endpoint(self, tunnel_id: str) -> Path:
        """The unix socket of a connected tunnel."""
        return self.state / "run" / "t" / f"{tunnel_id}.sock"

    def person(self, email: str) -> Person:
        """A new local account whose address the operator vouches for."""
        done = self._add_account(email)
        assert done.returncode == 0, done
        password = json.loads(done.stdout)["password"]
        home = self.state / "homes" / email.partition("@")[0]
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        someone = Person(self, email, password, home)
        self.people.append(someone)
        return someone

    def _add_account(self, email: str) -> subprocess.CompletedProcess[bytes]:
        """``mysocket account add``, or what that goes on as."""
        environment = clean_environment(self.state, **self.environment)
        if self.enter:
            words = [BIN / "mysocket", "account", "add", email, "--state", self.state]
            command = [*self.enter, *words]
            return subprocess.run(command, env=environment, capture_output=True, check=False)
        config = self.state / "gateway.toml"
        words = ["account", "add", "--config", config, email]
        return warm.run("idp_gateway", words, env=environment)


@contextlib.contextmanager
def running_product(**changes: Any) -> Iterator[Product]:
    """``mysocket up`` in a new state directory; stopped and removed at the end of the block."""
    # Not below pytest's own directory: unix socket paths are short.
    state = Path(tempfile.mkdtemp(prefix="ms-"))
    first = free_port() if "port_range" not in changes else 0
    settings: dict[str, Any] = {
        "state": state,
        "https_port": free_port(),
        "http_port": free_port(),
        "tunnel_port": free_port(),
        "port_range": (first, first + _OWN_PORTS),
    }
    product = Product(**(settings | changes))
    try:
        product.start()
        yield product
    finally:
        product.stop()
        shutil.rmtree(state, ignore_errors=True)
