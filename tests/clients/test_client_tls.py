"""``client tls`` against real TLS servers: verification, certificates, refusals, bytes."""

import contextlib
import hashlib
import os
import select
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest

from tests.clients.conftest import DNS_NAME, Ctl
from tests.support.processes import eventually
from tests.support.wire_gateway import Authority, WireGateway, running_edge


def echo(connection: ssl.SSLSocket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)
    with contextlib.suppress(OSError):
        connection.unwrap()


def digest(connection: ssl.SSLSocket) -> None:
    """Answers only after the client's end of writing."""
    seen = hashlib.sha256()
    while data := connection.recv(65536):
        seen.update(data)
    connection.sendall(seen.hexdigest().encode())
    with contextlib.suppress(OSError):
        connection.unwrap()


@pytest.fixture
def port(gateway: WireGateway, edge_context: ssl.SSLContext) -> int:
    with running_edge(edge_context, echo) as found:
        gateway.socket_port = found
        yield found


def test_logs_in_by_browser_and_connects(ctl: Ctl, gateway: WireGateway, port: int) -> None:
    done = ctl.run("client", "tls", "--host", DNS_NAME, stdin=b"hello\n")
    assert (done.returncode, done.stdout) == (0, b"hello\n"), done
    assert gateway.base.encode() in done.stderr
    for name in (f".mysocketio_token_{DNS_NAME}", f".mysocketio/{DNS_NAME}.key"):
        assert stat.S_IMODE((ctl.home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((ctl.home / ".mysocketio").stat().st_mode) == 0o700


def test_kept_certificate_needs_neither_gateway_nor_command_line_parser(
    ctl: Ctl, gateway: WireGateway, port: int
) -> None:
    assert ctl.run("client", "tls", "--host", DNS_NAME).returncode == 0
    gateway.requests.clear()
    quick = Ctl(ctl.home, ctl.environment, (sys.executable, "-X", "importtime", *ctl.program[1:]))
    done = quick.run("client", "tls", "--host", DNS_NAME.upper() + ".mysocket-dummy", stdin=b"x")
    assert done.stdout == b"x", done
    assert gateway.requests == []
    for heavy in (b"click", b"httpx", b"cryptography", b"dataclasses", b"inspect"):
        assert heavy not in done.stderr


def test_certificate_near_its_end_is_renewed_without_a_login(
    ctl: Ctl, gateway: WireGateway, port: int
) -> None:
    gateway.certificate_life = timedelta(seconds=20)
    for _ in range(2):
        assert ctl.run("client", "tls", "--host", DNS_NAME, stdin=b"x").stdout == b"x"
    path = f"/mtls-ca/socket/{DNS_NAME}/csr"
    assert gateway.asked("POST", path) == 2
    assert gateway.asked("POST", "/oauth/token") == 1


def test_token_the_gateway_dropped_leads_to_one_new_login(
    ctl: Ctl, gateway: WireGateway, port: int
) -> None:
    gateway.certificate_life = timedelta(seconds=20)
    assert ctl.run("client", "tls", "--host", DNS_NAME).returncode == 0
    gateway.tokens.clear()
    assert ctl.run("client", "tls", "--host", DNS_NAME, stdin=b"x").stdout == b"x"
    assert gateway.asked("POST", "/oauth/token") == 2


def test_device_login(ctl: Ctl, gateway: WireGateway, port: int) -> None:
    done = ctl.run("client", "tls", "--host", DNS_NAME, "--device", stdin=b"x")
    assert done.stdout == b"x", done
    assert b"BCDF-GHJK" in done.stderr
    assert gateway.asked("POST", "/oauth/token") == 2


def test_without_display_and_browser_the_device_way_is_taken(
    ctl: Ctl, gateway: WireGateway, port: int
) -> None:
    done = ctl.run("client", "login", "--host", DNS_NAME, BROWSER="")
    assert done.returncode == 0
    assert b"BCDF-GHJK" in done.stderr


def test_denied_person_is_told_so(ctl: Ctl, gateway: WireGateway, port: int) -> None:
    gateway.refuse["POST /oauth/token"] = (400, b'{"error":"access_denied"}')
    done = ctl.run("client", "tls", "--host", DNS_NAME, stdin=b"x")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == b"mysocketctl: login refused: access_denied"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_refused_certificate_is_called_that(
    ctl: Ctl, gateway: WireGateway, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.server_context("*.edge.localhost")
    context.maximum_version = context.minimum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.pem)  # not the client authority
    with running_edge(context, echo) as port:
        gateway.socket_port = port
        for _ in range(2):  # with a new certificate, then with a kept one
            done = ctl.run("client", "tls", "--host", DNS_NAME, stdin=b"x" * 100_000)
            assert done.returncode == 1
            assert done.stdout == b""
            last = done.stderr.splitlines()[-1]
            assert last.startswith(b"mysocketctl: the edge refused the certificate: "), done


def test_refused_by_openssl(ctl: Ctl, gateway: WireGateway, authority: Authority) -> None:
    authority.server_context("*.edge.localhost")
    certificate = max(authority.directory.glob("*.crt"), key=lambda path: path.stat().st_mtime)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            "openssl",
            "s_server",
            "-quiet",
            "-accept",
            f"127.0.0.1:{port}",
            "-Verify",
            "1",
            "-cert",
            str(certificate),
            "-key",
            str(certificate.with_suffix(".key")),
            "-CAfile",
            str(authority.pem),
            "-verify_return_error",
            "-no_ticket",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        gateway.socket_port = port
        eventually(lambda: socket.create_connection(("127.0.0.1", port)).close() or True)
        done = ctl.run("client", "tls", "--host", DNS_NAME, stdin=b"x")
        assert b"refused the certificate: its issuer is not known there" in done.stderr, done
    finally:
        server.kill()
        server.communicate()


def test_refused_kept_certificate_is_replaced_and_input_sent_once(
    ctl: Ctl, gateway: WireGateway, authority: Authority, edge_context: ssl.SSLContext
) -> None:
    right, gateway.client_authority = gateway.client_authority, authority
    with running_edge(edge_context, digest) as port:
        gateway.socket_port = port
        assert ctl.run("client", "tls", "--host", DNS_NAME).returncode == 1
        gateway.client_authority = right
        sent = os.urandom(50_000)
        done = ctl.run("client", "tls", "--host", DNS_NAME, stdin=sent)
    assert done.returncode == 0, done
    assert done.stdout.decode() == hashlib.sha256(sent).hexdigest()


def test_server_without_a_trusted_certificate_gets_nothing(
    ctl: Ctl, gateway: WireGateway, client_authority: Authority
) -> None:
    with running_edge(client_authority.server_context("*.edge.localhost"), echo) as port:
        gateway.socket_port = port
        done = ctl.run("client", "tls", "--host", DNS_NAME, stdin=b"secret")
    assert done.returncode == 1
    assert b"is not to be trusted" in done.stderr
    assert done.stdout == b""


def test_server_of_another_name_gets_nothing(
    ctl: Ctl, gateway: WireGateway, authority: Authority
) -> None:
    with running_edge(authority.server_context("other.example"), echo) as port:
        gateway.socket_port = port
        done = ctl.run("client", "tls", "--host", DNS_NAME, stdin=b"secret")
    assert done.returncode == 1
    assert b"Hostname mismatch" in done.stderr


def test_end_of_input_is_told_to_the_origin_which_may_still_answer(
    ctl: Ctl, gateway: WireGateway, edge_context: ssl.SSLContext
) -> None:
    sent = os.urandom(20 << 20)
    with running_edge(edge_context, digest) as port:
        gateway.socket_port = port
        done = ctl.run("client", "tls", "--host", DNS_NAME, stdin=sent)
    assert done.stdout.decode() == hashlib.sha256(sent).hexdigest(), done.stderr


def test_both_directions_at_once(ctl: Ctl, port: int) -> None:
    sent = os.urandom(30 << 20)
    done = ctl.run("client", "tls", "--host", DNS_NAME, stdin=sent)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(sent).digest(), done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("with_unread_bytes", [False, True], ids=["end of file", "reset"])
def test_connection_cut_without_notice_is_an_error(
    ctl: Ctl, gateway: WireGateway, edge_context: ssl.SSLContext, with_unread_bytes: bool
) -> None:
    def cut(connection: ssl.SSLSocket) -> None:
        if with_unread_bytes:  # the client's close_notify: closing then resets the connection
            select.select([connection], [], [])
        connection.sendall(b"half of it")
        socket.socket(fileno=connection.detach()).close()

    with running_edge(edge_context, cut) as port:
        gateway.socket_port = port
        process = ctl.start("client", "tls", "--host", DNS_NAME)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, b"half of it")
    assert b"was cut" in err


def test_reader_that_goes_away_is_no_news(
    ctl: Ctl, gateway: WireGateway, edge_context: ssl.SSLContext
) -> None:
    def pour(connection: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"y" * 65536)

    with running_edge(edge_context, pour) as port:
        gateway.socket_port = port
        process = ctl.start("client", "tls", "--host", DNS_NAME)
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr is not None
        assert b"rror" not in process.stderr.read()
        process.stderr.close()
        process.stdin.close()


def test_listener_carries_connections_side_by_side(ctl: Ctl, port: int) -> None:
    process = ctl.start("client", "tls", "--host", DNS_NAME, "--listener", "0")
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith(b"Listening on 127.0.0.1:"))
        local = int(line.rpartition(b":")[2])
        with contextlib.ExitStack() as stack:
            connections = [
                stack.enter_context(socket.create_connection(("127.0.0.1", local), timeout=20))
                for _ in range(8)
            ]
            for number, connection in enumerate(connections):
                connection.sendall(b"%d" % number)
            for number, connection in reversed(list(enumerate(connections))):
                assert connection.recv(10) == b"%d" % number
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(10) == b""
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_several_at_once_ask_for_one_login(ctl: Ctl, gateway: WireGateway, port: int) -> None:
    outputs: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda: outputs.append(
                ctl.run("client", "tls", "--host", DNS_NAME, stdin=b"x").stdout
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == [b"x"] * 4
    assert gateway.asked("POST", "/oauth/token") == 1


def test_logout_forgets(ctl: Ctl, port: int) -> None:
    assert ctl.run("client", "tls", "--host", DNS_NAME).returncode == 0
    assert (
        ctl.run("client", "logout", "--host", DNS_NAME).stdout
        == f"Logged out of {DNS_NAME}.\n".encode()
    )
    left = [path for path in ctl.home.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []


def test_start_time(ctl: Ctl, port: int) -> None:
    """A kept certificate: bytes come back within a fraction of what a parser alone would take."""
    assert ctl.run("client", "tls", "--host", DNS_NAME).returncode == 0
    times = []
    for _ in range(7):
        started = time.perf_counter()
        done = ctl.run("client", "tls", "--host", DNS_NAME, stdin=b"x")
        times.append(time.perf_counter() - started)
        assert done.stdout == b"x"
    assert min(times) < 0.5, times
