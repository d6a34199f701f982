"""HTTP sockets: what reaches the origin, and what does not, byte for byte."""

import signal
import socket
import ssl
from contextlib import closing
from typing import Any

import pytest

from tests.support.origins import Origin, http_origin
from tests.support.processes import eventually
from tests.support.product import Person, Product
from tests.support.visitor import sign_in

EVIL = "mallory@evil.example"
SPELLINGS = [
    "X-Auth-Email",
    "x-auth-email",
    "X-AUTH-EMAIL",
    "X_Auth_Email",
    "X-Auth_Email",
    "X.Auth.Email",
    "X-Auth.Email",
    "X-Auth-Name",
    "X-Auth-Assertion",
    "X-Auth-Email-",
    "X-Remote-User",
    "x_remote_user",
    "X.Remote.User",
    "Remote-User",
]


@pytest.fixture(scope="module")
def cookie(product: Product, alice: Person, web: dict[str, Any]) -> str:
    """Alice's session on the socket."""
    with product.visitor() as visitor:
        address = product.socket_url(web)
        shown = sign_in(visitor, address, email=alice.email, password=alice.password)
        assert shown.status_code == 200, shown.text
        (value,) = [c.value for c in visitor.cookies.jar if c.name == "__Host-mysocket"]
        return f"__Host-mysocket={value}"


