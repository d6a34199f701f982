"""Start, and the change of one socket, at many sockets: ``python -m bench.discovery [COUNT]``.

Times end when a real request sees the change, not when somebody acknowledges it.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench.figures import Figure, table
from proxy.envoy.build import build
from tests.support.envoy import Edge, a_socket, running_edge
from tests.support.tiny_http import read_message, request_bytes

Row = tuple[str, float, str, str, float]
CHANGES = 40


def run(quick: bool) -> list[Row]:
    """Rows for the report: name, value, unit, peer, ratio; there is nobody to compare with."""
    return asyncio.run(measure(100 if quick else 1_000))


async def measure(count: int) -> list[Row]:
    """Start an edge with ``count`` sockets, then change one of them again and again."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        async with running_edge(Path(folder)) as edge:
            origin = await edge.origin("app")
            for number in range(count):
                socket = a_socket(f"socket-{number:05}", identity_required=False)
                edge.sockets[socket.socket_id] = socket
                edge.endpoints[socket.socket_id] = (str(origin.path),)
            started = time.perf_counter()
            await apply_slowly(edge)
            start = time.perf_counter() - started
            figures = [("all in force from nothing", start * 1e3, "ms")]
            figures.append(("memory of Envoy", memory(edge), "MB"))
            figures += await changes(edge, f"socket-{count // 2:05}")
            return [(f"{name}, {count} sockets", v, unit, "", 0.0) for name, v, unit in figures]


async def apply_slowly(edge: Edge) -> None:
    edge.revision += 1
    edge.resources = build(edge.state, edge.endpoints, edge.settings, edge.certificate)
    edge.discovery.publish(edge.resources, edge.revision)
    await edge.discovery.wait_acked(edge.revision, 120)


async def changes(edge: Edge, name: str) -> list[tuple[str, float, str]]:
    """Switch one socket between open and for identities, on one connection."""
    host = edge.sockets[name].dns_name
    reader, writer = await edge.connect(host)
    seen, acked = [], []
    cpu = processor_time(edge)
    for step in range(CHANGES):
        wanted = 404 if step % 2 == 0 else 200
        edge.sockets[name] = replace(edge.sockets[name], identity_required=wanted == 404)
        state = edge.state
        started = time.perf_counter()
        edge.revision += 1
        edge.resources = build(
            state,
            edge.endpoints,
            edge.settings,
            edge.certificate,
            previous=edge.resources,
            changed=[name],
        )
        edge.discovery.publish(edge.resources, edge.revision)
        await edge.discovery.wait_acked(edge.revision, 10)
        acked.append(time.perf_counter() - started)
        while True:
            writer.write(request_bytes(host, "/", ()))
            if (await read_message(reader)).status == wanted:
                break
        seen.append(time.perf_counter() - started)
    writer.close()
    each = (processor_time(edge) - cpu) / CHANGES
    return [
        ("one change acknowledged, median", statistics.median(acked) * 1e3, "ms"),
        ("one change seen by a request, median", statistics.median(seen) * 1e3, "ms"),
        ("one change seen by a request, worst", max(seen) * 1e3, "ms"),
        ("Envoy's processor time for each", each * 1e3, "ms"),
    ]


def memory(edge: Edge) -> float:
    status = Path(f"/proc/{edge.supervisor.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def processor_time(edge: Edge) -> float:
    fields = Path(f"/proc/{edge.supervisor.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(table([Figure(*row) for row in asyncio.run(measure(count))]))


if __name__ == "__main__":
    main()
