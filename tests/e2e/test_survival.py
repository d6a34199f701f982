"""Parts of the product die; what was granted keeps working, and everything comes back as it was."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.origins import banner_origin
from tests.support.processes import command_line, eventually
from tests.support.product import Person, Product
from tests.support.visitor import Visitor, sign_in

# httpcore leaves a connection open whose handshake was cut off half-way; here that is meant.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed <ssl.SSLSocket:ResourceWarning",
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning",
)

LONGEST_GAP = 10.0
"""Seconds without a part that was killed; the clients of tunnels may have to come back, too."""


@pytest.fixture
def session(product: Product, alice: Person, web: dict[str, Any]) -> Iterator[Visitor]:
    """Alice, signed in at the socket."""
    with product.visitor() as visitor:
        address = product.socket_url(web)
        shown = sign_in(visitor, address, email=alice.email, password=alice.password)
        assert shown.status_code == 200, shown.text
        yield visitor


def kill(product: Product, what: str) -> int:
    pid = product.pid(what)
    os.kill(pid, signal.SIGKILL)
    return pid


def greeted(port: int) -> socket.socket:
    """A connection that the origin has answered; the edge may not have its endpoint just yet."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    if not connection.recv(64):
        connection.close()
        raise ConnectionError("closed without a greeting")
    return connection


def back(product: Product, what: str, old: int) -> bool:
    """Whether a new ``what`` runs instead of ``old``."""
    return product.pid(what) != old and bool(command_line(product.pid(what)))


def test_without_the_gateway_sessions_and_connections_go_on(
    product: Product, web: dict[str, Any], session: Visitor, owner: Person
) -> None:
    plain = owner.create_socket(socket_type="tcp")
    with banner_origin() as talker:
        owner.publish(plain, talker.port)
        port = plain["socket_tcp_ports"][0]
        with eventually(lambda: greeted(port), what="the origin's greeting") as connection:
            gateway = product.pid("gateway")
            os.kill(gateway, signal.SIGSTOP)
            try:
                for _ in range(10):
                    assert session.get(product.socket_url(web)).status_code == 200
                connection.sendall(b"still there?")
                assert connection.recv(64) == b"still there?"
            finally:
                os.kill(gateway, signal.SIGKILL)
            eventually(lambda: back(product, "gateway", gateway), what="a new gateway")
            eventually(product.answers, within=30)
            assert session.get(product.socket_url(web)).status_code == 200


def remembered(product: Product, owner: Person) -> dict[str, Any]:
    """All that must not change when everything was killed."""
    with owner.api as api:
        sockets = {s["socket_id"]: s for s in api.get("/socket").raise_for_status().json()}
        keys = api.get("/.well-known/jwks.json").json()
    return json.loads(
        json.dumps({"ca": product.authority.read_text(), "sockets": sockets, "keys": keys})
    )


def all_connected(product: Product, owner: Person) -> dict[str, Any] | None:
    """As ``remembered``, once the gateway has heard of every tunnel."""
    found = remembered(product, owner)
    tunnels = [tunnel for one in found["sockets"].values() for tunnel in one["tunnels"]]
    return found if all(tunnel["connected"] for tunnel in tunnels) else None


@pytest.mark.parametrize("part", ["envoy", "edge"])
def test_a_killed_part_is_back_within_seconds_and_nothing_is_lost(
    part: str, product: Product, owner: Person, web: dict[str, Any], session: Visitor
) -> None:
    plain = owner.create_socket(socket_type="tcp")
    port = plain["socket_tcp_ports"][0]
    with banner_origin() as talker:
        owner.publish(plain, talker.port)
        eventually(lambda: greeted(port), what="the origin's greeting").close()
        before = eventually(lambda: all_connected(product, owner), within=45, what="all connected")
        old = kill(product, part)
        killed = time.monotonic()

        eventually(lambda: not command_line(old), what=f"the end of the old {part}")
        eventually(lambda: served(product, web, session), within=30, what="the page again")
        eventually(lambda: greeted(port), what="the origin's greeting on the same port").close()
        gap = time.monotonic() - killed

        assert back(product, part, old)
        # What the gateway shows of tunnels is as old as the edge's last report, 30 s at most.
        eventually(lambda: remembered(product, owner) == before, within=45, what="all as before")
        for tunnels in (web["tunnels"], plain["tunnels"]):
            assert product.endpoint(tunnels[0]["tunnel_id"]).is_socket()
        print(f"back after {gap:.1f} s")
        assert gap < LONGEST_GAP


def served(product: Product, web: dict[str, Any], session: Visitor) -> bool:
    """Whether the page is there; a failed connection is an OSError, as for ``eventually``."""
    try:
        return session.get(product.socket_url(web)).status_code == 200
    except httpx.TransportError as error:
        raise OSError(str(error)) from error


def test_after_kill_9_of_everything_all_is_as_before(
    product: Product, owner: Person, web: dict[str, Any], session: Visitor
) -> None:
    before = remembered(product, owner)

    product.kill_everything()
    product.start()

    # Whether tunnels are connected is part of it: their clients find back by themselves.
    eventually(lambda: remembered(product, owner) == before, within=30, what="all as before")
    for process in owner.processes:
        assert process.running
    endpoint = product.endpoint(web["tunnels"][0]["tunnel_id"])
    eventually(endpoint.exists, within=30)
    eventually(lambda: session.get(product.socket_url(web)).status_code == 200, within=30)
