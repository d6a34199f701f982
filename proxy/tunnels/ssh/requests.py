"""Which tunnel a ``tcpip-forward`` request (RFC 4254 §7.1) means."""

from collections.abc import Container, Hashable, Mapping

from proxy.errors import TunnelRefused
from proxy.state import EdgeTunnel, changed_keys
from proxy.tunnels.ssh.login import Login

LOOPBACK_SPELLINGS = frozenset({"localhost", "127.0.0.1", "::1", ""})
"""What clients put where an address belongs: OpenSSH a name, Go an address, some nothing. No
address is bound for any of them; the one asked for is repeated in every stream's opening."""


class TunnelIndex:
    """The tunnels of a state by owner and port, and by owner and socket.

    Follows states by what changed between them, so that neither a change nor a request looks at
    every tunnel of the edge.
    """

    def __init__(self) -> None:
        self._tunnels: Mapping[str, EdgeTunnel] = {}
        self._found: dict[Hashable, dict[str, EdgeTunnel]] = {}

    def follow(self, tunnels: Mapping[str, EdgeTunnel]) -> bool:
        """Take the tunnels of a new state; whether one known before is gone or another now."""
        lost = False
        for tunnel_id in changed_keys(self._tunnels, tunnels):
            if (old := self._tunnels.get(tunnel_id)) is not None:
                self._remove(old)
                lost = True
            if (new := tunnels.get(tunnel_id)) is not None:
                for key in _keys(new):
                    self._found.setdefault(key, {})[tunnel_id] = new
        self._tunnels = tunnels
        return lost

    def _remove(self, tunnel: EdgeTunnel) -> None:
        for key in _keys(tunnel):
            del self._found[key][tunnel.tunnel_id]
            if not self._found[key]:
                del self._found[key]

    def candidates(self, login: Login, port: int) -> list[EdgeTunnel]:
        """Tunnels of this login with this port; port 0 means any, of the certificate's socket."""
        if port != 0:
            found = self._found.get((login.user_name, port), {})
        elif login.socket_id is not None:
            found = self._found.get((login.user_name, login.socket_id), {})
        else:
            found = {}
        return [
            tunnel
            for tunnel in found.values()
            if login.socket_id in {None, tunnel.socket_id}
            and login.tunnel_id in {None, tunnel.tunnel_id}
        ]


def _keys(tunnel: EdgeTunnel) -> tuple[Hashable, Hashable]:
    """A port is a number and a socket id a string: the two cannot be mistaken for each other."""
    return (tunnel.user_name, tunnel.local_port), (tunnel.user_name, tunnel.socket_id)


def requested_tunnel(
    tunnels: TunnelIndex,
    sockets: Container[str],
    login: Login,
    asked: tuple[str, int],
    busy: Container[str],
) -> EdgeTunnel:
    """The login's own tunnel with the ``local_port`` that was ``asked`` for (address and port);
    port 0 leaves the choice to the certificate.

    Only tunnels of these ``sockets`` count. Of several possible ones the first that is not ``busy``
    (ids of connected tunnels) is taken.

    Raises:
        TunnelRefused: ``forward-address``, not a loopback spelling; ``forward-unknown``, no tunnel
            of this login answers to the port.
    """
    address, port = asked
    if address not in LOOPBACK_SPELLINGS:
        raise TunnelRefused("forward-address", "only localhost can be forwarded")
    candidates = [one for one in tunnels.candidates(login, port) if one.socket_id in sockets]
    if not candidates:
        raise TunnelRefused("forward-unknown", f"this account has no tunnel with port {port}")
    return min(candidates, key=lambda tunnel: (tunnel.tunnel_id in busy, tunnel.tunnel_id))
