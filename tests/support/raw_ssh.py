"""An SSH client that shows whatever certificate it is told to, and asks for one thing.

OpenSSH's own client drops certificates it takes for wrong before sshd ever sees them.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import asyncssh
from asyncssh.public_key import SSHKeyPair

Sign = Callable[[bytes], bytes]
"""Takes what is to be signed, returns a signature in SSH wire format."""


_ALL_SIGNATURES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


class RawIdentity(SSHKeyPair):
    """A blob that is sent as it is, under an algorithm name of our choice."""

    def __init__(self, algorithm: str, blob: bytes, sign: Sign) -> None:
        plain = algorithm.replace("-cert-v01@", "@").removesuffix("@openssh.com")
        signature = f"{plain}@openssh.com" if plain.startswith("sk-") else plain
        names = (signature.encode(),)
        super().__init__(names[0], names[0], names, (algorithm.encode(),), blob, None)
        self.algorithm = algorithm.encode()
        self._sign = sign

    def set_sig_algorithm(self, sig_algorithm: bytes) -> None:
        """Keep the algorithm; asyncssh would name the plain key's."""

    def sign(self, data: bytes) -> bytes:
        return self._sign(data)


@contextlib.asynccontextmanager
async def raw_host(identity: RawIdentity) -> AsyncIterator[int]:
    """A server that shows ``identity`` as its host key and lets nobody in; yields its port."""
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[identity], config=None, signature_algs=_ALL_SIGNATURES
    )
    async with server:
        yield server.get_port()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one login."""

    accepted: bool
    works: bool = False
    """Whether the session was given what it asked for."""


async def log_in(connected: socket.socket, login: str, identity: RawIdentity, wish: str) -> Outcome:
    """Show ``identity`` and, once in, ask for ``wish``: one of ``WISHES``."""
    try:
        connection = await asyncssh.connect(
            sock=connected,
            username=login,
            client_keys=[identity],
            known_hosts=None,
            config=None,
            agent_path=None,
            preferred_auth="publickey",
            signature_algs=_ALL_SIGNATURES,
            login_timeout=20,
        )
    except asyncssh.PermissionDenied:
        return Outcome(accepted=False)
    except asyncssh.ConnectionLost:
        # sshd breaks off when a blob cannot be read at all.
        return Outcome(accepted=False)
    async with connection:
        return Outcome(accepted=True, works=await WISHES[wish](connection))


async def _command(connection: asyncssh.SSHClientConnection) -> bool:
    return (await connection.run("echo in")).stdout == "in\n"


async def _forced_command(connection: asyncssh.SSHClientConnection) -> bool:
    return (await connection.run("echo in")).stdout == "forced\n"


async def _listed_command(connection: asyncssh.SSHClientConnection) -> bool:
    return (await connection.run("echo in")).stdout == "listed\n"


async def _terminal(connection: asyncssh.SSHClientConnection) -> bool:
    try:
        result = await connection.run("tty", term_type="xterm", request_pty="force")
    except asyncssh.ChannelOpenError:
        return False
    return "/dev/" in str(result.stdout)


async def _forwarding(connection: asyncssh.SSHClientConnection) -> bool:
    """Through sshd to a port of our own, which greets."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            reader, writer = await connection.open_connection("127.0.0.1", port)
        except asyncssh.ChannelOpenError:
            return False
        async with asyncio.timeout(10):
            greeting = await reader.readline()
        writer.close()
    return bytes(greeting) == b"hello\n"


async def _agent(connection: asyncssh.SSHClientConnection) -> bool:
    # Set here, asyncssh only asks; set as an option, it would look for keys there first.
    connection._agent_forward_path = "/nowhere"
    result = await connection.run("echo ${SSH_AUTH_SOCK:-none}")
    return str(result.stdout).strip() != "none"


WISHES = {
    "command": _command,
    "forced command": _forced_command,
    "listed command": _listed_command,
    "terminal": _terminal,
    "forwarding": _forwarding,
    "agent": _agent,
}
