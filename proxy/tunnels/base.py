"""What a way of tunnelling (``ssh`` today) must do: the contract of a backend.

A backend accepts connections of clients, proves whose they are from the ``EdgeState`` alone, and
attaches each tunnel they serve to the edge's ``TunnelTable``, which makes one unix socket per
tunnel and lets the newest connection have it. The suite in
``tests/contracts/test_tunnel_backend.py`` is this contract in executable form, and every backend
passes it.

The settings name the backends of an edge. One made by somebody else is found by its entry point in
the group ``mysocket.tunnels``, which is a ``MakeBackend`` under the backend's name.
"""

from collections.abc import Callable
from typing import Protocol

from proxy.clock import Clock
from proxy.settings import EdgeSettings
from proxy.state import EdgeState
from proxy.tunnels.table import TunnelTable

ENTRY_POINT_GROUP = "mysocket.tunnels"


class TunnelBackend(Protocol):
    """One kind of tunnel server. All methods run in the edge's event loop."""

    @property
    def ssh_host_key(self) -> str:
        """The server's public key for the gateway to give to clients; empty if it has none."""

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the address is taken or not ours.
        """

    def apply(self, state: EdgeState) -> None:
        """Take a new state; what it no longer allows (a tunnel, a key, a CA) is cut at once."""

    def log(self, socket_id: str, line: str) -> None:
        """Show a line of printable ASCII to every client that serves this socket.

        Never waits: a client that does not read loses lines, and is told how many.
        """

    def watched(self, socket_id: str) -> bool:
        """Whether a line for this socket would be shown to anybody; as cheap as it can be."""

    async def close(self) -> None:
        """Stop listening and end every connection."""


MakeBackend = Callable[[EdgeSettings, TunnelTable, Clock], TunnelBackend]
"""Makes a backend that has not been started, from the edge's settings, the table to attach tunnels
to and the clock. Raises ``SettingsError`` if the settings do not do."""
