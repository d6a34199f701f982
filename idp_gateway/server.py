"""Runs the gateway: one event loop, a unix socket for the edge beside it, optionally a TCP port."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn
import uvloop

from idp_gateway.app import create_app
from idp_gateway.composition import Gateway
from idp_gateway.errors import SettingsError
from idp_gateway.http_protocol import BoundedHttpProtocol
from idp_gateway.settings import Settings
from idp_gateway.upkeep import follow_names, follow_time, tend

log = logging.getLogger(__name__)

UPKEEP_SECONDS = 600
"""How often ``upkeep.tend`` runs."""
TIME_SECONDS = 20
"""How often ``upkeep.follow_time`` runs: so long may an address be let in that only somebody's
approval opened the socket to, and who comes from there still needs a grant."""

_STOPPING = (signal.SIGINT, signal.SIGTERM)
_BACKLOG = 2048
_GARBAGE_THRESHOLDS = (20_000, 20, 50)
"""Objects made before somebody looks for cycles among them: a request makes thousands and leaves
none, so with Python's 700 it would be looked through several times (7 % of a certificate)."""
_GRACE_SECONDS = 3
_SWITCH_SECONDS = 0.001
"""How long a thread that comes back from the disk waits for one that computes; a fifth of Python's
own, since a group of certificates waits with it."""


class _Server(uvicorn.Server):
    """Ends the open feeds first: they never end by themselves."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on either signal; uvicorn's own way raises it again, which puts nothing away."""
        before = {number: signal.signal(number, self.handle_exit) for number in _STOPPING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gateway.feed.close()
        super().handle_exit(sig, frame)


def serve(gateway: Gateway) -> None:
    """Answer requests until SIGTERM or SIGINT; then finish those under way, for seconds at most.

    Raises:
        SettingsError: an address is in use or cannot be bound.
    """
    follow_names(gateway)
    config = uvicorn.Config(
        create_app(gateway),
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        # Only dependencies.source_address says whose word on addresses counts.
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        backlog=_BACKLOG,
    )
    sys.setswitchinterval(_SWITCH_SECONDS)
    # What is loaded by now stays: looking through it for garbage would hold every request up for
    # a tenth of a second, again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    with _listeners(gateway.settings) as sockets:
        log.info("gateway %s ready", gateway.settings.base_url)
        uvloop.run(_run(_Server(config, gateway), gateway, sockets))
    gateway.close()


async def _run(server: _Server, gateway: Gateway, sockets: list[socket.socket]) -> None:
    rounds = ((tend, UPKEEP_SECONDS), (follow_time, TIME_SECONDS))
    upkeep = [asyncio.create_task(_keep_up(gateway, *one)) for one in rounds]
    try:
        await server.serve(sockets)
    finally:
        for task in upkeep:
            task.cancel()


async def _keep_up(gateway: Gateway, go: Callable[[Gateway], None], seconds: float) -> None:
    while True:
        await asyncio.to_thread(go, gateway)
        await asyncio.sleep(seconds)


@contextlib.contextmanager
def _listeners(settings: Settings) -> Iterator[list[socket.socket]]:
    sockets = [_listen_unix(settings.listen_socket)]
    try:
        if settings.listen_address:
            sockets.append(_listen_tcp(settings.listen_address))
        yield sockets
    finally:
        for listener in sockets:
            listener.close()
        settings.listen_socket.unlink(missing_ok=True)


def _listen_unix(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists():
        _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {path}: {error}") from error
    return listener


def _remove_stale(path: Path) -> None:
    """Take the place of a gateway that was killed, never of one that answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise SettingsError(f"a gateway is running on {path} already")
    path.unlink()


def _listen_tcp(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server(
            (host.strip("[]"), int(port)),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            backlog=_BACKLOG,
        )
    except OSError as error:
        raise SettingsError(f"cannot listen on {address}: {error}") from error
