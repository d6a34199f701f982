"""New connections to a TLS socket, full handshakes with client certificates, against HAProxy.

Both verify the same client certificate against the same authority with P-256 keys, without session
resumption, and connect to the same origin only after the handshake.
"""

import tempfile
from pathlib import Path

from bench import load, peers
from bench.product import bench_product
from bench.trust import server_files
from tests.support.processes import children_of


def run(quick: bool) -> list[tuple[str, float, str, str, float]]:
    """Rows of (name, value, unit, peer, ratio)."""
    seconds = 1.0 if quick else 8.0
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        bench_product(Path(name)) as product,
    ):
        directory = Path(name)
        socket = product.tls_socket()
        files = server_files(directory)
        with (
            peers.origin(directory, socket.endpoint) as origin,
            peers.haproxy(directory, files, socket.client_ca, socket.endpoint) as (proxy, port),
        ):
            load.pin([origin.pid, *children_of(origin.pid)], load.LOAD_CORE)
            load.pin([proxy.pid, *product.proxy_pids], load.PROXY_CORE)
            ours = load.handshakes(
                pids=product.proxy_pids, port=socket.port, files=socket.client, seconds=seconds
            )
            theirs = load.handshakes(
                pids=[proxy.pid], port=port, files=socket.client, seconds=seconds
            )
    return [
        (
            "mutual TLS handshakes",
            ours.per_second,
            "/s",
            "HAProxy",
            ours.per_second / theirs.per_second,
        ),
        (
            "mutual TLS handshakes per CPU second",
            ours.per_cpu_second,
            "/s",
            "HAProxy",
            ours.per_cpu_second / theirs.per_cpu_second,
        ),
    ]
