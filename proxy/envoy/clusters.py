"""One cluster per socket: where its tunnels end, and what its requests must prove."""

import base64
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from policy.types import SocketType
from proxy.envoy.names import (
    AUTHORIZE_CLUSTER,
    GATEWAY_CLUSTER,
    LONG_CLUSTER,
    METADATA,
    stream_cluster,
)
from proxy.envoy.retries import HOW_OFTEN, how_often, where_nothing_was_sent
from proxy.envoy.settings import EnvoySettings
from proxy.envoy.tls import blind_client, verified_client
from proxy.state import BasicAuth, EdgeSocket

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_SYSTEM_CAS = "/etc/ssl/certs/ca-certificates.crt"


class Mode(StrEnum):
    """What an HTTP socket asks of a request."""

    PUBLIC = "public"
    BASIC = "basic"
    IDENTITY = "identity"
    IDENTITY_AND_BASIC = "identity-and-basic"


def mode(socket: EdgeSocket) -> Mode:
    """What the socket's owner asked for, as one word."""
    if socket.identity_required:
        return Mode.IDENTITY_AND_BASIC if socket.basic_auth else Mode.IDENTITY
    return Mode.BASIC if socket.basic_auth else Mode.PUBLIC


def http_cluster(
    socket: EdgeSocket, endpoints: Sequence[str], settings: EnvoySettings
) -> dict[str, Any]:
    """The cluster of an HTTP or HTTPS socket, found through the Host header by its DNS name."""
    public_name = socket.dns_name + settings.public_port_suffix
    origin_name = socket.upstream_http_hostname or public_name
    cluster = _cluster(socket.dns_name, endpoints, settings, hostname=origin_name)
    cluster["metadata"] = {
        "filter_metadata": {METADATA: _metadata(socket, public_name, len(endpoints))}
    }
    options = _http_options(settings.origin_idle_timeout)
    if len(endpoints) < 2:
        # Counts instead of the route's: what was sent would be sent to the same tunnel again.
        options[_HTTP_OPTIONS]["retry_policy"] = where_nothing_was_sent()
    cluster["typed_extension_protocol_options"] = options
    if socket.socket_type is SocketType.HTTPS:
        cluster["transport_socket"] = blind_client(
            (socket.upstream_http_hostname or socket.dns_name).partition(":")[0]
        )
    return cluster


def tcp_cluster(
    socket: EdgeSocket, endpoints: Sequence[str], settings: EnvoySettings
) -> dict[str, Any]:
    """The cluster of a TCP or TLS socket."""
    return _cluster(stream_cluster(socket.socket_id), endpoints, settings)


def gateway_clusters(settings: EnvoySettings) -> list[dict[str, Any]]:
    """The gateway: for its own pages, for ``ext_authz``, for long bodies, each with its limits."""
    most, most_long = settings.gateway_connections, settings.gateway_long_bodies
    limits = {GATEWAY_CLUSTER: most, AUTHORIZE_CLUSTER: most, LONG_CLUSTER: most_long}
    return [_gateway_cluster(name, settings, limit) for name, limit in limits.items()]


def _gateway_cluster(name: str, settings: EnvoySettings, limit: int) -> dict[str, Any]:
    upstream = settings.gateway
    if upstream.unix_path is not None:
        address = _pipe(str(upstream.unix_path))
    else:
        address = {"socket_address": {"address": upstream.host, "port_value": upstream.port}}
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STATIC" if upstream.unix_path else "STRICT_DNS",
        "connect_timeout": f"{settings.connect_timeout}s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": _limits(limit),
        "typed_extension_protocol_options": _http_options(settings.origin_idle_timeout),
    }
    if upstream.tls_server_name:
        cluster["transport_socket"] = verified_client(
            upstream.tls_server_name, str(upstream.tls_ca_file or _SYSTEM_CAS)
        )
    return cluster


def basic_credential(credential: BasicAuth) -> str:
    """The one ``Authorization`` value that opens a protected socket (RFC 7617 §2, UTF-8)."""
    pair = f"{credential.username}:{credential.password}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def _metadata(socket: EdgeSocket, public_name: str, tunnels: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "mode": mode(socket).value,
        "epoch": socket.epoch,
        HOW_OFTEN: how_often(tunnels),
        "origin": f"https://{public_name}",
    }
    if socket.basic_auth is not None:
        metadata["basic"] = basic_credential(socket.basic_auth)
    return metadata


def _cluster(
    name: str, endpoints: Sequence[str], settings: EnvoySettings, *, hostname: str = ""
) -> dict[str, Any]:
    named = {"hostname": hostname} if hostname else {}
    ends = [{"endpoint": {"address": _pipe(path), **named}} for path in endpoints]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": f"{settings.connect_timeout}s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": ends}] if ends else [],
        },
        # One socket may use as much as the edge has: Envoy's own limit is 1 024 connections each.
        "circuit_breakers": _limits(settings.max_connections),
    }


def _pipe(path: str) -> dict[str, Any]:
    return {"pipe": {"path": path}}


def _limits(most: int) -> dict[str, Any]:
    limits = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [dict.fromkeys(limits, most)]}


def _http_options(idle_timeout: float) -> dict[str, dict[str, Any]]:
    return {
        _HTTP_OPTIONS: {
            "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
            "common_http_protocol_options": {"idle_timeout": f"{idle_timeout}s"},
            "explicit_http_config": {"http_protocol_options": {}},
        }
    }
