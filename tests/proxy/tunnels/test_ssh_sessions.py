"""What the SSH tunnel server gives a client beside its forward: a log, and nothing else."""

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from clients.mysocketctl.sightings import Sighting, read_sshd_log
from proxy.tunnels.ssh import stream
from proxy.tunnels.ssh.connection import TunnelConnection
from tests.support.edge_state import ALICE, certify, edge_tunnel, new_key
from tests.support.tunnel_bench import Bench, ask, origin, saying, ssh_bench


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="edge", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def login(bench: Bench, **options: Any) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """An asyncssh client, logged in as alice."""
    values: dict[str, Any] = {
        "username": ALICE,
        "known_hosts": None,
        "config": None,
        "agent_path": None,
        "client_keys": [bench.edge.keys[ALICE][0]],
    }
    async with asyncssh.connect("127.0.0.1", bench.backend.port, **values | options) as connection:
        yield connection


async def forward(
    connection: asyncssh.SSHClientConnection, address: str, port: int, to: int
) -> asyncssh.SSHListener:
    return await connection.forward_remote_port(address, port, "127.0.0.1", to)


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "::1", ""])
async def test_a_stream_names_the_address_that_was_asked_for(folder: Path, address: str) -> None:
    """x/crypto/ssh closes a stream whose address is not the one of its own request."""
    opened: list[tuple[str, int, str, int]] = []

    class Watching(asyncssh.SSHClientConnection):
        def _process_forwarded_tcpip_open(self, packet: Any) -> Any:
            copy = asyncssh.packet.SSHPacket(packet.get_remaining_payload())
            host, port = copy.get_string().decode(), copy.get_uint32()
            opened.append((host, port, copy.get_string().decode(), copy.get_uint32()))
            return super()._process_forwarded_tcpip_open(packet)  # type: ignore[misc]

    async with ssh_bench(folder) as bench, origin(saying(b"x")) as port, login(bench) as connection:
        connection.__class__ = Watching
        await forward(connection, address, 10001, port)
        assert await ask(await bench.connected(), b"") == b"x"
        host, asked, originator, source_port = opened[0]
        assert (host, asked) == (address, 10001)
        assert originator == "127.0.0.1"
        assert source_port > 0


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("localhost", 10002),
        ("localhost", 22),
        ("localhost", 0),
        ("0.0.0.0", 10001),
        ("*", 10001),
        ("example.test", 10001),
    ],
)
async def test_other_forwards_are_refused(folder: Path, address: str, port: int) -> None:
    async with ssh_bench(folder) as bench, login(bench) as connection:
        bench.edge.tunnels.append(edge_tunnel("t-2", 10002, user="b" * 32))
        bench.apply()
        with pytest.raises(asyncssh.ChannelListenError):
            await forward(connection, address, port, 9)
        assert not bench.table.connected()


async def test_port_0_means_the_certificates_socket(folder: Path) -> None:
    async with ssh_bench(folder) as bench, origin(saying(b"x")) as port:
        bench.edge.tunnels.insert(0, edge_tunnel("t-9", 10009, socket_id="other-id"))
        bench.apply()
        private = certify(folder, bench.edge.authority, new_key())
        keys = [(str(private), str(private) + "-cert.pub")]
        async with login(bench, client_keys=keys) as connection:
            listener = await forward(connection, "localhost", 0, port)
            assert listener.get_port() == 10001
            assert await ask(await bench.connected(), b"") == b"x"


async def test_port_0_takes_a_free_tunnel_before_a_busy_one(folder: Path) -> None:
    async with ssh_bench(folder) as bench:
        bench.edge.tunnels.append(edge_tunnel("t-2", 10002))
        bench.apply()
        private = certify(folder, bench.edge.authority, new_key())
        keys = [(str(private), str(private) + "-cert.pub")]
        async with login(bench, client_keys=keys) as one, login(bench, client_keys=keys) as two:
            ports = [(await forward(item, "localhost", 0, 9)).get_port() for item in (one, two)]
        assert ports == [10001, 10002]


