"""A tunnel backend on its own: on a port of the kernel's choice, with an origin."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from proxy.tunnels.ssh.server import SshTunnelOptions, SshTunnels
from proxy.tunnels.table import TunnelTable
from tests.support.edge_state import ALICE, Edge, new_key, write_key


@dataclass
class Bench:
    """A backend under test, its table, and the state it was given."""

    backend: SshTunnels
    table: TunnelTable
    edge: Edge
    folder: Path
    changes: asyncio.Event = field(default_factory=asyncio.Event)

    def apply(self) -> None:
        self.backend.apply(self.edge.state())

    async def until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Wait for the table to change until ``condition`` holds."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changes.clear()
                await self.changes.wait()

    async def connected(self, tunnel_id: str = "t-1") -> Path:
        await self.until(lambda: tunnel_id in self.table.connected())
        return self.table.connected()[tunnel_id].path


@asynccontextmanager
async def ssh_bench(folder: Path, **options: object) -> AsyncIterator[Bench]:
    """The SSH backend on a port of the kernel's choice, with alice's key registered."""
    edge = Edge(keys={ALICE: [new_key()]})
    write_key(folder, edge.keys[ALICE][0])
    changes = asyncio.Event()

    def clock() -> datetime:
        return datetime.now(UTC)

    table = TunnelTable(folder / "t", clock, lambda _changed: changes.set())
    table.prepare()
    values = {"address": "127.0.0.1", "port": 0, "https_port": 8443} | options
    backend = SshTunnels(
        SshTunnelOptions(**values),  # type: ignore[arg-type]
        new_key(),
        table,
        clock,
    )
    bench = Bench(backend=backend, table=table, edge=edge, folder=folder, changes=changes)
    bench.apply()
    await backend.start()
    try:
        yield bench
    finally:
        await backend.close()


@asynccontextmanager
async def origin(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A TCP server as the service behind a tunnel; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await answer(reader, writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield cast("int", server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back; end when the other side has ended."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def saying(text: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """An origin that speaks first and hangs up."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return answer


async def ask(path: Path, text: bytes = b"hello") -> bytes:
    """Send ``text`` into a tunnel, end, and read everything that comes back."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(text)
        writer.write_eof()
        try:
            return await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
