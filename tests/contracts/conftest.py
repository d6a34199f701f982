"""Tunnel backends to hold against their contract, each with the client it is made for."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.edge_state import ALICE
from tests.support.tunnel_bench import Bench


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="edge", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@dataclass
class Client:
    """A running OpenSSH client."""

    process: asyncio.subprocess.Process
    seen: bytes = b""

    async def shows(self, text: bytes, seconds: float = 10) -> None:
        """Wait until the client printed ``text``."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            while text not in self.seen:
                more = await self.process.stdout.read(4096)
                assert more, f"the client ended; it printed {self.seen!r}"
                self.seen += more

    async def ends(self, seconds: float = 10) -> int:
        """Wait for the client's end; its exit status."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            self.seen += await self.process.stdout.read()
            return await self.process.wait()


StartClient = Callable[..., Awaitable[Client]]


@pytest.fixture
async def openssh() -> AsyncIterator[StartClient]:
    """Start OpenSSH's client as the original service's users do: ``ssh -R``."""
    processes: list[asyncio.subprocess.Process] = []

    async def start(
        bench: Bench,
        *forwards: str,
        user: str = ALICE,
        key: str = "id",
        extra: tuple[str, ...] = (),
    ) -> Client:
        command = ["ssh", "-F", "none", "-T", "-p", str(bench.backend.port), "-i", key]
        for option in (
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "ExitOnForwardFailure=yes",
            "PasswordAuthentication=no",
            "LogLevel=ERROR",
        ):
            command += ["-o", option]
        for forward in forwards:
            command += ["-R", forward]
        process = await asyncio.create_subprocess_exec(
            *command,
            *extra,
            f"{user}@127.0.0.1",
            cwd=bench.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        processes.append(process)
        return Client(process)

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        assert process.stdout is not None
        await process.stdout.read()
        await process.wait()
