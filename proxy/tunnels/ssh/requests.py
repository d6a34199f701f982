"""Which tunnel a ``tcpip-forward`` request (RFC 4254 §7.1) means."""

from collections.abc import Container

from proxy.errors import TunnelRefused
from proxy.state import EdgeState, EdgeTunnel
from proxy.tunnels.ssh.login import Login

LOOPBACK_SPELLINGS = frozenset({"localhost", "127.0.0.1", "::1", ""})
"""What clients put where an address belongs: OpenSSH a name, Go an address, some nothing. No
address is bound for any of them; the one asked for is repeated in every stream's opening."""


def requested_tunnel(
    state: EdgeState, login: Login, address: str, port: int, busy: Container[str]
) -> EdgeTunnel:
    """The login's own tunnel with this ``local_port``; port 0 leaves the choice to the certificate.

    Of several possible ones the first that is not ``busy`` (ids of connected tunnels) is taken.

    Raises:
        TunnelRefused: ``forward-address``, not a loopback spelling; ``forward-unknown``, no tunnel
            of this login answers to the port.
    """
    if address not in LOOPBACK_SPELLINGS:
        raise TunnelRefused("forward-address", "only localhost can be forwarded")
    mine = [
        tunnel
        for tunnel in state.tunnels.values()
        if tunnel.user_name == login.user_name
        and login.socket_id in {None, tunnel.socket_id}
        and login.tunnel_id in {None, tunnel.tunnel_id}
        and tunnel.socket_id in state.sockets
    ]
    if port == 0:
        candidates = mine if login.socket_id is not None else []
    else:
        candidates = [tunnel for tunnel in mine if tunnel.local_port == port]
    if not candidates:
        raise TunnelRefused("forward-unknown", f"this account has no tunnel with port {port}")
    return min(candidates, key=lambda tunnel: (tunnel.tunnel_id in busy, tunnel.tunnel_id))
