"""The short way to an SSH certificate answers exactly as the documented one."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.routing import Match

from ca import key_strength
from idp_gateway.app import create_app
from idp_gateway.composition import Gateway
from idp_gateway.ready_rules import ReadyRules
from idp_gateway.records import SocketRecord
from idp_gateway.routes.quick_keys import ShortWay
from idp_gateway.rules import GuardedSocket, Rules
from tests.idp_gateway.api.conftest import ClientTokenMaker
from tests.support.subjects import ec_key, public_line

Sent = dict[str, Any]

HUNG_UP = [
    {"type": "http.request", "body": b"{", "more_body": True},
    {"type": "http.disconnect"},
]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Closes the short way."""
    return lambda: monkeypatch.setattr(ShortWay, "matches", lambda self, scope: (Match.NONE, {}))


def requests(token: str) -> dict[str, Sent]:
    key = public_line(ec_key())
    good = {"content-type": "application/json", "x-access-token": token}
    whole = json.dumps({"ssh_public_key": key}).encode()
    return {
        "no-token": {"content": whole, "headers": {"content-type": "application/json"}},
        "empty-token": {"content": whole, "headers": good | {"x-access-token": ""}},
        "other-token": {"content": whole, "headers": good | {"x-access-token": "a.b.c"}},
        "no-type": {"content": whole, "headers": {"x-access-token": token}},
        "form": {"content": whole, "headers": good | {"content-type": "text/plain"}},
        "empty": {"content": b"", "headers": good},
        "null": {"content": b"null", "headers": good},
        "no-json": {"content": b"{", "headers": good},
        "no-text": {"content": b'{"ssh_public_key":"\xff"}', "headers": good},
        "list": {"content": b"[]", "headers": good},
        "no-key": {"content": b"{}", "headers": good},
        "number": {"content": b'{"ssh_public_key":1}', "headers": good},
        "surrogate": {"content": b'{"ssh_public_key":"\\ud800"}', "headers": good},
        "nonsense": {"content": b'{"ssh_public_key":"ssh-ed25519 AAAA"}', "headers": good},
        "half-a-proof": {
            "content": json.dumps({"ssh_public_key": key, "nonce": "n"}).encode(),
            "headers": good,
        },
        "bad-proof": {
            "content": json.dumps({"ssh_public_key": key, "nonce": "n", "proof": "p"}).encode(),
            "headers": good,
        },
        "large": {"content": b" " * (70 * 1024) + whole, "headers": good},
    }


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_every_fault_gets_the_answer_of_the_documented_route(
    api: httpx.Client,
    tls_socket: dict[str, Any],
    client_token: ClientTokenMaker,
    without: Callable[[], None],
    prefix: str,
) -> None:
    name = tls_socket["dnsname"]
    sent = requests(client_token(name))
    path = f"{prefix}/mtls-ca/socket/{name}/ssh"
    short = {case: api.post(path, **one) for case, one in sent.items()}
    without()
    for case, one in sent.items():
        documented = api.post(path, **one)
        assert documented.status_code >= 400, case
        assert (short[case].status_code, short[case].json()) == (
            documented.status_code,
            documented.json(),
        ), case


@pytest.mark.parametrize("type_", ["application/json", "application/json; charset=utf-8"])
def test_a_request_without_fault_takes_it(
    api: httpx.Client,
    tls_socket: dict[str, Any],
    client_token: ClientTokenMaker,
    monkeypatch: pytest.MonkeyPatch,
    type_: str,
) -> None:
    """With FastAPI's routes gone, only the short way is left."""
    name = tls_socket["dnsname"]
    app = api._transport._inner.app  # type: ignore[attr-defined]
    way = next(route for route in app.router.routes if isinstance(route, ShortWay))
    monkeypatch.setattr(app.router, "routes", [way])
    reply = api.post(
        f"/mtls-ca/socket/{name}/ssh",
        content=json.dumps({"ssh_public_key": public_line(ec_key())}),
        headers={"content-type": type_, "x-access-token": client_token(name)},
    )
    assert reply.status_code == 200, reply.text
    assert reply.json().keys() == {"signed_ssh_cert", "log_proof"}
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-type"] == "application/json"


def test_other_methods_and_names_are_not_its(
    api: httpx.Client, tls_socket: dict[str, Any], client_token: ClientTokenMaker
) -> None:
    name = tls_socket["dnsname"]
    headers = {"x-access-token": client_token(name)}
    assert api.get(f"/mtls-ca/socket/{name}/ssh", headers=headers).status_code == 405
    body = {"ssh_public_key": public_line(ec_key())}
    for odd in ("a%2fb", "x" * 300, "%C3%A9", f"{name}%0a"):
        reply = api.post(f"/mtls-ca/socket/{odd}/ssh", json=body, headers=headers)
        assert 400 <= reply.status_code < 500, odd


@pytest.mark.parametrize(
    "path",
    ["/mtls-ca/socket/x/ssh", "/api/v1/mtls-ca/socket/x/ssh", "/mtls-ca/socket/x/csr", "/user"],
)
async def test_hanging_up_in_the_middle_is_no_fault_of_ours(
    gateway: Gateway, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    left, answered = list(HUNG_UP), []

    async def receive() -> Any:
        return left.pop(0)

    async def send(message: Any) -> None:
        answered.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("gateway.localhost", 80),
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"gateway.localhost"), (b"content-type", b"application/json")],
    }
    await create_app(gateway)(scope, receive, send)
    assert answered[0]["status"] == 400
    assert caplog.records == []


def test_a_new_rsa_key_keeps_nobody_waiting(
    api: httpx.Client,
    tls_socket: dict[str, Any],
    client_token: ClientTokenMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is looked at in a thread, not where every other request waits."""
    vetted, check = [], key_strength.check_rsa

    def noting(key: rsa.RSAPublicKey) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        vetted.append(key)
        check(key)

    monkeypatch.setattr(key_strength, "check_rsa", noting)
    name = tls_socket["dnsname"]
    reply = api.post(
        f"/mtls-ca/socket/{name}/ssh",
        json={"ssh_public_key": public_line(rsa.generate_private_key(65537, 2048))},
        headers={"x-access-token": client_token(name)},
    )
    assert reply.status_code == 200, reply.text
    assert len(vetted) == 1


def test_rules_are_made_ready_where_nobody_waits_for_it(
    gateway: Gateway,
    api: httpx.Client,
    tls_socket: dict[str, Any],
    client_token: ClientTokenMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Large lists take seconds, once; on the event loop nobody else would be answered."""
    threads: list[tuple[bool, bool]] = []
    guarded = Rules.guarded

    def watched(rules: Rules, socket: SocketRecord) -> GuardedSocket:
        on_the_loop = False
        with suppress(RuntimeError):
            on_the_loop = asyncio.get_running_loop().is_running()
        threads.append((rules.is_ready(socket), on_the_loop))
        return guarded(rules, socket)

    monkeypatch.setattr(Rules, "guarded", watched)
    name = tls_socket["dnsname"]
    headers = {"x-access-token": client_token(name)}
    body = {"ssh_public_key": public_line(ec_key())}
    gateway.rules._ready = ReadyRules()
    for _ in range(2):
        reply = api.post(f"/mtls-ca/socket/{name}/ssh", json=body, headers=headers)
        assert reply.status_code == 200, reply.text
    assert threads == [(False, False), (True, True)]
