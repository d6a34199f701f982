"""The whole edge: agent, tunnel server and Envoy as processes, the gateway coming and going."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from cryptography import x509

from clients.mysocketctl.log_files import Place, read_sshd_file
from clients.mysocketctl.sightings import Sighting
from policy.types import SocketType
from tests.proxy.conftest import EdgeProcess
from tests.support.edge_gateway import SmallAuthority
from tests.support.edge_state import ALICE, certify, edge_socket, new_key

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\norigin"


@asynccontextmanager
async def web_origin() -> AsyncIterator[int]:
    """An HTTP server behind the tunnel; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_a_socket_is_served_logged_and_reported(edge_process: EdgeProcess) -> None:
    gateway = edge_process.gateway
    async with gateway.serving(edge_process.folder / "gateway.sock"), web_origin() as port:
        await edge_process.start()
        await gateway.until(lambda: gateway.acks == [1])
        async with edge_process.tunnel(port) as ssh:
            await edge_process.answers(200, path="/a%0Ab?secret")
            assert ssh.stdout is not None
            seen = b""
            async with asyncio.timeout(10):
                while b"GET /a%0Ab 200" not in seen:
                    seen += await ssh.stdout.readline()
            assert b" - GET /a%0Ab 200 " in seen
            assert b"refused" not in seen
            kept = (edge_process.folder / "state" / "requests.jsonl").read_text()
            assert '"path":"/a%0Ab"' in kept
            assert "secret" not in kept
            assert b"secret" not in seen
            await gateway.until(lambda: "t-1" in gateway.connected)
            assert gateway.connected["t-1"]["peer"] == "127.0.0.1"
            assert gateway.reports[0]["ssh_host_key"].startswith("ssh-ed25519 AAAA")
        await gateway.until(lambda: not gateway.connected)
        await edge_process.answers(503)
        assert await edge_process.stop() == 0
        assert not (edge_process.folder / "run" / "edge.ready").exists()


async def test_a_login_to_the_tunnel_server_is_found_in_the_log(edge_process: EdgeProcess) -> None:
    gateway, log = edge_process.gateway, str(edge_process.folder / "edge.log")
    name = certify(edge_process.folder, edge_process.edge.authority, new_key(), serial=77).name
    async with gateway.serving(edge_process.folder / "gateway.sock"), web_origin() as port:
        await edge_process.start()
        assert list(read_sshd_file(log)) == []
        async with edge_process.tunnel(port, identity=name):
            await edge_process.answers(200)
        await edge_process.stop()
    ((found, place),) = read_sshd_file(log)
    assert isinstance(found, Sighting)
    assert isinstance(place, Place)
    assert (found.serial, place.login, place.address) == ("77", ALICE, "127.0.0.1")
    assert place.seen_at is not None
    age = datetime.now(UTC) - datetime.fromisoformat(place.seen_at)
    assert timedelta(0) <= age < timedelta(minutes=1)


async def test_the_edge_shows_a_certificate_of_the_ca_that_signs(
    edge_process: EdgeProcess,
) -> None:
    """The one before may be in other hands."""
    gateway, edge = edge_process.gateway, edge_process.edge
    async with gateway.serving(edge_process.folder / "gateway.sock"):
        for _ in range(2):
            before, gateway.authority = gateway.authority, SmallAuthority()
            edge.client_ca = gateway.authority.root_pem + before.root_pem
            await gateway.publish(edge.state())
            if edge_process.process is None:
                await edge_process.start()
            # Verified with the new one alone.
            await edge_process.answers(503)
            root = x509.load_pem_x509_certificate(gateway.authority.root_pem.encode())
            said = format(root.serial_number, "x")
            await gateway.until(lambda: gateway.reports[-1].get("server_ca") == said)  # noqa: B023
        assert gateway.certificates == 2


async def test_a_change_is_in_force_when_it_is_acknowledged(edge_process: EdgeProcess) -> None:
    gateway = edge_process.gateway
    async with gateway.serving(edge_process.folder / "gateway.sock"), web_origin() as port:
        await edge_process.start()
        async with edge_process.tunnel(port):
            await edge_process.answers(200)
            edge_process.edge.sockets = [edge_socket(identity_required=True)]
            await gateway.publish(edge_process.edge.state())
            await gateway.until(lambda: 2 in gateway.acks)
            assert (await edge_process.get()).status_code != 200
            assert gateway.late[-1] == []
            # An edge that never heard of it has none of its rules, and says so.
            late = edge_socket(
                "db", socket_type=SocketType.TLS, ports=(20000,), rules_version=3, rules_wanted=7
            )
            edge_process.edge.sockets.append(late)
            await gateway.publish(edge_process.edge.state())
            await gateway.until(lambda: 3 in gateway.acks)
            assert gateway.late[-1] == ["db-id"]


async def test_envoy_killed_is_back(edge_process: EdgeProcess) -> None:
    gateway = edge_process.gateway
    async with gateway.serving(edge_process.folder / "gateway.sock"), web_origin() as port:
        await edge_process.start()
        async with edge_process.tunnel(port):
            await edge_process.answers(200)
            killed = edge_process.envoy_pid()
            os.kill(killed, signal.SIGKILL)
            await edge_process.answers(200, seconds=10)
            assert edge_process.envoy_pid() != killed
    assert "fork" not in (edge_process.folder / "edge.log").read_text()


async def test_an_edge_restarted_without_its_gateway_serves_what_it_knew(
    edge_process: EdgeProcess,
) -> None:
    gateway = edge_process.gateway
    async with web_origin() as port:
        async with gateway.serving(edge_process.folder / "gateway.sock"):
            await edge_process.start()
            await gateway.until(lambda: gateway.acks == [1])
        await edge_process.stop(kill=True)
        await edge_process.start()
        async with edge_process.tunnel(port):
            await edge_process.answers(200)
            gateway.acks.clear()
            edge_process.edge.sockets = [edge_socket(identity_required=True)]
            gateway.state = edge_process.edge.state()
            async with gateway.serving(edge_process.folder / "gateway.sock"):
                await gateway.until(lambda: 2 in gateway.acks)
                assert (await edge_process.get()).status_code != 200
    for name in ("snapshot.json", "server.pem", "tunnel_host_ed25519"):
        assert (edge_process.folder / "state" / name).stat().st_mode & 0o777 == 0o600


async def test_a_wrong_digest_is_followed_by_a_snapshot(edge_process: EdgeProcess) -> None:
    gateway = edge_process.gateway
    async with gateway.serving(edge_process.folder / "gateway.sock"):
        await edge_process.start()
        gateway.spoil_digest = True
        gateway.feeds.clear()
        await gateway.publish(edge_process.edge.state())
        await gateway.until(lambda: gateway.feeds)
        gateway.spoil_digest = False
        await gateway.until(lambda: 2 in gateway.acks)
        assert set(gateway.feeds) == {0}
