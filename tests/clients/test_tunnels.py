"""``tunnel connect`` and ``connect`` with both engines against a real SSH server."""

import asyncio
import contextlib
import gc
import signal
import socket
import threading
from asyncio.selector_events import _SelectorTransport
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.clients.conftest import Ctl
from tests.support.processes import eventually
from tests.support.wire_gateway import USER_ID, WireGateway

USER = USER_ID.replace("-", "")


@dataclass(slots=True)
class TunnelServer:
    """asyncssh in a thread: certificate logins only, remote forwards to the ports asked for."""

    authority: str
    port: int = 0
    host_key: str = ""
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None
    over: threading.Event = field(default_factory=threading.Event)

    async def serve(self, ready: threading.Event) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = key.export_public_key().decode().strip()
        keys = asyncssh.import_authorized_keys(f"cert-authority {self.authority}\n")
        server = self

        class Login(asyncssh.SSHServer):
            def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
                server.connections.append(connection)
                if server.over.is_set():
                    connection.abort()

            def server_requested(self, listen_host: str, listen_port: int) -> bool:
                return listen_host == "localhost"

        def log(process: asyncssh.SSHServerProcess[str]) -> None:
            process.stdout.write("Welcome to the tunnel\r\n")

        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Login,
            server_host_keys=[key],
            authorized_client_keys=keys,
            process_factory=log,
        )
        self.port = acceptor.get_port()
        self.loop = asyncio.get_running_loop()
        ready.set()
        await asyncio.to_thread(self.over.wait)
        acceptor.close()
        # A client that came back just now is accepted in a later turn, and transports close in one.
        async with asyncio.timeout(10):
            while self._open() or len(asyncio.all_tasks()) > 1:
                for transport in self._open():
                    transport.abort()
                await asyncio.sleep(0)

    def _open(self) -> list[asyncio.WriteTransport]:
        """What has still a socket, be it of a login or of a forwarded connection."""
        assert self.loop is not None
        known = list(self.loop._transports.values())  # type: ignore[attr-defined]
        return [one for one in known if one.get_extra_info("socket").fileno() >= 0]

    def run(self, ready: threading.Event) -> None:
        asyncio.run(self.serve(ready))
        # What asyncssh left open all the same, now and then, is not to fail the test after this.
        for one in gc.get_objects():
            if isinstance(one, _SelectorTransport) and one._loop is self.loop and one._sock:
                one._sock.close()
                one._sock = None

    def cut(self) -> None:
        """End every connection."""
        assert self.loop is not None
        for connection in self.connections:
            self.loop.call_soon_threadsafe(connection.abort)


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def server(gateway: WireGateway) -> Iterator[TunnelServer]:
    line = gateway.ssh_ca.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    running = TunnelServer(line.decode())
    ready = threading.Event()
    thread = threading.Thread(target=running.run, args=(ready,), daemon=True)
    thread.start()
    assert ready.wait(10)
    gateway.tunnel = {
        "tunnel_id": "t-1",
        "local_port": free(),
        "tunnel_server": "tunnel.localhost",
        "tunnel_server_port": running.port,
        "tunnel_server_host_keys": [running.host_key],
    }
    yield running
    running.over.set()
    thread.join(10)


