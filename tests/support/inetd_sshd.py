"""sshd for one connection each: its log is complete and nobody else's."""

import asyncio
import contextlib
import getpass
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import sshd


@dataclass(frozen=True, slots=True, kw_only=True)
class InetdSshd:
    """A configuration of sshd; nothing runs between connections."""

    config: Path
    login: str

    @classmethod
    def make(
        cls,
        directory: Path,
        trusted_ca_lines: Sequence[str],
        principals: Sequence[str],
        extra_config: Sequence[str] = (),
    ) -> "InetdSshd":
        """Write its files to ``directory``."""
        directory.mkdir(exist_ok=True)
        sshd.prepare()
        extra = ("LogLevel DEBUG1", *extra_config)
        config = sshd.write_files(directory, 1, trusted_ca_lines, principals, extra)
        return cls(config=config, login=getpass.getuser())

    @contextlib.asynccontextmanager
    async def connection(self, log: Path) -> AsyncIterator[socket.socket]:
        """A socket with a fresh sshd behind it; after the block ``log`` is whole."""
        with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as stream:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
            with theirs:
                command = [sshd.program(), "-i", "-e", "-f", str(self.config)]
                process = await asyncio.create_subprocess_exec(
                    *command, stdin=theirs, stdout=theirs, stderr=stream
                )
            try:
                yield ours
            finally:
                ours.close()
                async with asyncio.timeout(20):
                    await process.wait()
