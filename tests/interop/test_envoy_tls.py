"""TLS and TCP sockets through the real Envoy: nothing reaches an origin without the certificate."""

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from policy.types import SocketType
from tests.support.certificates import Authority
from tests.support.envoy import DOMAIN, Edge, a_socket, running_edge
from tests.support.processes import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

BANNER = b"SSH-2.0-first\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    folder: Path = tmp_path_factory.mktemp("e")
    async with running_edge(folder) as running:
        for name, identity in (("db", True), ("other", True), ("anon", False)):
            made = a_socket(
                name, socket_type=SocketType.TLS, ports=(free_port(),), identity_required=identity
            )
            await running.add(made, greeting=BANNER)
        yield running


def context(edge: Edge, certificate: Path | None, version: ssl.TLSVersion) -> ssl.SSLContext:
    made = edge.client_tls()
    made.minimum_version = made.maximum_version = version
    if certificate:
        made.load_cert_chain(certificate)
    return made


async def talk(edge: Edge, name: str, tls: ssl.SSLContext | None, host: str | None = None) -> bytes:
    """The banner and an echo, or whatever came before the connection was refused."""
    port = edge.sockets[name].ports[0]
    server_name = (host or f"{name}.{DOMAIN}") if tls else None
    received = b""
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname=server_name
        )
        try:
            async with asyncio.timeout(5):
                received = await reader.read(100)
                if received:
                    writer.write(b"ping")
                    received += await reader.readexactly(4)
        finally:
            writer.close()
    except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
        pass
    return received


def uri(socket: str, epoch: int = 1) -> str:
    return f"urn:mysocket:socket:{socket}:{epoch}"


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
async def test_the_right_certificate_opens_the_socket(edge: Edge, version: ssl.TLSVersion) -> None:
    certificate = edge.authority.client(edge.folder, uri("db"))
    assert await talk(edge, "db", context(edge, certificate, version)) == BANNER + b"ping"


def refused_certificates(edge: Edge) -> dict[str, Path | None]:
    ours, hour = edge.authority, dt.timedelta(hours=1)
    minute = dt.timedelta(minutes=1)
    folder = edge.folder
    return {
        "none": None,
        "expired": ours.client(folder, uri("db"), start=-hour, end=-minute),
        "future": ours.client(folder, uri("db"), start=minute, end=hour),
        "other-socket": ours.client(folder, uri("other")),
        "other-epoch": ours.client(folder, uri("db", 2)),
        "longer-name": ours.client(folder, uri("db", 11)),
        "other-ca": Authority.new().client(folder, uri("db")),
        "server-usage": ours.client(folder, uri("db"), usage=ExtendedKeyUsageOID.SERVER_AUTH),
    }


@VERSIONS
async def test_any_other_certificate_opens_nothing(edge: Edge, version: ssl.TLSVersion) -> None:
    origin = edge.origins["db"]
    before = origin.connections
    for name, certificate in refused_certificates(edge).items():
        assert await talk(edge, "db", context(edge, certificate, version)) == b"", name
    assert origin.connections == before


@VERSIONS
async def test_a_session_cannot_be_resumed(edge: Edge, version: ssl.TLSVersion) -> None:
    """Resumption would outlive the certificate: with none offered, every handshake checks it."""
    certificate = edge.authority.client(edge.folder, uri("db"))

    def attempt(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        port = edge.sockets["db"].ports[0]
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            tls.wrap_socket(plain, server_hostname=f"db.{DOMAIN}", session=session) as secure,
        ):
            assert secure.recv(100) == BANNER
            return secure.session, secure.session_reused

    tls = context(edge, certificate, version)
    session, _ = await asyncio.to_thread(attempt, None)
    assert not (session and session.has_ticket)
    if session is not None:
        _, reused = await asyncio.to_thread(attempt, session)
        assert not reused


async def test_after_expiry_the_same_client_reaches_nothing(edge: Edge) -> None:
    """OpenSSL keeps its session for a second attempt, made when the certificate has ended."""
    end = dt.timedelta(seconds=2)
    certificate = edge.authority.client(edge.folder, uri("db"), end=end)
    origin = edge.origins["db"]
    session_file = edge.folder / "session.pem"
    command = (
        *("openssl", "s_client", "-connect", f"127.0.0.1:{edge.sockets['db'].ports[0]}"),
        *("-servername", f"db.{DOMAIN}", "-cert", str(certificate), "-key", str(certificate)),
        *("-tls1_2", "-quiet"),
    )

    async def run(*more: str) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *command,
            *more,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(5):
                return await process.stdout.read(len(BANNER))
        finally:
            process.stdin.close()
            if process.returncode is None:
                process.kill()
            await process.wait()

    assert await run("-sess_out", str(session_file)) == BANNER
    before = origin.connections
    expired = edge.authority.client(edge.folder, uri("db"), start=-2 * end, end=-end)
    replaced = expired.read_text()
    certificate.write_text(replaced)
    resumed = ("-sess_in", str(session_file)) if session_file.exists() else ()
    assert await run(*resumed) == b""
    assert origin.connections == before


