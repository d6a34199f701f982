"""The HTTPS listener (gateway pages and every HTTP socket) and the HTTP one that redirects to it.

TLS server names part the two halves: a connection opened for a gateway name can reach nothing but
the gateway, one opened for anything else nothing but sockets.
"""

from typing import Any

from proxy.envoy import retries, tls
from proxy.envoy.filters import http_filters, router, whole_requests
from proxy.envoy.gateway_routes import gateway_routes
from proxy.envoy.headers import (
    client_headers,
    early_mutation,
    edge_key,
    overwrite,
    transport_security,
)
from proxy.envoy.log_format import http_log
from proxy.envoy.names import METADATA
from proxy.envoy.replies import GATEWAY_REPLIES, local_replies
from proxy.envoy.settings import EnvoySettings
from proxy.envoy.sockets import address, keepalive
from proxy.state import Trust

_HCM = (
    "type.googleapis.com/envoy.extensions.filters.network."
    "http_connection_manager.v3.HttpConnectionManager"
)
_UNTOLD = [
    "x-envoy-internal",
    "x-envoy-external-address",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-original-path",
]
"""Headers of Envoy's own that are nobody's business upstream."""


def https_listener(trust: Trust, settings: EnvoySettings) -> dict[str, Any]:
    """One listener for all names; sockets come and go without touching it."""
    chains: list[dict[str, Any]] = [
        {
            "name": "gateway",
            "filter_chain_match": {"server_names": list(settings.gateway_names)},
            "filters": [_gateway_connections(settings)],
        },
        {"name": "sockets", "filters": [_socket_connections(trust, settings)]},
    ]
    return {
        "name": "https",
        "stat_prefix": "https",
        "address": address(settings.listen_address, settings.https_port),
        "socket_options": keepalive(),
        "per_connection_buffer_limit_bytes": 1 << 20,
        **tls.inspection(settings.handshake_timeout),
        "filter_chains": [
            {
                **chain,
                "transport_socket": tls.web_server(),
                "transport_socket_connect_timeout": f"{settings.handshake_timeout}s",
            }
            for chain in chains
        ],
    }


def http_listener(settings: EnvoySettings) -> dict[str, Any]:
    """Answers everything with a redirect to HTTPS, for names that are ours."""
    ours = [*settings.gateway_names, f"*.{settings.edge_domain}"]
    redirect = {
        "https_redirect": True,
        "port_redirect": settings.public_https_port or settings.https_port,
        "response_code": "PERMANENT_REDIRECT",
    }
    hosts = [
        {
            "name": "ours",
            "domains": ours,
            "routes": [{"match": {"prefix": "/"}, "redirect": redirect}],
        },
        _not_ours(404),
    ]
    connections = _connections("http", hosts, [router()], settings)
    return {
        "name": "http",
        "stat_prefix": "http",
        "address": address(settings.listen_address, settings.http_port),
        "socket_options": keepalive(),
        "filter_chains": [{"filters": [connections]}],
    }


def _socket_connections(trust: Trust, settings: EnvoySettings) -> dict[str, Any]:
    """No path decides anything but whether it is the product's, and then asking is the stricter
    way; so ``%2F`` and doubled slashes reach the origin as sent, which file and calendar servers
    need. Dot segments are resolved first.
    """
    host = {
        "name": "sockets",
        "domains": [f"*.{settings.edge_domain}"],
        "routes": [_reading_route(), _socket_route(retries.where_nothing_was_sent())],
        "request_headers_to_add": [
            *client_headers(),
            overwrite("x-forwarded-host", "%REQ(:AUTHORITY)%" + settings.public_port_suffix),
        ],
        "request_headers_to_remove": _UNTOLD,
        "response_headers_to_add": transport_security(settings),
    }
    connections = _connections(
        "sockets", [host, _not_ours(404)], http_filters(trust, settings), settings
    )
    config = connections["typed_config"]
    config["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    config["access_log"] = [http_log(settings.request_log)]
    config["local_reply_config"] = local_replies()
    return connections


def _reading_route() -> dict[str, Any]:
    """For requests that may be made twice; where a socket has one tunnel, its cluster says no."""
    route = _socket_route(retries.where_nothing_changes())
    route["match"]["headers"] = retries.only_reading()
    # Envoy obeys this instead of the policy's number, and takes it out again.
    times = overwrite("x-envoy-max-retries", f"%CLUSTER_METADATA({METADATA}:{retries.HOW_OFTEN})%")
    route["request_headers_to_add"] = [times]
    return route


def _socket_route(retry_policy: dict[str, Any]) -> dict[str, Any]:
    """To the cluster that bears the Host's name."""
    return {
        "match": {"prefix": "/"},
        "route": {
            "cluster_header": ":authority",
            "cluster_not_found_response_code": "SERVICE_UNAVAILABLE",
            "auto_host_rewrite": True,
            "timeout": "0s",
            "retry_policy": retry_policy,
        },
        "per_request_buffer_limit_bytes": 1 << 16,
    }


def _gateway_connections(settings: EnvoySettings) -> dict[str, Any]:
    host = {
        "name": "gateway",
        "domains": list(settings.gateway_names),
        "routes": gateway_routes(settings),
        "request_headers_to_add": [*client_headers(), edge_key(settings.edge_key)],
        "response_headers_to_add": transport_security(settings),
        "request_headers_to_remove": _UNTOLD,
    }
    filters = [whole_requests(settings), router()]
    connections = _connections("gateway", [host, _not_ours(421)], filters, settings)
    config = connections["typed_config"]
    config["request_timeout"] = f"{settings.gateway_long_timeout}s"
    config["stream_flush_timeout"] = f"{settings.gateway_keep_timeout}s"
    config["http2_protocol_options"] |= {
        "max_concurrent_streams": settings.gateway_streams,
        # Envoy keeps as much of an answer as it would of a request.
        "initial_stream_window_size": settings.gateway_answer_bytes,
    }
    config["merge_slashes"] = True
    config["path_with_escaped_slashes_action"] = "REJECT_REQUEST"
    config["local_reply_config"] = local_replies(GATEWAY_REPLIES)
    return connections


def _not_ours(status: int) -> dict[str, Any]:
    return {
        "name": "not-ours",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": status}}],
    }


def _connections(
    name: str, hosts: list[dict[str, Any]], filters: list[dict[str, Any]], settings: EnvoySettings
) -> dict[str, Any]:
    config = {
        "@type": _HCM,
        "stat_prefix": name,
        "route_config": {"name": name, "virtual_hosts": hosts},
        "http_filters": filters,
        "early_header_mutation_extensions": [early_mutation()],
        "common_http_protocol_options": {
            "headers_with_underscores_action": "DROP_HEADER",
            "max_headers_count": 100,
            "idle_timeout": f"{settings.keepalive_timeout}s",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 1 << 18,
            "initial_connection_window_size": 1 << 20,
        },
        "max_request_headers_kb": 60,
        "request_headers_timeout": f"{settings.request_headers_timeout}s",
        "stream_idle_timeout": f"{settings.stream_idle_timeout}s",
        "use_remote_address": True,
        "xff_num_trusted_hops": settings.trusted_hops,
        "strip_any_host_port": True,
        "strip_trailing_host_dot": True,
        "normalize_path": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": False,
        "preserve_external_request_id": True,
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}