async def test_a_certificate_may_name_its_tunnel(folder: Path) -> None:
    async with ssh_bench(folder) as bench:
        bench.edge.tunnels.append(edge_tunnel("t-2", 10002))
        bench.apply()
        private = certify(folder, bench.edge.authority, new_key(), key_id=f"{ALICE}.1:web-id:t-2")
        keys = [(str(private), str(private) + "-cert.pub")]
        async with login(bench, client_keys=keys) as connection:
            with pytest.raises(asyncssh.ChannelListenError):
                await forward(connection, "localhost", 10001, 9)
            assert (await forward(connection, "localhost", 0, 9)).get_port() == 10002


async def test_cancelling_a_forward_frees_the_tunnel(folder: Path) -> None:
    async with ssh_bench(folder) as bench, login(bench) as connection:
        listener = await forward(connection, "localhost", 10001, 9)
        path = await bench.connected()
        listener.close()
        await listener.wait_closed()
        assert not bench.table.connected()
        assert not path.exists()


async def test_the_same_tunnel_asked_for_twice_stays(folder: Path) -> None:
    async with ssh_bench(folder) as bench, origin(saying(b"x")) as port, login(bench) as connection:
        await forward(connection, "localhost", 10001, port)
        await forward(connection, "127.0.0.1", 10001, port)
        assert await ask(await bench.connected(), b"") == b"x"


# Everything else is refused.


async def test_environment_variables_are_not_collected(folder: Path) -> None:
    async with ssh_bench(folder) as bench, login(bench) as connection:
        made: list[Any] = []
        create = TunnelConnection.create_server_channel

        def watch(self: TunnelConnection, *arguments: Any) -> Any:
            made.append(create(self, *arguments))
            return made[-1]

        TunnelConnection.create_server_channel = watch  # type: ignore[method-assign]
        try:
            process = await shell(connection, env={"LANG": "C", "X": "1" * 1000})
            await seen_until(process, b"Welcome")
        finally:
            TunnelConnection.create_server_channel = create  # type: ignore[method-assign]
        assert made[0].get_environment_bytes() == {}


async def test_commands_and_subsystems_are_refused(folder: Path) -> None:
    async with ssh_bench(folder) as bench, login(bench) as connection:
        for request in ({"command": "id"}, {"subsystem": "sftp"}, {"subsystem": "netconf"}):
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_session(asyncssh.SSHClientSession, **request)


async def test_connections_into_the_edges_network_are_refused(folder: Path) -> None:
    async with ssh_bench(folder) as bench, login(bench) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", bench.backend.port)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_unix_connection(str(folder / "t"))


async def test_listening_on_unix_sockets_is_refused(folder: Path) -> None:
    async with ssh_bench(folder) as bench, login(bench) as connection:
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_path(str(folder / "x.sock"), "/tmp/y.sock")
        assert not (folder / "x.sock").exists()


def _agent_directories() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("asyncssh-*"))


async def test_agent_and_display_are_refused(folder: Path) -> None:
    before = _agent_directories()
    async with ssh_bench(folder) as bench, login(bench, agent_forwarding=True) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_session(
                asyncssh.SSHClientSession, x11_forwarding=True, x11_display="localhost:0"
            )
        assert _agent_directories() <= before


async def test_passwords_are_not_asked_for(folder: Path) -> None:
    async with ssh_bench(folder) as bench:
        for options in ({"preferred_auth": "password"}, {"preferred_auth": "keyboard-interactive"}):
            with pytest.raises(asyncssh.PermissionDenied):
                async with login(bench, password="x", client_keys=None, **options):
                    pass


# The screen.


async def shell(connection: asyncssh.SSHClientConnection, **options: Any) -> Any:
    return await connection.create_process(encoding=None, **options)


