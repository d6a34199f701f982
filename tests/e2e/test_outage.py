"""Without the gateway, what was granted works until its end, and not a second longer."""

import json
import os
import signal
import socket
import ssl
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.support.origins import Origin, banner_origin
from tests.support.processes import command_line, eventually
from tests.support.product import Person, Product
from tests.support.visitor import Visitor, sign_in

SECONDS_OF_GRANT = 12
BANNER = b"220 ready\r\n"


@pytest.fixture(scope="module")
def product_environment() -> dict[str, str]:
    """Grants so short that a test can see one end."""
    return {"MYSOCKET_GRANT_MINUTES": str(SECONDS_OF_GRANT / 60)}


@pytest.fixture
def shell(owner: Person, alice: Person) -> Iterator[dict[str, Any]]:
    """A TLS socket before an origin that speaks first."""
    created = owner.create_socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[alice.email],
    )
    with banner_origin(BANNER) as talker:
        owner.publish(created, talker.port)
        yield created


@contextmanager
def without_gateway(product: Product) -> Iterator[None]:
    """The gateway is killed, and what would start it again is held for as long."""
    assert product.process is not None
    gateway = product.pid("gateway")
    os.kill(product.process.pid, signal.SIGSTOP)
    try:
        os.kill(gateway, signal.SIGKILL)
        eventually(lambda: not command_line(gateway), what="the gateway's end")
        yield
    finally:
        os.kill(product.process.pid, signal.SIGCONT)


def end_of(session: Visitor) -> float:
    """When the session that the browser holds ends, in seconds since the epoch."""
    (token,) = [c.value for c in session.cookies.jar if c.name == "__Host-mysocket"]
    payload = str(token).split(".")[1]
    return float(json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])


def tls_connection(alice: Person, shell: dict[str, Any]) -> ssl.SSLSocket:
    """An open connection with the certificate that ``mysocketctl`` fetched."""
    said = alice.ctl("client", "tls", "--host", shell["dnsname"], stdin=b"hello\n")
    assert said.stdout == BANNER + b"hello\n"
    kept = alice.home / ".mysocketio"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(kept / f"{shell['dnsname']}.crt", kept / f"{shell['dnsname']}.key")
    plain = socket.create_connection(("127.0.0.1", shell["socket_tcp_ports"][0]), timeout=10)
    connection = context.wrap_socket(plain, server_hostname=shell["dnsname"])
    assert connection.recv(64) == BANNER
    return connection


def echoes(connection: ssl.SSLSocket, said: bytes) -> bool:
    connection.sendall(said)
    return connection.recv(64) == said


def test_a_session_works_without_the_gateway_until_it_ends(
    product: Product, web: dict[str, Any], alice: Person, origin: Origin, shell: dict[str, Any]
) -> None:
    address = product.socket_url(web)
    with tls_connection(alice, shell) as connection, product.visitor() as session:
        shown = sign_in(session, address, email=alice.email, password=alice.password)
        assert shown.status_code == 200, shown.text
        end = end_of(session)
        with without_gateway(product):
            answers: list[tuple[float, httpx.Response]] = []

            def ended() -> bool:
                answers.append((time.time(), session.get(address)))
                return answers[-1][1].status_code != 200

            eventually(ended, within=SECONDS_OF_GRANT + 10, what="the session's end")
            *served, (at, refused) = answers
            assert len(served) > 10
            assert end - 1 <= at <= end + 3
            assert refused.status_code in {401, 403, 503}
            before = len(origin.received)
            assert session.get(address).status_code == refused.status_code
            assert len(origin.received) == before
            assert echoes(connection, b"still there after the grant's end?")

        eventually(product.answers, within=30, what="a new gateway")
        eventually(lambda: session.get(address).status_code == 200, what="a renewed session")
        assert echoes(connection, b"and now?")