@pytest.fixture
def origin() -> Iterator[int]:
    """Answers each connection with one word."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = listening.accept()
                with connection:
                    connection.sendall(b"origin")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield int(listening.getsockname()[1])
    with contextlib.suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(5)


def reached(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        return connection.recv(100) == b"origin"


@pytest.mark.parametrize("engine", ["system", "asyncssh"])
def test_connects_shows_the_log_and_comes_back(
    ctl: Ctl, gateway: WireGateway, server: TunnelServer, origin: int, engine: str
) -> None:
    ctl.log_in()
    process = ctl.start(
        *("tunnel", "connect", "--socket_id", "s-1", "--tunnel_id", "t-1"),
        *("--port", str(origin), "--engine", engine),
    )
    try:
        eventually(lambda: reached(gateway.tunnel["local_port"]), within=20)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"Welcome to the tunnel"
        server.cut()
        eventually(lambda: len(server.connections) == 2, within=20)
        eventually(lambda: reached(gateway.tunnel["local_port"]), within=20)
        assert gateway.asked("POST", "/socket/s-1/tunnel/t-1/signkey") == 2
    finally:
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert err.endswith(b"Tunnel disconnected.\n")


@pytest.mark.parametrize("engine", ["system", "asyncssh"])
def test_server_with_another_host_key_gets_nothing(
    ctl: Ctl, gateway: WireGateway, server: TunnelServer, origin: int, engine: str
) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    gateway.tunnel["tunnel_server_host_keys"] = [other]
    ctl.log_in()
    process = ctl.start(
        *("tunnel", "connect", "--socket_id", "s-1", "--tunnel_id", "t-1"),
        *("--port", str(origin), "--engine", engine),
    )
    assert process.stderr is not None
    said = b""
    for line in process.stderr:
        said += line
        if b"next attempt" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert b"ost key" in said, said
    assert process.returncode == 0


def test_tunnel_that_is_gone_ends_the_command(ctl: Ctl, gateway: WireGateway, origin: int) -> None:
    ctl.log_in()
    problem = (404, b'{"detail": "No such tunnel."}')
    gateway.refuse["GET /socket/s-1/tunnel/t-1"] = problem
    ids = ("--socket_id", "s-1", "--tunnel_id", "t-1")
    done = ctl.run("tunnel", "connect", *ids, "--port", str(origin))
    assert (done.returncode, done.stderr) == (1, b"mysocketctl: No such tunnel.\n")


def test_connect_deletes_its_socket_at_the_end(
    ctl: Ctl, gateway: WireGateway, server: TunnelServer, origin: int
) -> None:
    ctl.log_in()
    process = ctl.start("connect", "--port", str(origin), "--name", "files")
    eventually(lambda: reached(gateway.tunnel["local_port"]), within=20)
    assert list(gateway.sockets) == ["s-1"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert b"calm-otter-4711" in out
    assert gateway.sockets == {}


def test_killed_client_leaves_no_ssh_behind(
    ctl: Ctl, gateway: WireGateway, server: TunnelServer, origin: int
) -> None:
    ctl.log_in()
    ids = ("--socket_id", "s-1", "--tunnel_id", "t-1")
    process = ctl.start("tunnel", "connect", *ids, "--port", str(origin), "--engine", "system")
    eventually(lambda: reached(gateway.tunnel["local_port"]), within=20)
    process.kill()
    process.communicate(timeout=10)

    def freed() -> bool:
        try:
            return not reached(gateway.tunnel["local_port"])
        except ConnectionRefusedError:
            return True

    eventually(freed, within=10)


def test_own_key_is_private_and_stays(
    ctl: Ctl, gateway: WireGateway, server: TunnelServer, origin: int
) -> None:
    ctl.log_in()
    process = ctl.start("connect", "--port", str(origin))
    eventually(lambda: reached(gateway.tunnel["local_port"]), within=20)
    key = ctl.home / ".mysocket" / f"tunnel_{USER}"
    assert oct(key.stat().st_mode)[-3:] == "600"
    assert oct(Path(key.parent).stat().st_mode)[-3:] == "700"
    process.terminate()
    process.communicate(timeout=10)


def test_nothing_is_dialled_without_a_host_key(
    ctl: Ctl, gateway: WireGateway, server: TunnelServer, origin: int
) -> None:
    gateway.tunnel["tunnel_server_host_keys"] = []
    ctl.log_in()
    ids = ("--socket_id", "s-1", "--tunnel_id", "t-1")
    process = ctl.start("tunnel", "connect", *ids, "--port", str(origin))
    assert process.stderr is not None
    assert b"no host key" in process.stderr.readline()
    process.terminate()
    process.communicate(timeout=10)
    assert server.connections == []