async def seen_until(process: Any, text: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(10):
        while text not in seen:
            seen += await process.stdout.read(4096)
    return seen


@pytest.mark.parametrize("terminal", [None, "xterm-256color"])
async def test_the_log_survives_the_end_of_the_clients_input(
    folder: Path, terminal: str | None
) -> None:
    async with ssh_bench(folder) as bench, login(bench) as connection:
        process = await shell(connection, term_type=terminal, term_size=(80, 40))
        process.stdin.write_eof()
        await seen_until(process, b"Welcome")
        await forward(connection, "localhost", 10001, 9)
        seen = await seen_until(process, b"Logs\r\n")
        assert b"web - https://web.edge.localhost:8443\r\n" in seen
        bench.backend.log("web-id", "a line")
        await seen_until(process, b"a line\r\n")


async def test_an_interrupt_at_the_terminal_ends_the_connection(folder: Path) -> None:
    async with ssh_bench(folder) as bench, login(bench) as connection:
        process = await shell(connection, term_type="xterm")
        process.stdin.write(b"x\x03")
        async with asyncio.timeout(5):
            await connection.wait_closed()


async def test_without_a_terminal_there_is_no_interrupt(folder: Path) -> None:
    async with ssh_bench(folder) as bench, login(bench) as connection:
        process = await shell(connection)
        process.stdin.write(b"x\x03")
        await forward(connection, "localhost", 10001, 9)
        await seen_until(process, b"Logs")


async def test_a_socket_named_by_an_adversary_draws_nothing_on_the_screen(folder: Path) -> None:
    async with ssh_bench(folder) as bench:
        bench.edge.sockets[0] = type(bench.edge.sockets[0])(
            **{
                name: getattr(bench.edge.sockets[0], name)
                for name in bench.edge.sockets[0].__slots__
            }
            | {"name": "\x1b]0;owned\x07\u00e9"}
        )
        bench.apply()
        async with login(bench) as connection:
            await forward(connection, "localhost", 10001, 9)
            process = await shell(connection)
            seen = await seen_until(process, b"Logs")
        assert b"\x1b" not in seen
        assert seen.isascii()


async def test_sessions_are_limited(folder: Path) -> None:
    async with ssh_bench(folder) as bench, login(bench) as connection:
        for _ in range(8):
            await shell(connection)
        with pytest.raises(asyncssh.ChannelOpenError):
            await shell(connection)


# Limits before the login.


async def test_a_client_that_does_not_log_in_is_cut(folder: Path) -> None:
    async with ssh_bench(folder, login_grace=0.3) as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.backend.port)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()


async def test_clients_that_do_not_log_in_are_few(folder: Path) -> None:
    async with ssh_bench(folder, max_unauthenticated=3) as bench:
        waiting = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.backend.port)
            assert (await reader.readline()).startswith(b"SSH-2.0-mysocket")
            waiting.append((reader, writer))
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.backend.port)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                rest = await reader.read()
                assert len(rest) < 100
        writer.close()
        waiting[0][1].close()
        async with asyncio.timeout(5):
            while True:
                try:
                    async with login(bench):
                        break
                except (asyncssh.Error, OSError):
                    continue
        for _, item in waiting[1:]:
            item.close()


async def test_endless_keys_are_not_tried(folder: Path) -> None:
    async with ssh_bench(folder) as bench:
        with pytest.raises(asyncssh.Error) as end:
            async with login(bench, client_keys=[new_key() for _ in range(40)]):
                pass
        assert "too many keys" in str(end.value)


# paramiko loses bytes when a window ends in the middle of its write.


