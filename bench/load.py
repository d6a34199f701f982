"""Load from the second core onto proxies on the first, and what it costs them."""

import concurrent.futures
import contextlib
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import cpu_seconds

PROXY_CORE = 0
LOAD_CORE = max(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a proxy did in one measurement."""

    count: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    @property
    def per_cpu_second(self) -> float:
        return self.count / self.cpu_seconds

    @property
    def cpu_microseconds(self) -> float:
        """CPU time per piece of work."""
        return self.cpu_seconds / self.count * 1e6


def pin(pids: Sequence[int], core: int) -> None:
    """Keep every thread of ``pids`` on ``core``."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(task.name), {core})


_RESOLVE = """function wrk.resolve(host, port)
  wrk.addrs = wrk.lookup("127.0.0.1", port)
end
"""
"""Every name is this machine; wrk still sends the name it was given in SNI and Host."""


def requests_over_tls(
    *,
    pids: Sequence[int],
    authority: str,
    headers: Mapping[str, str],
    seconds: float,
    directory: Path,
) -> Cost:
    """HTTP/1.1 requests on 16 kept TLS connections (wrk); ``pids`` are what the proxy runs as.

    Raises:
        RuntimeError: an answer was not 2xx, so that the figures would mean nothing.
    """
    script = directory / "headers.lua"
    script.touch(0o600)
    lines = (f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers.items())
    script.write_text(_RESOLVE + "".join(lines))
    command = f"taskset -c {LOAD_CORE} wrk -t1 -c16 -d{seconds:.0f}s -s {script}".split()
    before, began = cpu_seconds(pids), time.monotonic()
    done = subprocess.run(
        [*command, f"https://{authority}/"], capture_output=True, text=True, check=True
    )
    took, used = time.monotonic() - began, cpu_seconds(pids) - before
    count = re.search(r"(\d+) requests in", done.stdout)
    if count is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk on {authority}:\n{done.stdout}{done.stderr}")
    return Cost(count=int(count[1]), seconds=took, cpu_seconds=used)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFiles:
    """What a TLS client shows: certificate chain and key, PEM."""

    certificate: Path
    key: Path
    server_name: str


def _undelayed(plain: socket.socket) -> socket.socket:
    """Without Nagle's wait: our first bytes follow our own Finished, which nobody acknowledges."""
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


def _connections(files: ClientFiles, port: int) -> Iterator[None]:
    """One new connection per step: full handshake with client certificate, request, answer, end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(files.certificate, files.key)
    while True:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(_undelayed(plain), server_hostname=files.server_name) as connection,
        ):
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if not connection.recv(64).startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"no answer through port {port}")
        yield


def _connect_until(files: ClientFiles, port: int, seconds: float) -> int:
    os.sched_setaffinity(0, {LOAD_CORE})
    end = time.monotonic() + seconds
    count = 0
    for _ in _connections(files, port):
        count += 1
        if time.monotonic() > end:
            break
    return count


def handshakes(*, pids: Sequence[int], port: int, files: ClientFiles, seconds: float) -> Cost:
    """New mutually authenticated TLS connections, from four processes."""
    with concurrent.futures.ProcessPoolExecutor(4) as pool:
        list(pool.map(_connect_until, [files] * 4, [port] * 4, [0.1] * 4))
        before, began = cpu_seconds(pids), time.monotonic()
        counts = list(pool.map(_connect_until, [files] * 4, [port] * 4, [seconds] * 4))
        took, used = time.monotonic() - began, cpu_seconds(pids) - before
    return Cost(count=sum(counts), seconds=took, cpu_seconds=used)
