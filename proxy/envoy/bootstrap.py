"""Envoy's starting configuration: where to get everything else, and limits on the whole."""

from typing import Any

from proxy.envoy.clusters import gateway_clusters
from proxy.envoy.names import DISCOVERY_CLUSTER
from proxy.envoy.settings import EnvoySettings

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CONNECTIONS = (
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
)


def bootstrap(settings: EnvoySettings) -> dict[str, Any]:
    """The bootstrap as data. It holds no secret."""
    from_stream = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": "edge", "cluster": "edge"},
        "admin": {"address": {"pipe": {"path": str(settings.admin_socket), "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": DISCOVERY_CLUSTER}}],
            },
            "cds_config": from_stream,
            "lds_config": from_stream,
        },
        "static_resources": {"clusters": [_discovery(settings), *gateway_clusters(settings)]},
        # Ten thousand sockets would otherwise cost a second and 260 MB in counters nobody reads,
        # and every request its share: who reached what is in the request log.
        "stats_config": {
            "stats_matcher": {
                "exclusion_list": {
                    "patterns": [{"prefix": kind} for kind in ("cluster.", "http.", "listener.")]
                }
            }
        },
        "layered_runtime": {
            "layers": [
                # Envoy's own 100 guards against foreign expressions; ours are constants.
                {"name": "fixed", "static_layer": {"re2.max_program_size.error_level": 1000}},
            ]
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"type.googleapis.com/{_CONNECTIONS}",
                        "max_active_downstream_connections": settings.max_connections,
                    },
                }
            ]
        },
    }


def _discovery(settings: EnvoySettings) -> dict[str, Any]:
    end = {"endpoint": {"address": {"pipe": {"path": str(settings.discovery_socket)}}}}
    return {
        "name": DISCOVERY_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": DISCOVERY_CLUSTER,
            "endpoints": [{"lb_endpoints": [end]}],
        },
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        "connection_keepalive": {"interval": "10s", "timeout": "5s"}
                    }
                },
            }
        },
    }
