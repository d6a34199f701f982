"""The one door to the generated protocol classes, which carry no types.

Importing a ``*_pb2`` module registers its messages, so that JSON with ``@type`` can be parsed:
every message the builders name is imported here, and nowhere else.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

TYPE_PREFIX = "type.googleapis.com/"
CLUSTER = TYPE_PREFIX + "envoy.config.cluster.v3.Cluster"
LISTENER = TYPE_PREFIX + "envoy.config.listener.v3.Listener"
SECRET = TYPE_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"

_MODULES = (
    "cel.expr.syntax_pb2",
    "envoy.config.bootstrap.v3.bootstrap_pb2",
    "envoy.config.cluster.v3.cluster_pb2",
    "envoy.config.listener.v3.listener_pb2",
    "envoy.extensions.access_loggers.file.v3.file_pb2",
    "envoy.extensions.access_loggers.filters.cel.v3.cel_pb2",
    "envoy.extensions.filters.http.buffer.v3.buffer_pb2",
    "envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2",
    "envoy.extensions.filters.http.jwt_authn.v3.config_pb2",
    "envoy.extensions.filters.http.lua.v3.lua_pb2",
    "envoy.extensions.filters.http.rbac.v3.rbac_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.resource_monitors.downstream_connections.v3.downstream_connections_pb2",
    "envoy.extensions.resource_monitors.fixed_heap.v3.fixed_heap_pb2",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2",
    "envoy.extensions.transport_sockets.tls.v3.secret_pb2",
    "envoy.extensions.transport_sockets.tls.v3.tls_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
    "xds.type.matcher.v3.cel_pb2",
    "xds.type.matcher.v3.http_inputs_pb2",
    "xds.type.matcher.v3.matcher_pb2",
)
_LOADED = {name: import_module(name) for name in _MODULES}

json_format: Any = import_module("google.protobuf.json_format")
discovery_pb2: Any = import_module("envoy.service.discovery.v3.discovery_pb2")

_RESOURCES: Mapping[str, Any] = {
    CLUSTER: _LOADED["envoy.config.cluster.v3.cluster_pb2"].Cluster,
    LISTENER: _LOADED["envoy.config.listener.v3.listener_pb2"].Listener,
    SECRET: _LOADED["envoy.extensions.transport_sockets.tls.v3.secret_pb2"].Secret,
}
_BOOTSTRAP: Any = _LOADED["envoy.config.bootstrap.v3.bootstrap_pb2"].Bootstrap


def encode(type_url: str, config: Mapping[str, Any]) -> bytes:
    """Serialise one resource, deterministically.

    Raises:
        google.protobuf.json_format.ParseError: a field that the protocol does not have.
    """
    message = json_format.ParseDict(dict(config), _RESOURCES[type_url]())
    return bytes(message.SerializeToString(deterministic=True))


def decode(type_url: str, content: bytes) -> dict[str, Any]:
    """Read a resource back as JSON data, for people and tests."""
    message = _RESOURCES[type_url].FromString(content)
    return dict(json_format.MessageToDict(message, preserving_proto_field_name=True))


def check_bootstrap(config: Mapping[str, Any]) -> None:
    """Refuse a bootstrap that the protocol does not know.

    Raises:
        google.protobuf.json_format.ParseError: see ``encode``.
    """
    json_format.ParseDict(dict(config), _BOOTSTRAP())
