"""Start, and the change of one socket, at many sockets: ``python bench/discovery.py [COUNT]``.

Times end when a real request sees the change, not when somebody acknowledges it.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from proxy.envoy.build import build
from tests.support.envoy import Edge, a_socket, running_edge
from tests.support.tiny_http import read_message, request_bytes

CHANGES = 40


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running_edge(Path(folder)) as edge:
            origin = await edge.origin("app")
            for number in range(count):
                socket = a_socket(f"socket-{number:05}", identity_required=False)
                edge.sockets[socket.socket_id] = socket
                edge.endpoints[socket.socket_id] = (str(origin.path),)
            started = time.perf_counter()
            build(edge.state, edge.endpoints, edge.settings, edge.certificate)
            print(f"build of {count} sockets: {time.perf_counter() - started:.2f} s")
            started = time.perf_counter()
            await apply_slowly(edge)
            print(f"build, push and acknowledgement: {time.perf_counter() - started:.2f} s")
            print(f"memory of Envoy: {memory(edge):.0f} MB")
            await changes(edge, f"socket-{count // 2:05}")
            print(f"memory of Envoy after the changes: {memory(edge):.0f} MB")


async def apply_slowly(edge: Edge) -> None:
    edge.revision += 1
    edge.resources = build(edge.state, edge.endpoints, edge.settings, edge.certificate)
    edge.discovery.publish(edge.resources, edge.revision)
    await edge.discovery.wait_acked(edge.revision, 120)


async def changes(edge: Edge, name: str) -> None:
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
    print(
        f"one change acknowledged: {milliseconds(acked)}; seen by a request: {milliseconds(seen)}"
    )
    print(f"Envoy's processor time per change and request: {each * 1000:.1f} ms")


def milliseconds(values: list[float]) -> str:
    ordered = sorted(values)
    middle, worst = statistics.median(ordered), ordered[-1]
    return f"p50 {middle * 1000:.1f} ms, max {worst * 1000:.1f} ms"


def memory(edge: Edge) -> float:
    status = Path(f"/proc/{edge.supervisor.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def processor_time(edge: Edge) -> float:
    fields = Path(f"/proc/{edge.supervisor.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
