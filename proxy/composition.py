"""How an edge is put together from its settings: the one place where the parts are chosen."""

import os
from collections.abc import Mapping
from types import MappingProxyType

import httpx

from proxy.agent import Agent
from proxy.clock import Clock
from proxy.envoy.settings import EnvoySettings, GatewayUpstream
from proxy.errors import SettingsError
from proxy.gateway import connect, read_edge_key
from proxy.settings import EdgeSettings
from proxy.tunnels.base import MakeBackend, TunnelBackend
from proxy.tunnels.choice import choose_backend
from proxy.tunnels.ssh.host_key import load_host_key
from proxy.tunnels.ssh.server import SshTunnelOptions, SshTunnels
from proxy.tunnels.table import TunnelTable


def build_agent(settings: EdgeSettings, clock: Clock) -> tuple[Agent, httpx.AsyncClient]:
    """An agent with its tunnel servers, and the client to close after it.

    Raises:
        SettingsError: a file or a tunnel backend that the settings name cannot be used.
        OSError: the state directory cannot be written.
    """
    makers = [choose_backend(name, BUILT_IN) for name in settings.tunnel_backends]
    edge_key = read_edge_key(settings.edge_key_file)
    for folder in (settings.state_dir, settings.run_dir):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    client = connect(settings, edge_key)
    agent = Agent(settings, envoy_settings(settings, edge_key), client, clock)
    for make in makers:
        agent.add_backend(make(settings, agent.table, clock))
    return agent, client


def ssh_backend(settings: EdgeSettings, table: TunnelTable, clock: Clock) -> TunnelBackend:
    """The tunnel server for ``ssh -R``, with the host key of the state directory.

    Raises:
        SettingsError: the host key cannot be read.
    """
    try:
        host_key = load_host_key(settings.state_dir)
    except ValueError as error:
        raise SettingsError("bad-host-key", f"the tunnel server's key: {error}") from error
    return SshTunnels(tunnel_options(settings), host_key, table, clock)


BUILT_IN: Mapping[str, MakeBackend] = MappingProxyType({"ssh": ssh_backend})
"""Tunnel backends that come with the product, by the name the settings use."""


def envoy_settings(settings: EdgeSettings, edge_key: str) -> EnvoySettings:
    """What Envoy's builders need of the edge's settings."""
    return EnvoySettings(
        run_dir=settings.run_dir,
        request_log=settings.request_log,
        gateway_names=settings.gateway_names,
        gateway=gateway_upstream(settings),
        edge_domain=settings.edge_domain,
        edge_key=edge_key,
        listen_address=settings.listen_address,
        https_port=settings.https_port,
        http_port=settings.http_port,
        public_https_port=settings.public_https_port,
        concurrency=settings.envoy_concurrency or os.cpu_count() or 1,
        max_heap_bytes=settings.envoy_memory_bytes or _half_of_memory(),
    )


def _half_of_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def gateway_upstream(settings: EdgeSettings) -> GatewayUpstream:
    """Where Envoy sends requests for the gateway's pages and for ``ext_authz``."""
    if settings.gateway_socket is not None:
        return GatewayUpstream(unix_path=settings.gateway_socket)
    url = httpx.URL(settings.gateway)
    secure = url.scheme == "https"
    return GatewayUpstream(
        host=url.host,
        port=url.port or (443 if secure else 80),
        tls_server_name=url.host if secure else "",
        tls_ca_file=settings.gateway_ca_file,
    )


def tunnel_options(settings: EdgeSettings) -> SshTunnelOptions:
    """What the SSH tunnel server needs of the edge's settings."""
    return SshTunnelOptions(
        address=settings.listen_address,
        port=settings.tunnel_port,
        https_port=settings.public_https_port or settings.https_port,
        ciphers=settings.tunnel_ciphers,
        keepalive=settings.tunnel_keepalive,
        keepalive_count=settings.tunnel_keepalive_count,
        login_grace=settings.tunnel_login_grace,
        max_unauthenticated=settings.tunnel_max_unauthenticated,
        open_deadline=settings.tunnel_open_deadline,
    )
