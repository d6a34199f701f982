"""Which connection serves each tunnel of this edge: one unix socket per tunnel, newest wins.

A new endpoint is bound under a temporary name and moved onto the tunnel's path by ``rename(2)``, so
Envoy's next connection reaches the old or the new client, and there is no moment without one.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from proxy.clock import Clock
from proxy.state import EdgeTunnel

BACKLOG = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedTunnel:
    """A tunnel with a live client."""

    tunnel_id: str
    socket_id: str
    path: Path
    """The unix socket that leads to the origin."""
    connected_at: datetime
    peer: str
    """Address of the client, without its port."""


class Endpoint:
    """One client's hold of one tunnel; ended by ``TunnelTable`` alone."""

    def __init__(
        self, connected: ConnectedTunnel, tunnel: EdgeTunnel, on_lost: Callable[[str], None]
    ) -> None:
        self.connected = connected
        self.tunnel = tunnel
        self.on_lost = on_lost
        """Told, with the reason as a sentence, when another connection took the tunnel over or
        the state no longer has it."""
        self.server: asyncio.AbstractServer | None = None


class TunnelTable:
    """The endpoints of one edge, whatever backend they came through."""

    def __init__(
        self, folder: Path, clock: Clock, on_change: Callable[[ConnectedTunnel], None]
    ) -> None:
        """``on_change`` is told, after every attach and detach, whose it was."""
        self._folder = folder
        self._clock = clock
        self._on_change = on_change
        self._endpoints: dict[str, Endpoint] = {}
        self._connected: dict[str, ConnectedTunnel] = {}
        self._of_socket: dict[str, dict[str, ConnectedTunnel]] = {}

    def prepare(self) -> None:
        """Make the folder (0700) and clear what an earlier run left in it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        for leftover in self._folder.iterdir():
            leftover.unlink()

    def connected(self) -> Mapping[str, ConnectedTunnel]:
        """Every tunnel that has a live client, by tunnel id; a view that follows the table."""
        return MappingProxyType(self._connected)

    def of_socket(self, socket_id: str) -> list[ConnectedTunnel]:
        """The socket's tunnels that have a live client, in the order of their ids."""
        found = self._of_socket.get(socket_id, {})
        return [found[tunnel_id] for tunnel_id in sorted(found)]

    async def attach(
        self,
        tunnel: EdgeTunnel,
        peer: str,
        protocol: Callable[[], asyncio.BaseProtocol],
        on_lost: Callable[[str], None],
    ) -> Endpoint:
        """Lead the tunnel's path to ``protocol`` from now on; an older holder is told and ended.

        Raises:
            OSError: the socket cannot be made.
        """
        path = self._folder / f"{tunnel.tunnel_id}.sock"
        connected = ConnectedTunnel(
            tunnel_id=tunnel.tunnel_id,
            socket_id=tunnel.socket_id,
            path=path,
            connected_at=self._clock(),
            peer=peer,
        )
        endpoint = Endpoint(connected, tunnel, on_lost)
        temporary = self._folder / f".{secrets.token_hex(6)}"
        listener = _listen(temporary)
        try:
            loop = asyncio.get_running_loop()
            endpoint.server = await loop.create_unix_server(protocol, sock=listener)
            temporary.rename(path)
        except BaseException:
            listener.close()
            temporary.unlink(missing_ok=True)
            raise
        older = self._endpoints.get(tunnel.tunnel_id)
        if older is not None:
            self._forget(older.connected)
        self._endpoints[tunnel.tunnel_id] = endpoint
        self._connected[tunnel.tunnel_id] = connected
        self._of_socket.setdefault(tunnel.socket_id, {})[tunnel.tunnel_id] = connected
        if older is not None:
            _end(older, "another connection took this tunnel over")
            if older.connected.socket_id != tunnel.socket_id:
                self._on_change(older.connected)
        self._on_change(connected)
        return endpoint

    def detach(self, endpoint: Endpoint) -> None:
        """The client let go, or is gone; does nothing if somebody else holds the tunnel."""
        if self._endpoints.get(endpoint.connected.tunnel_id) is not endpoint:
            return
        del self._endpoints[endpoint.connected.tunnel_id]
        self._forget(endpoint.connected)
        with contextlib.suppress(OSError):
            endpoint.connected.path.unlink()
        _close_server(endpoint)
        self._on_change(endpoint.connected)

    def _forget(self, connected: ConnectedTunnel) -> None:
        del self._connected[connected.tunnel_id]
        same_socket = self._of_socket[connected.socket_id]
        del same_socket[connected.tunnel_id]
        if not same_socket:
            del self._of_socket[connected.socket_id]

    def revoke(self, endpoint: Endpoint, reason: str) -> None:
        """The state no longer allows this endpoint: tell its holder and end it."""
        self.detach(endpoint)
        endpoint.on_lost(reason)

    def close(self) -> None:
        """End every endpoint."""
        for endpoint in list(self._endpoints.values()):
            self.detach(endpoint)


def _end(endpoint: Endpoint, reason: str) -> None:
    _close_server(endpoint)
    endpoint.on_lost(reason)


def _close_server(endpoint: Endpoint) -> None:
    if endpoint.server is not None:
        endpoint.server.close()
        endpoint.server = None


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
        listener.settimeout(0)
    except BaseException:
        listener.close()
        raise
    return listener