async def test_a_new_epoch_refuses_the_next_handshake(edge: Edge) -> None:
    port = free_port()
    made = a_socket("cut", socket_type=SocketType.TLS, ports=(port,))
    await edge.add(made, greeting=BANNER)
    tls = context(edge, edge.authority.client(edge.folder, uri("cut")), ssl.TLSVersion.TLSv1_3)
    assert await talk(edge, "cut", tls) == BANNER + b"ping"
    edge.sockets["cut"] = a_socket("cut", socket_type=SocketType.TLS, ports=(port,), epoch=2)
    await edge.apply()
    before = edge.origins["cut"].connections
    assert await talk(edge, "cut", tls) == b""
    assert edge.origins["cut"].connections == before
    again = context(edge, edge.authority.client(edge.folder, uri("cut", 2)), ssl.TLSVersion.TLSv1_3)
    assert await talk(edge, "cut", again) == BANNER + b"ping"


async def test_a_renewed_server_certificate_cuts_nobody(edge: Edge) -> None:
    tls = context(edge, edge.authority.client(edge.folder, uri("db")), ssl.TLSVersion.TLSv1_3)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", edge.sockets["db"].ports[0], ssl=tls, server_hostname=f"db.{DOMAIN}"
    )
    assert await reader.readexactly(len(BANNER)) == BANNER
    old = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    edge.certificate = edge.authority.server("gateway.localhost", f"*.{DOMAIN}")
    await edge.apply()
    _, second = await asyncio.open_connection(
        "127.0.0.1", edge.sockets["db"].ports[0], ssl=tls, server_hostname=f"db.{DOMAIN}"
    )
    assert second.get_extra_info("ssl_object").getpeercert(binary_form=True) != old
    writer.write(b"still here")
    assert await reader.readexactly(10) == b"still here"
    writer.close()
    second.close()


async def test_an_open_tls_socket_needs_no_certificate(edge: Edge) -> None:
    tls = context(edge, None, ssl.TLSVersion.TLSv1_3)
    assert await talk(edge, "anon", tls) == BANNER + b"ping"


async def test_a_tcp_socket_carries_bytes_and_one_for_identities_is_closed(edge: Edge) -> None:
    port = free_port()
    made = a_socket("raw", socket_type=SocketType.TCP, ports=(port,), identity_required=False)
    await edge.add(made, greeting=BANNER)
    assert await talk(edge, "raw", None) == BANNER + b"ping"
    edge.sockets["raw"] = a_socket("raw", socket_type=SocketType.TCP, ports=(port,))
    await edge.apply()
    assert edge.resources
    assert edge.resources.refused["raw"] == "identity-not-checkable"
    assert await talk(edge, "raw", None) == b""


async def test_a_dead_tunnel_is_passed_over(edge: Edge) -> None:
    port = free_port()
    made = a_socket("two", socket_type=SocketType.TCP, ports=(port,), identity_required=False)
    await edge.add(made, greeting=BANNER)
    edge.endpoints["two"] = (str(edge.folder / "gone.sock"), *edge.endpoints["two"])
    await edge.apply()
    for _ in range(4):
        assert await talk(edge, "two", None) == BANNER + b"ping"


async def test_connections_are_recorded_with_their_person(edge: Edge) -> None:
    # Connections of earlier tests may be logged as late as now; of these two either may be first.
    beginning = dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=1)
    certificate = edge.authority.client(edge.folder, uri("db"))
    await talk(edge, "db", context(edge, certificate, ssl.TLSVersion.TLSv1_3))
    await talk(edge, "db", context(edge, None, ssl.TLSVersion.TLSv1_3))
    shown = x509.load_pem_x509_certificate(certificate.read_bytes())
    allowed = denied = None
    while not (allowed and denied):
        record = await edge.record()
        if record.started_at < beginning:
            continue
        if record.upstream:
            allowed = record
        else:
            denied = record
    assert (allowed.kind, allowed.socket_id) == ("stream", "db")
    assert int(allowed.peer_serial, 16) == shown.serial_number
    assert allowed.email == "alice@example.com"
    assert allowed.bytes_sent == len(BANNER) + 4
    assert allowed.peer_sha256 == shown.fingerprint(hashes.SHA256()).hex()
    assert allowed.peer_issuer
    assert (denied.socket_id, denied.email, denied.peer_serial) == ("db", "", "")
    assert denied.refused
