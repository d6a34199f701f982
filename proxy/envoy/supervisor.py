"""Keeping one Envoy process alive: start, readiness, restart, log, stop."""

import asyncio
import json
import logging
import os
import resource
import threading
from collections.abc import Sequence
from pathlib import Path

from proxy.envoy.admin import is_live
from proxy.envoy.binary import envoy_binary
from proxy.envoy.bootstrap import bootstrap
from proxy.envoy.errors import EnvoyNotReadyError, WrongThreadError
from proxy.envoy.lifeline import bound_to_us
from proxy.envoy.protos import check_bootstrap
from proxy.envoy.request_file import open_private
from proxy.envoy.settings import EnvoySettings

_LOG = logging.getLogger(__name__)
_ENVOY_LOG = logging.getLogger("proxy.envoy.process")
_BACKOFF = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds before each restart in a row; the last repeats."""
_STEADY_SECONDS = 10.0
_STOP_SECONDS = 3.0
_FLUSH_MILLISECONDS = 100
_MAX_TEXT = 1 << 18


class EnvoySupervisor:
    """Runs Envoy for as long as ``run`` is awaited, and starts it again whenever it ends."""

    def __init__(self, settings: EnvoySettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Process id of the running Envoy."""
        return self._process.pid if self._process else None

    async def run(self) -> None:
        """Keep Envoy alive until cancelled; then stop it within seconds.

        Raises:
            WrongThreadError: not on the main thread. Envoy gets SIGTERM when the thread that
                started it ends (prctl PR_SET_PDEATHSIG): that must be one that lasts.
        """
        if threading.current_thread() is not threading.main_thread():
            raise WrongThreadError("Envoy must be started from the main thread")
        write_bootstrap(self._settings)
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            status = await self._run_once()
            failures = 0 if loop.time() - started > _STEADY_SECONDS else failures + 1
            pause = _BACKOFF[min(failures, len(_BACKOFF)) - 1] if failures else 0.0
            _LOG.error("Envoy ended with status %s; starting it again in %.2f s", status, pause)
            await asyncio.sleep(pause)
            self.restarts += 1

    async def wait_ready(self, timeout: float) -> None:  # noqa: ASYNC109 - a domain limit
        """Wait until Envoy has its first configuration and takes connections.

        Raises:
            EnvoyNotReadyError: not within ``timeout`` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                # Envoy announces nothing: its admin socket has to be asked.
                while self.pid is None or not await is_live(  # noqa: ASYNC110
                    self._settings.admin_socket
                ):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise EnvoyNotReadyError(f"Envoy is not live after {timeout} s") from None

    async def _run_once(self) -> int:
        self._settings.admin_socket.unlink(missing_ok=True)
        os.close(open_private(self._settings.request_log))
        text_read, text_write = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *bound_to_us(command(self._settings)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=text_write,
            )
        finally:
            os.close(text_write)
        self._process = process
        _raise_file_limit(process.pid)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy_text(text_read))
                status = await process.wait()
        finally:
            await _stop(process)
            self._process = None
        return status


def command(settings: EnvoySettings) -> Sequence[str]:
    """The command line; it holds no secret."""
    return (
        str(envoy_binary()),
        *("--config-path", str(settings.bootstrap_path)),
        *("--concurrency", str(settings.concurrency)),
        *("--drain-time-s", str(settings.drain_seconds), "--drain-strategy", "immediate"),
        *("--file-flush-interval-msec", str(_FLUSH_MILLISECONDS)),
        *("--log-level", "warning", "--log-format", "%l %n: %v"),
        "--disable-hot-restart",
        "--skip-deprecated-logs",
    )


def write_bootstrap(settings: EnvoySettings) -> Path:
    """Put the bootstrap file in place, readable by its owner alone."""
    config = bootstrap(settings)
    check_bootstrap(config)
    path = settings.bootstrap_path
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)
    return path


async def _copy_text(descriptor: int) -> None:
    """Pass Envoy's own messages on to our log."""
    reader, transport = await _reader(descriptor)
    try:
        async for line in reader:
            level, _, message = line.decode("utf-8", "replace").rstrip().partition(" ")
            if message:
                grave = level in {"error", "critical"}
                _ENVOY_LOG.log(logging.ERROR if grave else logging.WARNING, "%.2000s", message)
    finally:
        transport.close()


async def _reader(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader(limit=_MAX_TEXT)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    return reader, transport


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the process: politely, then not."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _raise_file_limit(pid: int) -> None:
    """Let Envoy have as many descriptors as the system allows; it never raises its own limit."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    except (ProcessLookupError, PermissionError):
        _LOG.warning("could not raise Envoy's limit of open files")
