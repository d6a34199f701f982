"""The programs we are measured against, and the origin all of them stand before.

The origin is nginx on a unix socket answering 200 with a dozen bytes; a tunnel's end looks the same
to Envoy. Each peer gets its distribution's defaults but for one worker and keep-alive upstream.
"""

import contextlib
import json
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.trust import ServerFiles
from tests.support.processes import Process, free_port, running

_NGINX_USER = "user root; " if os.geteuid() == 0 else ""
"""Started by root, nginx would give up the right to its own directory."""
ENVOY = Path(sysconfig.get_path("purelib")) / "envoy" / "_bin" / "envoy"


def _nginx(directory: Path, name: str, http: str) -> Process:
    config = directory / f"{name}.conf"
    config.write_text(
        f"{_NGINX_USER}daemon off; worker_processes 1; error_log stderr;\n"
        f"pid {directory}/{name}.pid;\n"
        "events {}\n"
        f"http {{ access_log off; keepalive_requests 1000000000;\n{http}\n}}\n"
    )
    return Process("nginx", "-c", config, "-p", directory, log=directory / f"{name}.log")


@contextlib.contextmanager
def origin(directory: Path, path: Path) -> Iterator[Process]:
    """An HTTP origin on the unix socket ``path``, which it takes over from whoever has it."""
    own = directory / "listening.sock"
    own.unlink(missing_ok=True)
    server = f'server {{ listen unix:{own}; location / {{ return 200 "hello, world"; }} }}'
    with running(_nginx(directory, "origin", server)) as process:
        process.wait_for(own.exists)
        own.rename(path)
        yield process


@contextlib.contextmanager
def nginx(directory: Path, files: ServerFiles, upstream: Path) -> Iterator[tuple[Process, int]]:
    """A plain TLS reverse proxy; yields the process and its port."""
    port = free_port()
    http = f"""
upstream origin {{ server unix:{upstream}; keepalive 64; }}
server {{
  listen 127.0.0.1:{port} ssl;
  ssl_certificate {files.chain}; ssl_certificate_key {files.key};
  location / {{
    proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
  }}
}}"""
    with running(_nginx(directory, "nginx", http)) as process:
        yield process.wait_for_port(port), port


@contextlib.contextmanager
def haproxy(
    directory: Path, files: ServerFiles, client_ca: Path, upstream: Path
) -> Iterator[tuple[Process, int]]:
    """A TCP proxy that demands a client certificate in a full handshake; (process, port)."""
    port = free_port()
    config = directory / "haproxy.cfg"
    config.write_text(f"""
global
  nbthread 1
  tune.ssl.cachesize 0
  ssl-default-bind-options no-tls-tickets
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend tls
  bind 127.0.0.1:{port} ssl crt {files.bundle} ca-file {client_ca} verify required
  default_backend origin
backend origin
  server origin unix@{upstream}
""")
    with running(Process("haproxy", "-db", "-f", config, log=directory / "haproxy.log")) as process:
        yield process.wait_for_port(port), port


@contextlib.contextmanager
def bare_envoy(
    directory: Path, files: ServerFiles, upstream: Path
) -> Iterator[tuple[Process, int]]:
    """Envoy with nothing but a router behind TLS; yields the process and its port."""
    port = free_port()
    config = directory / "envoy.json"
    config.write_text(json.dumps(_bare_envoy_config(files, upstream, port)))
    command = (ENVOY, "-c", config, "--concurrency", "1", "--disable-hot-restart")
    with running(Process(*command, "-l", "error", log=directory / "envoy.log")) as process:
        yield process.wait_for_port(port), port


_EXTENSIONS = "type.googleapis.com/envoy.extensions"


def _bare_envoy_config(files: ServerFiles, upstream: Path, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(upstream)}}}}
    listener = {"name": "https", "address": address, "filter_chains": [_chain(files)]}
    cluster = {
        "name": "origin",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "origin",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _chain(files: ServerFiles) -> dict[str, Any]:
    certificate = {
        "certificate_chain": {"filename": str(files.chain)},
        "private_key": {"filename": str(files.key)},
    }
    tls = {
        "@type": f"{_EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [certificate]},
    }
    router = {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "origin"}}
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [{"name": "router", "typed_config": router}],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}],
        },
    }
    return {
        "transport_socket": {"name": "tls", "typed_config": tls},
        "filters": [{"name": "http", "typed_config": manager}],
    }
