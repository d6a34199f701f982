"""A real edge process under test, with its real Envoy, against a small gateway."""

import asyncio
import shutil
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.edge_gateway import EDGE_KEY, GatewayStandIn
from tests.support.edge_state import ALICE, Edge, edge_socket, new_key, write_key


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class EdgeProcess:
    """``python -m proxy serve`` and the files it lives in."""

    folder: Path
    gateway: GatewayStandIn
    edge: Edge
    https_port: int
    tunnel_port: int
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and wait for ``edge ready``."""
        with (self.folder / "edge.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "proxy", "serve"),
                *("--config", str(self.folder / "edge.toml")),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            line = await self.process.stdout.readline()
        assert line == b"edge ready\n", (self.folder / "edge.log").read_text()

    async def stop(self, *, kill: bool = False) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        if self.process.returncode is None:
            self.process.kill() if kill else self.process.terminate()
        async with asyncio.timeout(20):
            await self.process.stdout.read()
            return await self.process.wait()

    def envoy_pid(self) -> int:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for child in children.split():
            if "envoy" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
        raise AssertionError("Envoy does not run")

    async def get(self, host: str = "web.edge.localhost", path: str = "/") -> httpx.Response:
        """A request as a browser would make it, trusting the test's CA."""
        trust = ssl.create_default_context(cadata=self.gateway.authority.root_pem)
        async with httpx.AsyncClient(verify=trust, trust_env=False) as client:
            return await client.get(
                f"https://127.0.0.1:{self.https_port}{path}",
                headers={"host": host},
                extensions={"sni_hostname": host},
            )

    async def answers(self, status: int, *, seconds: float = 20, path: str = "/") -> None:
        """Ask until the answer has this status; between two connections Envoy may be away."""
        seen: object = None
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            try:
                seen = await self.get(path=path)
                if seen.status_code == status:
                    return
            except httpx.HTTPError as error:
                seen = error
            await asyncio.sleep(0.05)
        log = (self.folder / "edge.log").read_text()
        raise AssertionError(f"{seen!r} instead of {status}; the edge says: {log}")

    @asynccontextmanager
    async def tunnel(
        self, origin_port: int, identity: str = "id"
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """OpenSSH publishing a local port through tunnel ``t-1``."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentityAgent=none"]
        options += ["ExitOnForwardFailure=yes", "LogLevel=ERROR"]
        process = await asyncio.create_subprocess_exec(
            *("ssh", "-F", "none", "-T", "-p", str(self.tunnel_port), "-i", identity),
            *(part for option in options for part in ("-o", option)),
            *("-R", f"10001:127.0.0.1:{origin_port}", f"{ALICE}@127.0.0.1"),
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            assert process.stdout is not None
            await process.stdout.read()
            await process.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="edge", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def edge_process(folder: Path) -> AsyncIterator[EdgeProcess]:
    """An edge that has not been started, with one public socket and alice's key."""
    edge = Edge(keys={ALICE: [new_key()]}, sockets=[edge_socket(identity_required=False)])
    write_key(folder, edge.keys[ALICE][0])
    gateway = GatewayStandIn(edge.state())
    https_port, http_port, tunnel_port = free_port(), free_port(), free_port()
    (folder / "edge.key").write_text(EDGE_KEY)
    (folder / "edge.toml").write_text(
        f'state_dir = "{folder}/state"\nrun_dir = "{folder}/run"\n'
        f'gateway = "unix:{folder}/gateway.sock"\nedge_key_file = "{folder}/edge.key"\n'
        f"https_port = {https_port}\nhttp_port = {http_port}\ntunnel_port = {tunnel_port}\n"
        "envoy_concurrency = 1\n"
    )
    process = EdgeProcess(folder, gateway, edge, https_port, tunnel_port)
    yield process
    if process.process is not None:
        await process.stop(kill=True)
