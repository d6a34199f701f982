"""From what the edge knows to what Envoy is told: pure, whole or only the sockets that changed."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from policy.types import SocketType
from proxy.envoy import tls
from proxy.envoy.clusters import http_cluster, tcp_cluster
from proxy.envoy.listeners_http import http_listener, https_listener
from proxy.envoy.listeners_stream import stream_listener
from proxy.envoy.protos import CLUSTER, LISTENER, SECRET
from proxy.envoy.resources import Group, Resource, Resources, SharedInputs
from proxy.envoy.settings import EnvoySettings
from proxy.envoy.source_chains import parts_of
from proxy.state import EdgeSocket, EdgeState, Trust

Endpoints = Mapping[str, Sequence[str]]
"""Unix socket paths of the connected tunnels, by socket id."""


def build(
    state: EdgeState,
    endpoints: Endpoints,
    settings: EnvoySettings,
    certificate: tls.ServerCertificate,
    *,
    previous: Resources | None = None,
    changed: Collection[str] | None = None,
) -> Resources:
    """Everything Envoy needs for ``state``.

    With ``previous`` and ``changed`` (ids of sockets whose settings or endpoints differ, those that
    are gone included) only those sockets are looked at; another trust, certificate or setting is
    noticed by itself.
    """
    inputs = SharedInputs(trust=state.trust, settings=settings, certificate=certificate)
    reusable = previous if previous and _same_for_sockets(previous.inputs, inputs) else None
    partial = reusable is not None and changed is not None
    sockets = dict(reusable.sockets) if reusable and partial else {}
    refused = dict(reusable.refused) if reusable and partial else {}
    for socket_id in changed if partial and changed is not None else state.sockets:
        sockets.pop(socket_id, None)
        refused.pop(socket_id, None)
        socket = state.sockets.get(socket_id)
        if socket is None:
            continue
        if reason := refusal(socket, state.trust, settings):
            refused[socket_id] = reason
        else:
            sockets[socket_id] = build_socket(socket, endpoints.get(socket_id, ()), settings)
    shared = reusable.shared if reusable and reusable.inputs == inputs else build_shared(inputs)
    return Resources(
        inputs=inputs,
        shared=shared,
        sockets=MappingProxyType(sockets),
        refused=MappingProxyType(refused),
    )


def build_shared(inputs: SharedInputs) -> Group:
    """What belongs to no socket: the two web listeners and the secrets."""
    trust, settings = inputs.trust, inputs.settings
    group = {
        (LISTENER, "https"): Resource.of(LISTENER, https_listener(trust, settings)),
        (LISTENER, "http"): Resource.of(LISTENER, http_listener(settings)),
        (SECRET, "server"): Resource.of(SECRET, tls.server_secret(inputs.certificate)),
    }
    if trust.client_ca:
        secret = tls.client_ca_secret(trust.client_ca)
        group[SECRET, "client-ca"] = Resource.of(SECRET, secret)
    return MappingProxyType(group)


def build_socket(socket: EdgeSocket, endpoints: Sequence[str], settings: EnvoySettings) -> Group:
    """One socket: a cluster, and a listener per port if it has ports of its own."""
    if not socket.socket_type.has_own_port:
        cluster = http_cluster(socket, endpoints, settings)
        return MappingProxyType({(CLUSTER, cluster["name"]): Resource.of(CLUSTER, cluster)})
    cluster = tcp_cluster(socket, endpoints, settings)
    group = {(CLUSTER, cluster["name"]): Resource.of(CLUSTER, cluster)}
    parts = parts_of(socket)
    # Where nobody may come from anywhere, nothing listens.
    for port in socket.ports if parts else ():
        listener = stream_listener(socket, port, parts or (), settings)
        group[LISTENER, listener["name"]] = Resource.of(LISTENER, listener)
    return MappingProxyType(group)


def refusal(socket: EdgeSocket, trust: Trust, settings: EnvoySettings) -> str | None:
    """Why nothing safe can be built for a socket, as a stable word; ``None`` if something can."""
    if not socket.socket_type.has_own_port:
        ours = socket.dns_name.endswith(f".{settings.edge_domain}")
        return None if ours and socket.dns_name not in settings.gateway_names else "name-not-ours"
    if socket.basic_auth is not None:
        return "basic-auth-not-checkable"
    if parts_of(socket) is None:
        return "source-rules-too-large"
    if not socket.identity_required:
        return None
    if socket.socket_type is SocketType.TCP:
        return "identity-not-checkable"
    return None if trust.client_ca else "no-client-ca"


def _same_for_sockets(one: SharedInputs, other: SharedInputs) -> bool:
    """Whether a socket's own resources would come out alike under both."""
    return one.settings == other.settings and bool(one.trust.client_ca) == bool(
        other.trust.client_ca
    )
