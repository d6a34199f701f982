"""What a way of tunnelling (``ssh`` today) must do: the contract of a backend.

A backend accepts connections of clients, proves whose they are from the ``EdgeState`` alone, and
attaches each tunnel they serve to the edge's ``TunnelTable``, which makes one unix socket per
tunnel and lets the newest connection have it. The suite in
``tests/contracts/test_tunnel_backend.py`` is this contract in executable form, and every backend
passes it.

A backend made by somebody else registers under the entry point group ``mysocket.tunnels``.
"""

from typing import Protocol

from proxy.state import EdgeState


class TunnelBackend(Protocol):
    """One kind of tunnel server. All methods run in the edge's event loop."""

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
