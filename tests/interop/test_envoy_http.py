"""HTTP sockets through the real Envoy: who gets in, and what an origin is told."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from joserfc.jwk import ECKey

from policy.types import SocketType
from proxy.state import BasicAuth
from tests.support.envoy import (
    DOMAIN,
    EDGE_KEY,
    GATEWAY,
    Edge,
    a_socket,
    running_edge,
    seen_headers,
    spellings,
)
from tests.support.tiny_http import Answer, read_message, request_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOGIN = Answer(
    status=302, headers=(("location", f"https://{GATEWAY}/login/socket"),), body=b"go and log in"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    folder: Path = tmp_path_factory.mktemp("e")
    async with running_edge(folder) as running:
        await running.add(a_socket("app"))
        await running.add(a_socket("open", identity_required=False))
        await running.add(
            a_socket(
                "locked",
                identity_required=False,
                basic_auth=BasicAuth(username="u", password="p:w"),
            )
        )
        await running.add(a_socket("both", basic_auth=BasicAuth(username="u", password="p")))
        running.sockets["idle"] = a_socket("idle", identity_required=False)
        await running.apply()
        running.answers[f"app.{DOMAIN}"] = LOGIN
        running.answers[f"both.{DOMAIN}"] = LOGIN
        running.answers[f"locked.{DOMAIN}"] = Answer(status=401, body=b"who?")
        yield running


async def test_a_session_passes_without_python_and_names_its_person(edge: Edge) -> None:
    before = len(edge.gateway.requests)
    response = await edge.get("app", "/a//b%2Fc?d", ("cookie", edge.session("app")))
    assert response.status == 200
    assert len(edge.gateway.requests) == before
    assert response.json()["start"] == "GET /a//b%2Fc?d HTTP/1.1"
    seen = seen_headers(response)
    assert seen["x-auth-email"] == ["alice@example.com"]
    assert seen["x-auth-assertion"] == ["a.signed.assertion"]
    assert seen["x-remote-user"] == ["alice@example.com"]
    assert seen["host"] == [f"app.{DOMAIN}:{edge.settings.https_port}"]
    assert seen["x-forwarded-host"] == seen["host"]
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert seen["x-forwarded-proto"] == ["https"]
    assert "cookie" not in seen
    assert not [name for name in seen if name.startswith(("x-mysocket", "x-envoy"))]


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1_700_000_000},
        {"exp": None},
        {"epoch": 2},
        {"epoch": "1"},
        {"epoch": None},
        {"aud": f"open.{DOMAIN}"},
        {"aud": None},
        {"aud": f"app.{DOMAIN}.evil"},
        {"iss": "https://evil"},
        {"nbf": 4_000_000_000},
        {"key": ECKey.generate_key("P-256")},
    ],
    ids=",".join,
)
async def test_any_other_session_is_asked_about(edge: Edge, claims: dict) -> None:
    origin = edge.origins["app"]
    before, served = len(edge.gateway.requests), len(origin.requests)
    response = await edge.get("app", "/x?y=1", ("cookie", edge.session("app", **claims)))
    assert (response.status, response.one("location")) == (302, f"https://{GATEWAY}/login/socket")
    assert response.body == b"go and log in"
    assert len(origin.requests) == served
    (question,) = edge.gateway.requests[before:]
    assert question.target == "/internal/authorize/x?y=1"
    assert question.one("host") == f"app.{DOMAIN}"
    assert question.one("x-forwarded-for") == "127.0.0.1"


async def test_a_session_that_ended_half_a_minute_ago_is_asked_about(edge: Edge) -> None:
    ended = ("cookie", edge.session("app", exp=int(time.time()) - 30))
    served = len(edge.origins["app"].requests)
    assert (await edge.get("app", "/", ended)).status == 302
    assert len(edge.origins["app"].requests) == served


async def test_a_session_ends_while_its_connection_stays_open(edge: Edge) -> None:
    end = int(time.time()) + 3
    session = ("cookie", edge.session("app", exp=end))
    reader, writer = await edge.connect(f"app.{DOMAIN}")
    answers: list[tuple[float, int]] = []
    async with asyncio.timeout(20):
        while not answers or answers[-1][1] == 200:
            writer.write(request_bytes(f"app.{DOMAIN}", "/", (session,)))
            answers.append((time.time(), (await read_message(reader)).status))
    writer.close()
    assert answers[0][1] == 200
    assert answers[-1][1] == 302
    assert end - 0.5 <= answers[-1][0] <= end + 2.5


async def test_a_session_of_one_socket_opens_no_other(edge: Edge) -> None:
    response = await edge.get("both", "/", ("cookie", edge.session("app")))
    assert response.status == 302


@pytest.mark.parametrize(
    "name", ["x-auth-email", "x-auth-name", "x-auth-assertion", "x-remote-user"]
)
async def test_no_spelling_of_an_identity_header_reaches_an_origin(edge: Edge, name: str) -> None:
    forged = [(spelling, "mallory@evil") for spelling in spellings(name)]
    forged += [(name, "mallory@evil"), ("Connection", f"keep-alive, {name}")]
    for socket in ("open", "app"):
        cookie = ("cookie", edge.session(socket))
        response = await edge.get(socket, "/", *forged, cookie)
        assert response.status == 200
        seen = seen_headers(response)
        assert "mallory@evil" not in response.body.decode()
        if socket == "open":
            assert not [header for header in seen if "auth" in header or "remote" in header]
        elif name in {"x-auth-email", "x-remote-user"}:
            assert seen[name] == ["alice@example.com"]


async def test_a_forged_identity_does_not_survive_the_gateways_yes(edge: Edge) -> None:
    renewed = (
        ("set-cookie", "__Host-mysocket=new"),
        ("x-auth-email", "bob@example.com"),
        ("x-evil", "1"),
    )
    edge.answers[f"app.{DOMAIN}"] = Answer(headers=renewed)
    try:
        stale = ("cookie", edge.session("app", epoch=9))
        response = await edge.get("app", "/", ("X-Auth-Name", "Mallory"), stale)
    finally:
        edge.answers[f"app.{DOMAIN}"] = LOGIN
    seen = seen_headers(response)
    assert seen["x-auth-email"] == ["bob@example.com"]
    assert "x-auth-name" not in seen
    assert "x-evil" not in seen
    assert "cookie" not in seen
    assert response.all("set-cookie") == ["__Host-mysocket=new"]


async def test_other_headers_a_proxy_is_believed_for_are_removed(edge: Edge) -> None:
    names = ["X-Remote-User", "Remote-User", "X-Forwarded-User", "X-Forwarded-Host", "Forwarded"]
    names += [
        "X-Envoy-Original-Path",
        "X-Mysocket-Edge-Key",
        "X-WebAuth-User",
        "Proxy",
        "X.Remote.User",
    ]
    forged = [(name, "mallory") for name in names]
    response = await edge.get(
        "open", "/", *forged, ("X-Forwarded-For", "203.0.113.9"), ("X-Own", "1")
    )
    assert "mallory" not in response.body.decode()
    seen = seen_headers(response)
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert seen["x-own"] == ["1"]


@pytest.mark.parametrize(
    "alone", ["{}", "{} ", " {}", "{};", ";{}", "{}; ", "{}={}", "__Host-mysocket ={}"]
)
async def test_our_cookie_alone_leaves_no_cookie_at_all(edge: Edge, alone: str) -> None:
    ours = edge.session("app")
    token = ours.partition("=")[2]
    shown = alone.format(token) if "=" in alone and alone[0] == "_" else alone.format(ours, "x")
    response = await edge.get("open", "/", ("Cookie", shown))
    assert response.status == 200
    assert "cookie" not in seen_headers(response)
    assert token not in response.body.decode()


async def test_a_cookie_that_only_holds_our_name_stays(edge: Edge) -> None:
    for other in ("a=__Host-mysocket", "x__Host-mysocket=1"):
        response = await edge.get("open", "/", ("Cookie", other))
        assert seen_headers(response)["cookie"] == [other]


async def test_no_claim_puts_a_control_character_into_a_header(edge: Edge) -> None:
    evil = "Al\r\nx-evil: 1\x01\x7f"
    response = await edge.get("app", "/", ("cookie", edge.session("app", email=evil)))
    assert seen_headers(response)["x-auth-email"] == ["Alx-evil: 1"]
    response = await edge.get("app", "/", ("cookie", edge.session("app", asrt=evil)))
    assert (response.status, response.one("x-evil")) == (503, None)


@pytest.mark.parametrize("line", ["first", "middle", "second-line", "twice", "spaced"])
async def test_our_cookie_never_reaches_an_origin(edge: Edge, line: str) -> None:
    ours = edge.session("app")
    token = ours.partition("=")[2]
    cookies = {
        "first": [f"{ours}; a=1; b=2"],
        "middle": [f"a=1; {ours}; b=2"],
        "second-line": ["a=1", f"{ours}; b=2"],
        "twice": [f"{ours}; a=1", f"b=2; {ours}"],
        "spaced": [f"a=1;  __Host-mysocket = {token} ; b=2", ours],
    }[line]
    for socket in ("app", "open"):
        response = await edge.get(socket, "/", *(("Cookie", value) for value in cookies))
        assert response.status == 200
        assert token not in response.body.decode()
        assert "; ".join(seen_headers(response)["cookie"]) == "a=1; b=2"


async def test_a_public_socket_never_names_anybody(edge: Edge) -> None:
    response = await edge.get("open", "/", ("cookie", edge.session("open")))
    assert response.status == 200
    assert not [name for name in seen_headers(response) if name.startswith("x-auth")]


async def test_a_protected_socket_wants_its_password_and_keeps_it(edge: Edge) -> None:
    right, wrong = "Basic dTpwOnc=", "Basic dTpwOng="
    response = await edge.get("locked", "/", ("authorization", right))
    assert response.status == 200
    assert "authorization" not in seen_headers(response)
    for header in ((), (("authorization", wrong),), (("authorization", "basic"),)):
        assert (await edge.get("locked", "/", *header)).status == 401


async def test_an_origins_own_authorization_passes(edge: Edge) -> None:
    for socket in ("open", "app"):
        bearer = ("authorization", "Bearer app-token")
        response = await edge.get(socket, "/", bearer, ("cookie", edge.session(socket)))
        assert seen_headers(response)["authorization"] == ["Bearer app-token"]


async def test_password_and_person_are_both_wanted_where_both_are_set(edge: Edge) -> None:
    cookie, password = ("cookie", edge.session("both")), ("authorization", "Basic dTpw")
    assert (await edge.get("both", "/", cookie)).status == 302
    assert (await edge.get("both", "/", password)).status == 302
    response = await edge.get("both", "/", cookie, password)
    assert seen_headers(response)["x-auth-email"] == ["alice@example.com"]
    assert "authorization" not in seen_headers(response)
    edge.answers[f"both.{DOMAIN}"] = Answer(headers=(("x-auth-email", "bob@example.com"),))
    response = await edge.get("both", "/", password)
    edge.answers[f"both.{DOMAIN}"] = LOGIN
    assert seen_headers(response)["x-auth-email"] == ["bob@example.com"]
    assert "authorization" not in seen_headers(response)


@pytest.mark.parametrize("path", ["/.mysocket/callback?code=1", "/a/../.mysocket/x", "/.mysocket/"])
async def test_the_products_own_paths_always_ask(edge: Edge, path: str) -> None:
    before = len(edge.origins["app"].requests)
    assert (await edge.get("app", path, ("cookie", edge.session("app")))).status == 302
    assert len(edge.origins["app"].requests) == before


@pytest.mark.parametrize(
    "host", [f"no-such.{DOMAIN}", f"internal:gateway.{DOMAIN}", f"stream:x.{DOMAIN}"]
)
async def test_an_unknown_name_is_not_found(edge: Edge, host: str) -> None:
    cookie = ("cookie", edge.session("app"))
    response = await edge.get(
        host, "/", cookie, sni=host.rpartition(":")[2].replace("gateway.", "gateway-x.")
    )
    assert response.status in {400, 404, 421}


@pytest.mark.parametrize("host", ["internal:gateway", "internal", "internal:discovery", GATEWAY])
async def test_no_host_header_reaches_an_internal_cluster(edge: Edge, host: str) -> None:
    before = len(edge.gateway.requests)
    response = await edge.get("app", "/user", host=host)
    assert response.status in {400, 404, 421}
    assert len(edge.gateway.requests) == before


async def test_host_and_tls_name_must_agree(edge: Edge) -> None:
    cookie = ("cookie", edge.session("app"))
    for sni in (f"open.{DOMAIN}", GATEWAY):
        assert (await edge.get("app", "/", cookie, sni=sni)).status == 421
    assert (await edge.get(GATEWAY, "/", sni=f"open.{DOMAIN}")).status == 421


async def test_a_port_and_a_final_dot_in_host_are_no_other_name(edge: Edge) -> None:
    for host in (f"app.{DOMAIN}:8443", f"app.{DOMAIN}.", f"app.{DOMAIN}.:443"):
        response = await edge.get("app", "/", ("cookie", edge.session("app")), host=host)
        assert response.status == 200, host


async def test_websockets_carry_bytes_both_ways_and_their_persons_name(edge: Edge) -> None:
    reader, writer = await edge.connect(f"app.{DOMAIN}")
    own = f"https://app.{DOMAIN}:{edge.settings.https_port}"
    headers = (
        ("Connection", "Upgrade, x-auth-email"),
        ("Upgrade", "websocket"),
        ("Origin", own),
        ("cookie", edge.session("app")),
    )
    writer.write(request_bytes(f"app.{DOMAIN}", "/live", headers))
    assert (await read_message(reader)).status == 101
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"ping"
    writer.close()
    request = edge.origins["app"].requests[-1]
    assert request.one("connection") == "Upgrade"
    assert request.one("x-auth-email") == "alice@example.com"


async def test_another_sites_page_opens_no_websocket(edge: Edge) -> None:
    headers = (
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Origin", f"https://open.{DOMAIN}:{edge.settings.https_port}"),
        ("cookie", edge.session("app")),
    )
    response = await edge.get("app", "/live", *headers)
    assert (response.status, response.json()["reason"]) == (403, "cross-origin")


async def test_a_socket_without_a_tunnel_says_so(edge: Edge) -> None:
    response = await edge.get("idle")
    assert (response.status, response.json()["reason"]) == (503, "no-tunnel")
    assert response.one("content-type") == "application/problem+json"
    page = await edge.get("idle", "/", ("accept", "text/html,*/*"))
    assert page.status == 503
    assert b"<h1>No tunnel is connected</h1>" in page.body


async def test_the_origins_own_host_name_is_used_where_one_is_set(edge: Edge) -> None:
    socket = a_socket("named", identity_required=False, upstream_http_hostname="inside.corp")
    await edge.add(socket)
    seen = seen_headers(await edge.get("named"))
    assert seen["host"] == ["inside.corp"]
    assert seen["x-forwarded-host"] == [f"named.{DOMAIN}:{edge.settings.https_port}"]


async def test_an_https_origin_is_reached_over_tls(edge: Edge) -> None:
    certificate = edge.authority.server("whatever.example")
    path = edge.folder / "origin.pem"
    path.write_text(certificate.chain_pem + certificate.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    await edge.add(
        a_socket("tls", identity_required=False, socket_type=SocketType.HTTPS), tls=context
    )
    assert (await edge.get("tls")).status == 200


async def test_a_new_epoch_refuses_the_next_request(edge: Edge) -> None:
    await edge.add(a_socket("cut"))
    edge.answers[f"cut.{DOMAIN}"] = LOGIN
    session = ("cookie", edge.session("cut"))
    reader, writer = await edge.connect(f"cut.{DOMAIN}")
    for epoch, status in ((1, 200), (2, 302), (3, 302)):
        edge.sockets["cut"] = a_socket("cut", epoch=epoch)
        await edge.apply()
        writer.write(request_bytes(f"cut.{DOMAIN}", "/", (session,)))
        assert (await read_message(reader)).status == status
    writer.close()


async def test_the_gateway_is_told_who_asks_and_nobody_else_is_the_edge(edge: Edge) -> None:
    forged = (
        ("X-Mysocket-Edge-Key", "stolen"),
        ("X_Mysocket_Edge_Key", "stolen"),
        ("X-Forwarded-For", "203.0.113.9"),
    )
    seen = seen_headers(await edge.get(GATEWAY, "/portal", *forged))
    assert seen["x-mysocket-edge-key"] == [EDGE_KEY]
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert "stolen" not in json.dumps(seen)


@pytest.mark.parametrize(
    "path",
    [
        "/internal/feed",
        "/internal",
        "//internal/feed",
        "/x/../internal/feed",
        "/%69nternal/feed",
        "/internal%2ffeed",
        "/%2finternal/feed",
        "/./internal/feed?x",
        "/x/%2e%2e/internal/feed",
        "/intern%61l",
        "/internal;x/feed",
        "/internal/authorize/",
    ],
)
async def test_the_gateways_internal_paths_are_closed_to_the_world(edge: Edge, path: str) -> None:
    before = len(edge.gateway.requests)
    response = await edge.get(GATEWAY, path)
    assert response.status in {400, 404}
    assert len(edge.gateway.requests) == before


async def test_plain_http_is_sent_to_https_with_its_port(edge: Edge) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.settings.http_port)
    writer.write(request_bytes(f"app.{DOMAIN}:8080", "/a?b", ()))
    response = await read_message(reader)
    writer.close()
    assert response.status == 308
    assert response.one("location") == f"https://app.{DOMAIN}:{edge.settings.https_port}/a?b"


async def test_requests_are_recorded_with_their_person_and_without_queries(edge: Edge) -> None:
    await edge.get("app", "/recorded?secret=1", ("cookie", edge.session("app")))
    while (record := await edge.record()).path != "/recorded":
        assert "secret" not in record.path
    assert (record.host, record.email, record.status) == (f"app.{DOMAIN}", "alice@example.com", 200)
    assert (record.policy, record.upstream) == ("identity", str(edge.origins["app"].path))
    assert (record.refused, record.failed) == ("", "")


async def test_a_refusal_and_a_missing_tunnel_are_recorded_as_what_they_are(edge: Edge) -> None:
    await edge.get("app", "/not-yet")
    while (record := await edge.record()).path != "/not-yet":
        pass
    assert (record.refused, record.failed) == ("ext_authz_denied", "")
    await edge.get("idle", "/nobody")
    while (record := await edge.record()).path != "/nobody":
        pass
    assert (record.refused, record.failed) == ("", "no_healthy_upstream")
