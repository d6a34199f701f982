"""TCP and TLS sockets: a listener per port, and bytes straight to a tunnel."""

from collections.abc import Sequence
from typing import Any

from policy.types import SocketType
from proxy.envoy import tls
from proxy.envoy.log_format import stream_log
from proxy.envoy.names import CLOSED_CHAIN, stream_cluster
from proxy.envoy.settings import EnvoySettings
from proxy.envoy.sockets import address, keepalive
from proxy.envoy.source_chains import Part
from proxy.state import EdgeSocket

_TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def stream_listener(
    socket: EdgeSocket, port: int, parts: Sequence[Part], settings: EnvoySettings
) -> dict[str, Any]:
    """The listener of one port of a TCP or TLS socket; ``parts`` says who may come from where.

    There is at least one part: a listener without a chain is none to Envoy.
    """
    of_tls = socket.socket_type is SocketType.TLS
    return {
        **(tls.inspection(settings.handshake_timeout) if of_tls else {}),
        "name": f"{stream_cluster(socket.socket_id)}:{port}",
        "stat_prefix": "streams",
        "address": address(settings.listen_address, port),
        "socket_options": keepalive(),
        "filter_chains": [_chain(socket, part, settings) for part in parts],
        "access_log": [stream_log(settings.request_log, socket)],
    }


def _chain(socket: EdgeSocket, part: Part, settings: EnvoySettings) -> dict[str, Any]:
    chain: dict[str, Any] = {"filters": [_tcp_proxy(socket, settings)]}
    if part.closed:
        # A chain without filters closes what comes to it, before any handshake.
        chain = {"name": CLOSED_CHAIN}
    match = part.match()
    if socket.socket_type is SocketType.TLS:
        # The certificate is good for every name of the product, and browsers send a name's cookies
        # to all its ports: under any other name the owner could collect other people's sessions.
        match = {"server_names": [socket.dns_name], **match}
        if not part.closed:
            chain |= _handshake(socket, part, settings)
    if match:
        chain["filter_chain_match"] = match
    return chain


def _handshake(socket: EdgeSocket, part: Part, settings: EnvoySettings) -> dict[str, Any]:
    identity = socket.identity_required
    server = tls.identity_server(socket, part.source_ids) if identity else tls.open_server()
    return {
        "transport_socket": server,
        "transport_socket_connect_timeout": f"{settings.handshake_timeout}s",
    }


def _tcp_proxy(socket: EdgeSocket, settings: EnvoySettings) -> dict[str, Any]:
    config: dict[str, Any] = {
        "@type": _TCP_PROXY,
        "stat_prefix": "streams",
        "cluster": stream_cluster(socket.socket_id),
        "idle_timeout": f"{settings.tcp_idle_timeout}s",
        "max_connect_attempts": 3,
    }
    if socket.socket_type is SocketType.TLS:
        # The default dials the origin before the handshake has succeeded.
        config["upstream_connect_mode"] = "ON_DOWNSTREAM_TLS_HANDSHAKE"
        config["max_early_data_bytes"] = 0
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}
