"""One client's SSH connection: its login, its forwards and its screens.

A client may log in, forward the ports of its own tunnels and look at its log. Everything else SSH
can do is refused, most of it by the library's defaults: exec and subsystems (``screen``),
connections into the edge's network, unix sockets, X11, agents, tun devices, passwords.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any, Protocol

import asyncssh

from proxy.clock import Clock
from proxy.errors import TunnelRefused
from proxy.state import EdgeState, EdgeTunnel
from proxy.tunnels.ssh.audience import Audience
from proxy.tunnels.ssh.forward import Forward
from proxy.tunnels.ssh.login import Login, LoginKeys, is_certificate, key_login, read_certificate
from proxy.tunnels.ssh.refusals import RefusalLog
from proxy.tunnels.ssh.requests import TunnelIndex, requested_tunnel
from proxy.tunnels.ssh.screen import LogScreen
from proxy.tunnels.table import TunnelTable

MAX_KEY_OFFERS = 20
"""Keys a client may try in one connection; an agent full of keys tries them all."""
MAX_SESSIONS = 8
MAX_FORWARDS = 64
WINDOW = 2 * 1024 * 1024
HUGE_WINDOW = 1 << 30
"""For paramiko, which loses bytes when a window runs out in the middle of a write."""
NARROW_READERS = "paramiko"
"""Part of the version string of clients that get the huge window."""

ORIGINATOR = ("127.0.0.1", 1)
"""Told to the client as the stream's source; Go's library demands an IP address and a port that is
not 0. Who really connects is in the request log and the headers."""

log = logging.getLogger(__name__)


class TunnelServer(Protocol):
    """What a connection needs of the server it came in through."""

    state: EdgeState | None
    keys: LoginKeys
    tunnels: TunnelIndex
    audience: "Audience[ClientOfTunnel]"
    refusals: RefusalLog
    table: TunnelTable
    clock: Clock
    open_deadline: float

    def arrived(self, connection: "TunnelConnection", client: "ClientOfTunnel") -> bool:
        """A client connected; whether there is room for one more that has not logged in."""

    def authenticated(self, connection: "TunnelConnection") -> None: ...

    def gone(self, connection: "TunnelConnection") -> None: ...

    def serves(self, tunnel: EdgeTunnel) -> bool: ...

    def banner(self, tunnel: EdgeTunnel) -> list[str]: ...


class _ScreenChannel(asyncssh.SSHServerChannel[bytes]):
    """Refuses environment variables, which the library would collect without a limit."""

    def _process_env_request(self, packet: Any) -> bool:  # noqa: ARG002 - nothing is read
        return False


class TunnelConnection(asyncssh.SSHServerConnection):
    """The library's connection, with two things it does not offer: a look at the certificate that
    is used for login, and pushing back by not reading."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: asyncssh.SSHServerConnectionOptions
    ) -> None:
        super().__init__(loop, options)
        self._holders: set[int] = set()
        self._client: ClientOfTunnel | None = None

    def belongs_to(self, client: "ClientOfTunnel") -> None:
        """Told by the object that answers for this connection."""
        self._client = client

    async def validate_public_key(
        self, username: str, key_data: bytes, msg: bytes, signature: bytes
    ) -> bool:
        """As the library, after the server has looked at the key or certificate as a whole."""
        if self._client is None or not self._client.offered(username, key_data):
            return False
        return await super().validate_public_key(username, key_data, msg, signature)

    def create_server_channel(
        self,
        encoding: str | None = "",
        errors: str = "",
        window: int = 0,
        max_pktsize: int = 0,
    ) -> asyncssh.SSHServerChannel[bytes]:
        """A session's channel; one that keeps nothing a client sends."""
        plain = super().create_server_channel(encoding, errors, window, max_pktsize)
        plain.__class__ = _ScreenChannel
        return plain

    def hold(self, stream: object) -> None:
        """Stop reading the TCP connection until every holder released it."""
        if not self._holders and self._transport is not None:
            self._transport.pause_reading()
        self._holders.add(id(stream))

    def release(self, stream: object) -> None:
        """The counterpart of ``hold``; does nothing for a stream that does not hold."""
        if id(stream) not in self._holders:
            return
        self._holders.discard(id(stream))
        if not self._holders and self._transport is not None:
            self._transport.resume_reading()


