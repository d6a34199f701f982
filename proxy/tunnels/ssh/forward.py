"""One accepted ``tcpip-forward``: a tunnel's endpoint and the streams that run through it."""

import contextlib
from collections.abc import Callable

import asyncssh

from proxy.state import EdgeTunnel
from proxy.tunnels.ssh.stream import OriginStream, StreamCarrier
from proxy.tunnels.table import Endpoint, TunnelTable


class Forward(asyncssh.SSHListener):
    """What the library, the table and the client's connection know of a forward."""

    def __init__(
        self,
        tunnel: EdgeTunnel,
        carrier: StreamCarrier,
        asked: tuple[str, int],
        on_lost: Callable[["Forward", str], None],
        on_close: Callable[["Forward"], None],
    ) -> None:
        """``asked`` is the address and port of the request, repeated to the client as they are."""
        super().__init__()
        self.tunnel = tunnel
        self._carrier = carrier
        self._address, port = asked
        self._port = port or tunnel.local_port
        self._on_lost = on_lost
        self._on_close = on_close
        self._streams: set[OriginStream] = set()
        self._table: TunnelTable | None = None
        self._endpoint: Endpoint | None = None

    async def attach(self, table: TunnelTable, peer: str) -> None:
        """Take the tunnel, from whoever holds it.

        Raises:
            OSError: the endpoint cannot be made.
        """
        self._endpoint = await table.attach(self.tunnel, peer, self._stream, self._lost)
        self._table = table

    def detach(self) -> None:
        """Let the tunnel go; open streams go on."""
        if self._table is not None and self._endpoint is not None:
            self._table.detach(self._endpoint)

    def revoke(self, reason: str) -> None:
        """The state no longer has this tunnel for this client."""
        if self._table is not None and self._endpoint is not None:
            self._table.revoke(self._endpoint, reason)

    def get_port(self) -> int:
        """The port told to a client that asked for port 0."""
        return self._port

    def close(self) -> None:
        """The client cancelled the forward, or is gone."""
        self.detach()
        self._on_close(self)

    async def wait_closed(self) -> None:
        """Closing takes no time."""

    def _stream(self) -> OriginStream:
        stream = OriginStream(self._carrier, self._address, self._port, self._streams.discard)
        self._streams.add(stream)
        return stream

    def _lost(self, reason: str) -> None:
        for stream in list(self._streams):
            with contextlib.suppress(OSError):
                stream.abort()
        self._on_lost(self, reason)
