"""Requests through an authenticated HTTP socket, against bare Envoy and nginx with TLS alone.

The product does more per request than its peers here: it checks the session's signature, audience
and epoch, strips headers and its cookie, and sets the identity headers. The figure that counts is
CPU time per request of the proxy process; beside it stands that of the edge's agent, which reads
the request log behind it.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from bench import load, peers
from bench.product import bench_product
from bench.trust import ServerFiles, server_files
from tests.support.processes import Process, children_of, cpu_seconds

Peer = Callable[[Path, ServerFiles, Path], AbstractContextManager[tuple[Process, int]]]
PEERS: dict[str, Peer] = {"bare Envoy": peers.bare_envoy, "nginx": peers.nginx}


def run(quick: bool) -> list[tuple[str, float, str, str, float]]:
    """Rows of (name, value, unit, peer, ratio)."""
    seconds = 1.0 if quick else 8.0
    with _workplace() as directory:
        ours, agent = _product(directory, seconds)
        share = agent / ours.cpu_microseconds
        rows = [("the agent's CPU per request", agent, "µs", "its Envoy", share)]
        for name, peer in PEERS.items():
            theirs = _peer(directory, peer, seconds)
            rate = ours.per_second / theirs.per_second
            cost = ours.cpu_microseconds / theirs.cpu_microseconds
            rows += [
                ("authenticated requests", ours.per_second, "/s", name, rate),
                ("CPU per authenticated request", ours.cpu_microseconds, "µs", name, cost),
            ]
        return rows


@contextlib.contextmanager
def _workplace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        yield Path(directory)


def _product(directory: Path, seconds: float) -> tuple[load.Cost, float]:
    """What Envoy did, and the microseconds the agent spent on each request meanwhile."""
    with bench_product(directory) as product:
        socket = product.http_socket()
        with peers.origin(directory, socket.endpoint) as origin:
            load.pin([origin.pid, *children_of(origin.pid)], load.LOAD_CORE)
            load.pin(product.proxy_pids, load.PROXY_CORE)
            agent = [product.product.pid("edge")]
            before = cpu_seconds(agent)
            cost = load.requests_over_tls(
                pids=product.proxy_pids,
                authority=socket.authority,
                headers={"Cookie": socket.cookie},
                seconds=seconds,
                directory=directory,
            )
            return cost, (cpu_seconds(agent) - before) / cost.count * 1e6


def _peer(directory: Path, peer: Peer, seconds: float) -> load.Cost:
    upstream = directory / "origin.sock"
    files = server_files(directory)
    with (
        peers.origin(directory, upstream) as origin,
        peer(directory, files, upstream) as (process, port),
    ):
        load.pin([origin.pid, *children_of(origin.pid)], load.LOAD_CORE)
        pids = [process.pid, *children_of(process.pid)]
        load.pin(pids, load.PROXY_CORE)
        return load.requests_over_tls(
            pids=pids,
            authority=f"peer.edge.localhost:{port}",
            headers={},
            seconds=seconds,
            directory=directory,
        )
