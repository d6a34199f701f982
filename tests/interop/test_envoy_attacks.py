"""What a socket's owner can try against the visitors of others, through the real Envoy."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from policy.types import SocketType
from tests.support.envoy import DOMAIN, GATEWAY, Edge, a_socket, running_edge
from tests.support.processes import free_port
from tests.support.tiny_http import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    folder: Path = tmp_path_factory.mktemp("e")
    async with running_edge(folder) as running:
        await running.add(a_socket("app"))
        await running.add(a_socket("open", identity_required=False))
        for name, identity in (("mallory", False), ("vault", True)):
            made = a_socket(
                name, socket_type=SocketType.TLS, ports=(free_port(),), identity_required=identity
            )
            await running.add(made, greeting=b"hello")
        yield running


async def shakes_hands(edge: Edge, port: int, name: str | None) -> bool:
    context = edge.client_tls()
    if name is None:
        context.check_hostname = False
    try:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=name or ""
        )
    except (ConnectionError, ssl.SSLError):
        return False
    writer.close()
    return True


@pytest.mark.parametrize("owner", ["mallory", "vault"])
@pytest.mark.parametrize("name", [GATEWAY, f"app.{DOMAIN}", f"x.{DOMAIN}", None])
async def test_a_tls_socket_answers_to_no_name_but_its_own(
    edge: Edge, owner: str, name: str | None
) -> None:
    """Browsers send a name's cookies to every port of it: other names' would be the owner's."""
    port = edge.sockets[owner].ports[0]
    before = edge.origins[owner].connections
    assert not await shakes_hands(edge, port, name)
    assert edge.origins[owner].connections == before


async def test_a_tls_socket_answers_to_its_own_name(edge: Edge) -> None:
    """So that the refusals above are about names."""
    assert await shakes_hands(edge, edge.sockets["mallory"].ports[0], f"mallory.{DOMAIN}")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
@pytest.mark.parametrize("origin", [f"https://open.{DOMAIN}", "https://evil.test", "null"])
async def test_another_sockets_page_changes_nothing(edge: Edge, method: str, origin: str) -> None:
    headers = (("cookie", edge.session("app")), ("Origin", origin))
    served = len(edge.origins["app"].requests)
    response = await edge.get("app", "/delete", *headers, method=method)
    assert (response.status, response.json()["reason"]) == (403, "cross-origin")
    assert len(edge.origins["app"].requests) == served


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_its_own_pages_and_programs_do(edge: Edge, method: str) -> None:
    session = ("cookie", edge.session("app"))
    own = ("Origin", f"https://app.{DOMAIN}:{edge.settings.https_port}")
    for headers in ((session, own), (session,)):
        assert (await edge.get("app", "/save", *headers, method=method)).status == 200


@pytest.mark.parametrize("socket", ["app", "open"])
async def test_the_products_own_paths_never_reach_an_origin(edge: Edge, socket: str) -> None:
    """An owner who turns identities off for a moment would else read his visitors' login codes."""
    edge.answers[f"{socket}.{DOMAIN}"] = Answer(status=404, body=b"ours")
    served = len(edge.origins[socket].requests)
    target = "/.mysocket/callback?code=secret&state=x"
    response = await edge.get(socket, target, ("cookie", edge.session(socket)))
    assert (response.status, response.body) == (404, b"ours")
    assert len(edge.origins[socket].requests) == served


async def test_no_cookie_of_the_product_reaches_an_origin(edge: Edge) -> None:
    cookies = f"a=1; __Host-mysocket-state-abc=signed; {edge.session('app')}; __Host-mysocketx=1"
    await edge.get("app", "/", ("cookie", cookies), ("cookie", "__Host-mysocket-login=x; b=2"))
    assert edge.origins["app"].requests[-1].one("cookie") == "a=1; b=2"


async def test_what_other_proxies_vouch_for_is_not_believed(edge: Edge) -> None:
    forged = (
        "Remote-Email",
        "Remote-Groups",
        "X-Remote-Email",
        "X-JWT-Assertion",
        "Cf-Access-Authenticated-User-Email",
        "X-Goog-Authenticated-User-Email",
        "X-authentik-email",
        "X-Pomerium-Jwt-Assertion",
        "Ssl-Client-Verify",
        "X-Forwarded-Client-Cert",
        "X-Real-IP",
        "True-Client-IP",
        "X-Original-URI",
        "X-Forwarded-Ssl",
        "Client-Cert",
        "Client-Cert-Chain",
        "Tailscale-User-Login",
        "X-Authenticated-User",
        "X-Consumer-Username",
        "Cf-Connecting-Ip",
        "X-Forwarded-Roles",
    )
    for socket in ("app", "open"):
        headers = [(name, "forged@evil.test") for name in forged]
        await edge.get(socket, "/", *headers, ("cookie", edge.session(socket)))
        assert b"forged" not in repr(edge.origins[socket].requests[-1]).encode()


async def test_slow_bodies_wait_at_the_edge(edge: Edge) -> None:
    """A sender who never finishes costs the gateway no connection."""
    before = len(edge.gateway.requests), edge.gateway.connections
    _, writer = await edge.connect(GATEWAY)
    try:
        head = f"POST /login HTTP/1.1\r\nHost: {GATEWAY}\r\nContent-Length: 10\r\n\r\nhalf"
        writer.write(head.encode())
        await writer.drain()
        whole = await edge.get(GATEWAY, "/login", method="POST", body=b"0123456789")
        assert whole.status == 200
        requests = edge.gateway.requests[before[0] :]
        assert [request.body for request in requests] == [b"0123456789"]
    finally:
        writer.close()


async def test_a_body_too_large_for_the_gateway_is_refused(edge: Edge) -> None:
    served = len(edge.gateway.requests)
    response = await edge.get(GATEWAY, "/login", method="POST", body=b"x" * 70_000)
    assert response.status == 413
    assert len(edge.gateway.requests) == served
