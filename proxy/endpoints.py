"""Which unix sockets lead to each socket's origins, kept up to date change by change."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from proxy.state import EdgeState, EdgeTunnel, changed_keys
from proxy.tunnels.table import TunnelTable


class EndpointPaths:
    """Paths by socket id, of connected tunnels that the state has, in the order of their ids."""

    def __init__(self, table: TunnelTable) -> None:
        self._table = table
        self._tunnels: Mapping[str, EdgeTunnel] = {}
        self._touched: set[str] = set()
        self._paths: dict[str, tuple[str, ...]] = {}
        self.paths: Mapping[str, tuple[str, ...]] = MappingProxyType(self._paths)
        """A view that follows ``renew``."""

    def touch(self, socket_id: str) -> None:
        """A tunnel of this socket was attached or detached."""
        self._touched.add(socket_id)

    def renew(self, state: EdgeState) -> frozenset[str]:
        """Take a state and what was touched; ids of the sockets whose paths are others now."""
        touched, self._touched = self._touched, set()
        for tunnel_id in changed_keys(self._tunnels, state.tunnels):
            both = (self._tunnels.get(tunnel_id), state.tunnels.get(tunnel_id))
            touched.update(tunnel.socket_id for tunnel in both if tunnel is not None)
        self._tunnels = state.tunnels
        return frozenset(self._changed(touched))

    def _changed(self, socket_ids: Iterable[str]) -> Iterable[str]:
        for socket_id in socket_ids:
            paths = tuple(
                str(one.path)
                for one in self._table.of_socket(socket_id)
                if self._belongs(one.tunnel_id, socket_id)
            )
            if paths == self._paths.get(socket_id, ()):
                continue
            if paths:
                self._paths[socket_id] = paths
            else:
                del self._paths[socket_id]
            yield socket_id

    def _belongs(self, tunnel_id: str, socket_id: str) -> bool:
        tunnel = self._tunnels.get(tunnel_id)
        return tunnel is not None and tunnel.socket_id == socket_id