def exchange(product: Product, web: dict[str, Any], *lines: str) -> bytes:
    """Send one HTTP/1.1 request made of exactly these header lines; everything that came back."""
    context = ssl.create_default_context(cafile=str(product.authority))
    head = ["GET /page?q=1 HTTP/1.1", f"Host: {web['dnsname']}:{product.https_port}", *lines]
    with (
        socket.create_connection(("127.0.0.1", product.https_port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=web["dnsname"]) as connection,
    ):
        connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
        seen = b""
        while b"\r\n\r\n" not in seen and (chunk := connection.recv(65536)):
            seen += chunk
        head_bytes, _, body = seen.partition(b"\r\n\r\n")
        length = int(head_bytes.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        while len(body) < length and (chunk := connection.recv(65536)):
            body += chunk
        return head_bytes + b"\r\n\r\n" + body


def test_the_origin_learns_who_it_is(
    product: Product, web: dict[str, Any], cookie: str, alice: Person
) -> None:
    answer = exchange(product, web, f"Cookie: {cookie}").lower()

    assert answer.startswith(b"http/1.1 200")
    assert answer.count(b"x-auth-email: " + alice.email.encode()) == 1
    assert b"x-auth-name: " in answer
    assert b"x-auth-assertion: ey" in answer


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("extra", [(), ("again",), ("connection",)], ids=["once", "twice", "named"])
def test_a_client_cannot_name_itself(
    name: str,
    extra: tuple[str, ...],
    product: Product,
    web: dict[str, Any],
    cookie: str,
    alice: Person,
) -> None:
    lines = [f"{name}: {EVIL}"]
    if "again" in extra:
        lines.append(f"{name.swapcase()}: {EVIL}")
    if "connection" in extra:
        lines.append(f"Connection: keep-alive, {name}")

    answer = exchange(product, web, f"Cookie: {cookie}", *lines)

    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400")), answer
    assert EVIL.encode() not in answer
    if answer.startswith(b"HTTP/1.1 200"):
        assert answer.lower().count(b"x-auth-email: " + alice.email.encode()) == 1


def test_a_connection_header_cannot_strip_the_identity(
    product: Product, web: dict[str, Any], cookie: str, alice: Person
) -> None:
    answer = exchange(
        product, web, f"Cookie: {cookie}", "Connection: close, X-Auth-Email, x-auth-assertion"
    )

    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert answer.lower().count(b"x-auth-email: " + alice.email.encode()) == 1
    assert answer.count(b"x-auth-assertion: ey") == 1


@pytest.mark.parametrize(
    "lines",
    [
        ["Cookie: a=1; {session}; b=2"],
        ["Cookie: a=1", "Cookie: {session}; b=2"],
        ["Cookie: {session}", "Cookie: a=1; b=2"],
        ["Cookie: a=1; {session}", "Cookie: {session}; b=2"],
        ["Cookie: {session}; a=1; {session}; b=2; {session}"],
        ["Cookie: a=1;{session};b=2"],
    ],
)
def test_the_origin_never_sees_the_session(
    lines: list[str], product: Product, web: dict[str, Any], cookie: str, origin: Origin
) -> None:
    answer = exchange(product, web, *(line.format(session=cookie) for line in lines))

    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert cookie.partition("=")[2][-40:].encode() not in origin.received
    assert b"a=1" in answer
    assert b"b=2" in answer


def test_without_a_session_a_program_gets_401_and_the_origin_nothing(
    product: Product, web: dict[str, Any], origin: Origin
) -> None:
    before = len(origin.received)

    answer = exchange(product, web, "Accept: application/json", f"X-Auth-Email: {EVIL}")

    assert answer.startswith(b"HTTP/1.1 401")
    assert b"application/problem+json" in answer
    assert len(origin.received) == before


def test_a_session_of_one_socket_does_not_open_another(
    product: Product, owner: Person, alice: Person, cookie: str, origin: Origin
) -> None:
    other = owner.create_socket(
        socket_type="http",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[alice.email],
    )
    owner.publish(other, origin.port)
    before = len(origin.received)

    answer = exchange(product, other, f"Cookie: {cookie}", "Accept: application/json")

    assert answer.startswith(b"HTTP/1.1 401")
    assert len(origin.received) == before


def test_an_unknown_name_is_404(product: Product) -> None:
    answer = exchange(product, {"dnsname": f"nobody-home-0000.{product.edge_domain}"})

    assert answer.startswith(b"HTTP/1.1 404")


def test_a_protected_socket_asks_for_its_password(
    product: Product, owner: Person, origin: Origin
) -> None:
    protected = owner.create_socket(
        socket_type="http",
        protected_socket=True,
        protected_username="demo",
        protected_password="correct horse",
    )
    owner.publish(protected, origin.port)
    address = product.socket_url(protected)
    with product.visitor() as visitor:
        before = len(origin.received)
        refused = visitor.get(address)
        wrong = visitor.get(address, auth=("demo", "wrong"))
        assert len(origin.received) == before
        opened = visitor.get(address, auth=("demo", "correct horse"))

    assert refused.status_code == wrong.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert opened.status_code == 200
    assert "correct horse" not in opened.text
    assert b"authorization" not in opened.content.lower()


def test_several_tunnels_share_the_load_and_cover_for_each_other(
    product: Product, owner: Person
) -> None:
    shared = owner.create_socket(socket_type="http")
    with http_origin() as first, http_origin() as second, owner.api as api:
        one = owner.publish(shared, first.port)
        tunnel = api.post(f"/socket/{shared['socket_id']}/tunnel", json={}).json()
        owner.publish(shared | {"tunnels": [tunnel]}, second.port)
        with product.visitor() as visitor:
            address = product.socket_url(shared)
            for _ in range(20):
                assert visitor.get(address, headers={"connection": "close"}).status_code == 200
            assert first.connections
            assert second.connections
            one.send_signal(signal.SIGKILL)
            served = len(second.connections)
            for _ in range(20):
                answer = visitor.get(address, headers={"connection": "close"})
                assert answer.status_code == 200, answer.text
            assert len(second.connections) > served


def test_a_tcp_socket_carries_bytes(owner: Person, origin: Origin) -> None:
    plain = owner.create_socket(socket_type="tcp")
    owner.publish(plain, origin.port)
    port = plain["socket_tcp_ports"][0]

    def asked() -> bytes:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(4096)

    # The proxy may learn of the tunnel's endpoint a moment after the client does.
    assert eventually(asked, what="an answer").startswith(b"HTTP/1.1 200 OK")


def test_http_is_redirected_to_https(product: Product, web: dict[str, Any]) -> None:
    with closing(
        socket.create_connection(("127.0.0.1", product.http_port), timeout=10)
    ) as connection:
        connection.sendall(f"GET /a?b=c HTTP/1.1\r\nHost: {web['dnsname']}\r\n\r\n".encode())
        answer = connection.recv(4096).lower()

    assert answer.startswith((b"http/1.1 301", b"http/1.1 308"))
    assert f"location: {product.socket_url(web)}/a?b=c".encode() in answer
