"""SSH certificates a second over HTTP, each with its durable record and its place in the log.

One gateway process on the first core, SQLite with ``synchronous=FULL``, and wrk on the second core:
what a certificate costs and how long it takes, at different numbers of callers. Beside it what the
same core signs when nothing is recorded, ``ssh-keygen -s``, and the least that anybody would write
to sign over HTTP (``bench.issuance_peer``), which tells how fast the machine is.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.certificates import ssh_rates
from bench.issuance_gateway import IssuingGateway, issuing_gateway
from bench.load import LOAD_CORE, PROXY_CORE, pin
from tests.support.processes import Process, cpu_seconds, free_port, running

CALLERS = (1, 8, 16, 32)
TARGET_PER_SECOND = 1000
TARGET_P99_MS = 25

_LATENCY = re.compile(r"^\s+(50|99)%\s+([0-9.]+)(us|ms|s)\s*$", re.MULTILINE)
_ERRORS = re.compile(
    r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", re.ASCII
)
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """What a number of callers that ask again and again got."""

    callers: int
    per_second: float
    cpu_ms: float
    """Of the gateway, per certificate."""
    p50_ms: float
    p99_ms: float
    timeouts: int = 0
    """Answers that took longer than wrk waits for them, two seconds."""


def run(quick: bool) -> list[tuple[str, float, str, str, float]]:
    """Measure; rows as ``bench.figures.Figure``."""
    seconds = 2 if quick else 10
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as text:
        directory = Path(text)
        with issuing_gateway(directory) as gateway:
            runs = list(_sweep(gateway, directory, seconds, proofs=False))
            proven = measure(gateway, directory, callers=16, seconds=seconds, proofs=True)
        with bare_signer(directory, gateway) as peer:
            bare = list(_sweep(peer, directory, seconds, proofs=False))
        signing = ssh_rates(directory, 0.5 if quick else 3.0)
    rows = []
    for one, other in zip(runs, bare, strict=True):
        name = f"SSH certificates over HTTP, logged, {one.callers} callers"
        rows += [
            (name, one.per_second, "/s", "a bare signer", one.per_second / other.per_second),
            (f"{name}, median", one.p50_ms, "ms", "a bare signer", one.p50_ms / other.p50_ms),
            (f"{name}, 99 %", one.p99_ms, "ms", "a bare signer", one.p99_ms / other.p99_ms),
        ]
    late = sum(one.timeouts for one in (*runs, *bare, proven))
    rows.append(("answers of it that came after wrk's two seconds", float(late), "", "", 0.0))
    best = max(runs, key=lambda one: one.per_second)
    name = "SSH certificates over HTTP, logged"
    rows += [
        (name, best.per_second, "/s", "ssh-keygen -s", best.per_second / signing.keygen),
        (name, best.per_second, "/s", "signing alone", best.per_second / signing.ours),
        ("CPU per logged SSH certificate", best.cpu_ms * 1000, "µs", "", 0.0),
        (
            f"{name}, key proven",
            proven.per_second,
            "/s",
            "signing alone",
            proven.per_second / signing.ours,
        ),
    ]
    return rows


@contextmanager
def bare_signer(directory: Path, gateway: IssuingGateway) -> Iterator[IssuingGateway]:
    """``bench.issuance_peer`` on the first core; it is asked as the gateway is."""
    port = free_port()
    command = [sys.executable, "-m", "bench.issuance_peer", "--port", str(port)]
    log = directory / "peer.log"
    with running(Process(*command, "--database", directory / "peer.db", log=log)) as process:
        process.wait_for_port(port)
        pin([process.pid], PROXY_CORE)
        yield replace(gateway, process=process, port=port)


def _sweep(
    gateway: IssuingGateway, directory: Path, seconds: int, *, proofs: bool
) -> Iterator[Issuance]:
    measure(gateway, directory, callers=8, seconds=1, proofs=proofs)
    for callers in CALLERS:
        yield measure(gateway, directory, callers=callers, seconds=seconds, proofs=proofs)


def measure(
    gateway: IssuingGateway, directory: Path, *, callers: int, seconds: int, proofs: bool
) -> Issuance:
    """Let ``callers`` ask for certificates, each again when it has one.

    Raises:
        RuntimeError: an answer was no certificate.
    """
    script = directory / "certify.lua"
    script.touch(0o600)
    script.write_text(_script(gateway, proofs=proofs))
    command = [
        *("taskset", "-c", str(LOAD_CORE), "wrk", "--latency", "-t1", f"-c{callers}"),
        *(f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{gateway.port}"),
    ]
    pids = [gateway.process.pid]
    before, began = cpu_seconds(pids), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took, used = time.monotonic() - began, cpu_seconds(pids) - before
    try:
        return read_wrk(done.stdout, callers=callers, took=took, used=used)
    except RuntimeError as error:
        more = f"{done.stderr}{gateway.process.output()[-2000:]}"
        raise RuntimeError(f"{error}{more}") from error


def read_wrk(said: str, *, callers: int, took: float, used: float) -> Issuance:
    """What wrk says of a run of ``took`` seconds, which cost the gateway ``used`` seconds of CPU.

    An answer that took wrk's two seconds and more is one of its timeouts: on a busy machine
    that happens, and the run counts with it.

    Raises:
        RuntimeError: an answer was no certificate, a connection failed, or there were no answers.
    """
    count = re.search(r"(\d+) requests in", said)
    latency = {
        share: float(value) * _MILLISECONDS[unit] for share, value, unit in _LATENCY.findall(said)
    }
    errors = _ERRORS.search(said)
    failed = errors is not None and any(int(number) for number in errors.groups()[:3])
    strange = errors is None and "Socket errors" in said
    if count is None or int(count[1]) == 0 or len(latency) < 2 or "Non-2xx" in said:
        raise RuntimeError(f"wrk:\n{said}")
    if failed or strange:
        raise RuntimeError(f"wrk:\n{said}")
    return Issuance(
        callers=callers,
        per_second=int(count[1]) / took,
        cpu_ms=used / int(count[1]) * 1000,
        p50_ms=latency["50"],
        p99_ms=latency["99"],
        timeouts=0 if errors is None else int(errors[4]),
    )


def _script(gateway: IssuingGateway, *, proofs: bool) -> str:
    bodies = []
    for key in gateway.keys:
        body = {"ssh_public_key": key.line}
        if proofs:
            body |= {"nonce": key.nonce, "proof": key.proof}
        bodies.append(f"[==[{json.dumps(body)}]==]")
    path = f"/mtls-ca/socket/{gateway.dns_name}/ssh"
    return (
        f"local bodies = {{{','.join(bodies)}}}\n"
        "local at = 0\n"
        f'local headers = {{["x-access-token"] = "{gateway.token}", '
        '["content-type"] = "application/json"}\n'
        "function request()\n"
        "  at = at % #bodies + 1\n"
        f'  return wrk.format("POST", "{path}", headers, bodies[at])\n'
        "end\n"
    )