class ClientOfTunnel(asyncssh.SSHServer):
    """What one client may do; asyncssh calls it a server."""

    def __init__(self, server: TunnelServer) -> None:
        self._server = server
        self._connection: TunnelConnection | None = None
        self._offer: tuple[str, bytes, Login] | None = None
        self._offers = 0
        self._sessions = 0
        self.login: Login | None = None
        """Who this is; ``None`` until the login is complete."""
        self.peer = ""
        self._port = 0
        self.forwards: list[Forward] = []
        self.screens: list[LogScreen] = []

    # The connection's life.

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        if not isinstance(conn, TunnelConnection):
            raise TypeError("the tunnel server makes its own connections")
        self._connection = conn
        conn.belongs_to(self)
        peer = conn.get_extra_info("peername")
        self.peer, self._port = (str(peer[0]), int(peer[1])) if peer else ("", 0)
        self._cut_silent_peers(conn)
        if not self._server.arrived(conn, self):
            self._server.refusals.write(
                "too many tunnel clients are logging in; one from %s is sent away", self.peer
            )
            conn.abort()

    @staticmethod
    def _cut_silent_peers(conn: asyncssh.SSHServerConnection) -> None:
        """Let the kernel give up on bytes nobody acknowledges (tcp(7)), so that no descriptor of a
        dead client outlives its keepalive by the default quarter of an hour."""
        raw = conn.get_extra_info("socket")
        if raw is not None and raw.family in {socket.AF_INET, socket.AF_INET6}:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        connection, self._connection = self._connection, None
        for forward in self.forwards:
            forward.detach()
        self.forwards.clear()
        self.screens.clear()
        self._place()
        if connection is not None:
            self._server.gone(connection)

    def disconnect(self, reason: str) -> None:
        """Tell the client why, and end its connection."""
        if self._connection is None:
            return
        for screen in self.screens:
            screen.show(f"Closed: {reason}.")
        self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, reason)

    # Login.

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        return True

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return False

    def public_key_auth_supported(self) -> bool:
        return True

    def offered(self, user_name: str, key: bytes) -> bool:
        """A key or certificate is offered, with or without the proof of possession.

        Remembers whose it is; the last offer before the login completes is the one that was proved.
        """
        self._offer = None
        self._offers += 1
        if self._offers > MAX_KEY_OFFERS:
            self.disconnect("too many keys were tried")
            return False
        keys = self._server.keys
        if is_certificate(key):
            try:
                login = read_certificate(key, user_name, keys, self._server.clock())
            except TunnelRefused as refusal:
                self._server.refusals.write(
                    "tunnel login from %s refused: %s", self.peer, refusal.reason
                )
                return False
        elif keys.knows(user_name, key):
            login = key_login(user_name, key)
        else:
            return False
        self._offer = (user_name, login.key, login)
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._is_offer(username, key, by_certificate=False)

    def validate_ca_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._is_offer(username, key, by_certificate=True)

    def _is_offer(self, user_name: str, key: asyncssh.SSHKey, *, by_certificate: bool) -> bool:
        if self._offer is None:
            return False
        offered_name, offered_key, login = self._offer
        return (offered_name, offered_key, login.by_certificate) == (
            user_name,
            key.public_data,
            by_certificate,
        )

    def auth_completed(self) -> None:
        if self._offer is None or self._connection is None:
            self.disconnect("the login is not complete")
            return
        login = self._offer[2]
        if not self._server.keys.still_allow(login):
            self.disconnect("this login is no longer valid")
            return
        self.login = login
        self._server.authenticated(self._connection)
        # As sshd words it (auth.c), so that what reads its log reads this one.
        log.info(
            "Accepted publickey for %s from %s port %d ssh2: %s",
            login.user_name,
            self.peer or "UNKNOWN",
            self._port,
            login.shown,
        )

    # Forwards.

    async def server_requested(self, listen_host: str, listen_port: int) -> asyncssh.SSHListener:
        """A ``tcpip-forward``; the answer is a listener, or a refusal."""
        try:
            return await self._accept_forward(listen_host, listen_port)
        except TunnelRefused as refusal:
            self._server.refusals.write("forward from %s refused: %s", self.peer, refusal)
            for screen in self.screens:
                screen.show(f"Refused: {refusal}.")
        except OSError as error:
            log.warning("tunnel endpoint cannot be made: %s", error)
        return False  # type: ignore[return-value] # the library takes False for a refusal

    async def _accept_forward(self, address: str, port: int) -> asyncssh.SSHListener:
        state, login, connection = self._server.state, self.login, self._connection
        if state is None or login is None or connection is None:
            raise TunnelRefused("not-ready", "this edge knows no tunnels yet")
        if len(self.forwards) >= MAX_FORWARDS:
            raise TunnelRefused("too-many-forwards", "too many forwards in one connection")
        table = self._server.table
        asked = (address, port)
        tunnel = requested_tunnel(
            self._server.tunnels, state.sockets, login, asked, table.connected()
        )
        carrier = _Carrier(connection, self._server.open_deadline)
        forward = Forward(tunnel, carrier, asked, self._lost, self._let_go)
        self.forwards.append(forward)
        self._place()
        try:
            await forward.attach(table, self.peer)
        except OSError:
            self._let_go(forward)
            raise
        # The state may have changed, or the client gone, while the endpoint was made.
        if self._connection is None or not self._server.serves(tunnel):
            forward.close()
            raise TunnelRefused("forward-unknown", "this tunnel was removed")
        for screen in self.screens:
            for line in self._server.banner(tunnel):
                screen.show(line)
        return forward

    def _let_go(self, forward: Forward) -> None:
        with contextlib.suppress(ValueError):
            self.forwards.remove(forward)
        self._place()

    def _lost(self, forward: Forward, reason: str) -> None:
        self._let_go(forward)
        if not self.forwards:
            self.disconnect(reason)
            return
        for screen in self.screens:
            screen.show(f"Tunnel {forward.tunnel.tunnel_id} ended: {reason}.")

    # Screens.

    def session_requested(self) -> LogScreen | bool:
        if self._sessions >= MAX_SESSIONS:
            return False
        self._sessions += 1
        return LogScreen(self._welcome, self._screen_opened, self._screen_closed, self._interrupted)

    def _welcome(self) -> list[str]:
        lines = ["Welcome to mysocket."]
        for forward in self.forwards:
            lines += self._server.banner(forward.tunnel)
        return lines

    def _screen_opened(self, screen: LogScreen) -> None:
        self.screens.append(screen)
        self._place()

    def _screen_closed(self, screen: LogScreen) -> None:
        self._sessions -= 1
        if screen in self.screens:
            self.screens.remove(screen)
            self._place()

    def _place(self) -> None:
        """Forwards or screens changed: say whose lines are seen here."""
        served = {forward.tunnel.socket_id for forward in self.forwards} if self.screens else set()
        self._server.audience.place(self, served)

    def _interrupted(self) -> None:
        self.disconnect("interrupted at the terminal")


class _Carrier:
    """The connection as its streams see it."""

    def __init__(self, connection: TunnelConnection, open_deadline: float) -> None:
        self._connection = connection
        version = str(connection.get_extra_info("client_version", "")).lower()
        self.holds_transport = NARROW_READERS in version
        self.open_deadline = open_deadline
        self._window = HUGE_WINDOW if self.holds_transport else WINDOW
        self.hold = connection.hold
        self.release = connection.release

    async def open_stream(
        self, session: Callable[[], asyncssh.SSHTCPSession[bytes]], address: str, port: int
    ) -> asyncssh.SSHTCPChannel[bytes]:
        """A channel to the origin's client.

        Raises:
            asyncssh.ChannelOpenError: the client refuses, or is gone.
        """
        channel, _ = await self._connection.create_connection(
            session, address, port, *ORIGINATOR, window=self._window
        )
        return channel
