"""Envoy's starting configuration: where to get everything else, and limits on the whole."""

from typing import Any

from proxy.envoy.clusters import gateway_clusters
from proxy.envoy.names import DISCOVERY_CLUSTER
from proxy.envoy.settings import EnvoySettings

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CONNECTIONS = (
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
)
_HEAP = "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"


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
        "overload_manager": _overload(settings),
    }


def _overload(settings: EnvoySettings) -> dict[str, Any]:
    """What is refused and ended when connections or memory run out: those who hold most first."""
    connections = {"max_active_downstream_connections": settings.max_connections}
    heap = {"max_heap_size_bytes": settings.max_heap_bytes}
    # Fifty streams are reset each time this has changed when Envoy looks, so it is a long way. No
    # request is refused: what Envoy knows of sockets counts as well, and nothing would free that.
    growing = {"scaling_threshold": 0.7, "saturation_threshold": 1.0}
    return {
        "refresh_interval": "0.05s",
        "resource_monitors": [
            _monitor("global_downstream_max_connections", _CONNECTIONS, connections),
            _monitor("fixed_heap", _HEAP, heap),
        ],
        # Half a mebibyte and more: what of an answer is kept for somebody who does not take it.
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 19},
        "actions": [
            _action("reset_high_memory_stream", {"scaled": growing}),
            _action("shrink_heap", {"threshold": {"value": 0.9}}),
        ],
    }


def _monitor(name: str, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    typed = {"@type": f"type.googleapis.com/{kind}", **config}
    return {"name": f"envoy.resource_monitors.{name}", "typed_config": typed}


def _action(name: str, trigger: dict[str, Any]) -> dict[str, Any]:
    """Something that is done when the heap is as full as ``trigger`` says."""
    heap = {"name": "envoy.resource_monitors.fixed_heap", **trigger}
    return {"name": f"envoy.overload_actions.{name}", "triggers": [heap]}


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