async def test_paramiko_gets_a_window_that_does_not_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "READ_AHEAD", 1 << 16)
    held: list[object] = []
    hold = TunnelConnection.hold

    def holding(connection: TunnelConnection, item: object) -> None:
        held.append(item)
        hold(connection, item)

    monkeypatch.setattr(TunnelConnection, "hold", holding)
    block = bytes(range(256)) * 4096
    windows: list[int] = []

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(40):
            writer.write(block)
            await writer.drain()
        writer.write_eof()
        await reader.read()

    async with (
        ssh_bench(folder) as bench,
        origin(send) as port,
        login(bench, client_version="paramiko_2.7.2") as connection,
    ):
        create = connection.create_tcp_channel

        def watch(*arguments: Any, **options: Any) -> Any:
            channel = create(*arguments, **options)
            opened = channel.process_open

            def process_open(number: int, window: int, *rest: Any) -> None:
                windows.append(window)
                opened(number, window, *rest)

            channel.process_open = process_open  # type: ignore[method-assign]
            return channel

        connection.create_tcp_channel = watch  # type: ignore[method-assign]
        await forward(connection, "localhost", 10001, port)
        reader, writer = await asyncio.open_unix_connection(str(await bench.connected()))
        received = b""
        async with asyncio.timeout(30):
            while data := await reader.read(1 << 20):
                received += data
        writer.close()
        assert received == block * 40
        assert windows == [1 << 30]
        assert held


async def test_a_reader_that_stops_does_not_hold_a_paramiko_tunnel_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STALL_DEADLINE", 1.0)
    monkeypatch.setattr(stream, "READ_AHEAD", 1 << 16)
    held = asyncio.Event()
    hold = TunnelConnection.hold

    def holding(connection: TunnelConnection, item: object) -> None:
        hold(connection, item)
        held.set()

    monkeypatch.setattr(TunnelConnection, "hold", holding)

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * (1 << 18))
            await writer.drain()

    async with (
        ssh_bench(folder) as bench,
        origin(flood) as port,
        login(bench, client_version="paramiko_2.7.2") as connection,
    ):
        await forward(connection, "localhost", 10001, port)
        _reader, writer = await asyncio.open_unix_connection(
            str(await bench.connected()), limit=1024
        )
        writer.transport.pause_reading()
        async with asyncio.timeout(10):
            await held.wait()
        process = await shell(connection)
        async with asyncio.timeout(10):
            assert b"Welcome" in await process.stdout.read(100)
        writer.transport.abort()


@pytest.mark.parametrize("ca_type", ["ssh-ed25519", "ecdsa-sha2-nistp384"])
@pytest.mark.parametrize("key_type", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
async def test_a_login_is_logged_as_sshd_would(
    folder: Path, caplog: pytest.LogCaptureFixture, key_type: str, ca_type: str
) -> None:
    """Whoever has the CA's key leaves a trace that ``ca reconcile`` finds."""
    caplog.set_level(logging.INFO, "proxy.tunnels.ssh")
    async with ssh_bench(folder) as bench:
        key, ca = (asyncssh.generate_private_key(kind) for kind in (key_type, ca_type))
        bench.edge.authority = ca
        bench.apply()
        private = certify(folder, ca, key, serial=2**64 - 2)
        certificate = asyncssh.read_certificate(f"{private}-cert.pub")
        async with login(bench, client_keys=[(str(private), certificate)]):
            pass
        async with login(bench):
            pass
    lines = [one.getMessage() for one in caplog.records if "publickey" in one.message]
    (found,) = read_sshd_log([f"2026-11-23T12:00:00+0100 INFO a.b: {lines[0]}\n".encode()])
    assert found == Sighting(
        kind="ssh",
        serial=str(2**64 - 2),
        ca=ca.get_fingerprint(),
        key_fingerprint=key.get_fingerprint(),
        key_id=f"{ALICE}.1:web-id",
        seen_at="2026-11-23T11:00:00.000000+00:00",
    )
    kind = {"ssh-ed25519": "ED25519", "ssh-rsa": "RSA"}.get(key_type, "ECDSA")
    assert f" ssh2: {kind}-CERT SHA256:" in lines[0]
    own = bench.edge.keys[ALICE][0].get_fingerprint()
    assert lines[1].startswith(f"Accepted publickey for {ALICE} from 127.0.0.1 port ")
    assert lines[1].endswith(f" ssh2: ED25519 {own}")
