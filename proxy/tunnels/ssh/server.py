"""The SSH tunnel backend: listens, and keeps every client within what the state allows."""

import asyncio
import logging
from dataclasses import dataclass

import asyncssh

from policy.types import SocketType
from proxy.clock import Clock
from proxy.settings import CipherChoice
from proxy.state import EdgeSocket, EdgeState, EdgeTunnel
from proxy.tunnels.ssh.audience import Audience
from proxy.tunnels.ssh.connection import ClientOfTunnel, TunnelConnection
from proxy.tunnels.ssh.host_key import public_line
from proxy.tunnels.ssh.login import LoginKeys
from proxy.tunnels.ssh.refusals import RefusalLog
from proxy.tunnels.ssh.requests import TunnelIndex
from proxy.tunnels.ssh.screen import RULE
from proxy.tunnels.table import TunnelTable

GCM = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]
OTHER_CIPHERS = ["chacha20-poly1305@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"]
KEY_EXCHANGES = [
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
]
SERVER_VERSION = "mysocket"
HTTPS = 443

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshTunnelOptions:
    """How the tunnel server runs; times in seconds."""

    address: str
    port: int
    """0 lets the kernel choose; see ``SshTunnels.port``."""
    https_port: int = HTTPS
    """Shown in the banner of an HTTP socket."""
    ciphers: CipherChoice = CipherChoice.DEFAULT
    keepalive: float = 10.0
    keepalive_count: int = 3
    login_grace: float = 20.0
    max_unauthenticated: int = 128
    open_deadline: float = 4.0


class SshTunnels:
    """A ``TunnelBackend`` for ``ssh -R``."""

    def __init__(
        self, options: SshTunnelOptions, host_key: asyncssh.SSHKey, table: TunnelTable, clock: Clock
    ) -> None:
        self._options = options
        self._host_key = host_key
        self._server: asyncio.Server | None = None
        self._connections: dict[TunnelConnection, ClientOfTunnel] = {}
        self._unauthenticated: set[TunnelConnection] = set()
        self.table = table
        self.clock = clock
        self.open_deadline = options.open_deadline
        self.state: EdgeState | None = None
        self.keys = LoginKeys.of(None)
        self.tunnels = TunnelIndex()
        self.audience: Audience[ClientOfTunnel] = Audience()
        self.refusals = RefusalLog(log, clock)

    @property
    def ssh_host_key(self) -> str:
        """``ssh-ed25519 AAAA…``."""
        return public_line(self._host_key)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._server is None:
            raise RuntimeError("the tunnel server has not been started")
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the address is taken or not ours.
        """
        loop = asyncio.get_running_loop()
        options = self._connection_options()
        self._server = await loop.create_server(
            lambda: TunnelConnection(loop, options),
            self._options.address,
            self._options.port,
            backlog=512,
        )
        log.info("Server listening on %s port %d.", self._options.address, self.port)

    def _connection_options(self) -> asyncssh.SSHServerConnectionOptions:
        chosen = self._options
        extra = OTHER_CIPHERS if chosen.ciphers is CipherChoice.DEFAULT else []
        return asyncssh.SSHServerConnectionOptions(
            config=None,
            server_factory=lambda: ClientOfTunnel(self),
            server_host_keys=[self._host_key],
            server_version=SERVER_VERSION,
            encryption_algs=GCM + extra,
            kex_algs=KEY_EXCHANGES,
            compression_algs=["none"],
            host_based_auth=False,
            kbdint_auth=False,
            password_auth=False,
            gss_host=None,
            agent_forwarding=False,
            x11_forwarding=False,
            line_editor=False,
            encoding=None,
            login_timeout=chosen.login_grace,
            keepalive_interval=chosen.keepalive,
            keepalive_count_max=chosen.keepalive_count,
        )

    def apply(self, state: EdgeState) -> None:
        """Take a new state; logins and tunnels it no longer has are cut at once."""
        before, self.state = self.state, state
        keys, self.keys = self.keys, LoginKeys.of(state, self.keys)
        lost_tunnels = self.tunnels.follow(state.tunnels)
        lost_sockets = before is not None and before.sockets.keys() - state.sockets.keys()
        if not (lost_tunnels or lost_sockets) and _same_logins(keys, self.keys):
            return
        for client in list(self._connections.values()):
            if client.login is None:
                continue
            if not self.keys.still_allow(client.login):
                client.disconnect("this login is no longer valid")
                continue
            for forward in list(client.forwards):
                if not self.serves(forward.tunnel):
                    forward.revoke("this tunnel was removed")

    def log(self, socket_id: str, line: str) -> None:
        """Show a line to every client that serves this socket."""
        for client in self.audience.of(socket_id):
            for screen in client.screens:
                screen.show(line)

    def watched(self, socket_id: str) -> bool:
        """Whether any client that serves this socket has a screen open."""
        return socket_id in self.audience

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        waiting = list(self._connections)
        for client in list(self._connections.values()):
            client.disconnect("the edge stops")
        await asyncio.gather(*(connection.wait_closed() for connection in waiting))

    # What connections tell.

    def arrived(self, connection: TunnelConnection, client: ClientOfTunnel) -> bool:
        """A client connected; whether there is room for one more that has not logged in."""
        self._connections[connection] = client
        self._unauthenticated.add(connection)
        return len(self._unauthenticated) <= self._options.max_unauthenticated

    def authenticated(self, connection: TunnelConnection) -> None:
        """The client proved who it is."""
        self._unauthenticated.discard(connection)

    def gone(self, connection: TunnelConnection) -> None:
        """The connection ended."""
        self._connections.pop(connection, None)
        self._unauthenticated.discard(connection)

    def serves(self, tunnel: EdgeTunnel) -> bool:
        """Whether the state has this very tunnel, and its socket."""
        state = self.state
        if state is None or tunnel.socket_id not in state.sockets:
            return False
        return state.tunnels.get(tunnel.tunnel_id) == tunnel

    def banner(self, tunnel: EdgeTunnel) -> list[str]:
        """What a client sees of the socket that its tunnel serves."""
        socket = None if self.state is None else self.state.sockets.get(tunnel.socket_id)
        if socket is None:
            return []
        address = public_address(socket, self._options.https_port)
        return ["", f"{socket.name} - {address}", RULE, "Logs", RULE]


def _same_logins(before: LoginKeys, after: LoginKeys) -> bool:
    """Whether everybody who could log in still can; ``False`` also when that is not known."""
    same_cas = (before.authorities, before.past) == (after.authorities, after.past)
    return before.accounts is after.accounts and same_cas


def public_address(socket: EdgeSocket, https_port: int) -> str:
    """Where people reach a socket, as a URL; every own port of a TCP or TLS socket."""
    if socket.socket_type in {SocketType.HTTP, SocketType.HTTPS}:
        port = "" if https_port == HTTPS else f":{https_port}"
        return f"https://{socket.dns_name}{port}"
    scheme = socket.socket_type.value
    return " ".join(f"{scheme}://{socket.dns_name}:{port}" for port in socket.ports)
