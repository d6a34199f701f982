"""What people try: other people's things, tokens for other purposes, bodies of any shape."""

import base64
import itertools
import json
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from idp_gateway.bounds import MAX_BODY_BYTES
from idp_gateway.composition import Gateway
from idp_gateway.tokens import Purpose
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person, both_databases
from tests.idp_gateway.conftest import FixedClock

OWN_CALLS = [
    ("GET", "/user/{account_id}"),
    ("GET", "/socket"),
    ("POST", "/socket"),
    ("GET", "/connect"),
    ("POST", "/connect"),
    ("GET", "/socket/{socket_id}"),
    ("PUT", "/socket/{socket_id}"),
    ("PATCH", "/socket/{socket_id}"),
    ("DELETE", "/socket/{socket_id}"),
    ("GET", "/socket/{socket_id}/tunnel"),
    ("POST", "/socket/{socket_id}/tunnel"),
    ("GET", "/socket/{socket_id}/tunnel/{tunnel_id}"),
    ("DELETE", "/socket/{socket_id}/tunnel/{tunnel_id}"),
    ("POST", "/socket/{socket_id}/tunnel/{tunnel_id}/signkey"),
    ("POST", "/socket/{socket_id}/signkey"),
    ("GET", "/audit/decisions?socket_id={socket_id}"),
    ("GET", "/audit/certificates?socket_id={socket_id}"),
    ("POST", "/login/refresh"),
]
THINGS = [(method, path) for method, path in OWN_CALLS if "{" in path]
"""Calls about one thing that has an owner."""


@pytest.fixture
def connected(owner: Person) -> dict[str, Any]:
    found: dict[str, Any] = owner.call("POST", "/connect", json={"name": "mine"}).json()
    return found


@pytest.fixture
def filled(owner: Person, connected: dict[str, Any]) -> dict[str, str]:
    return {
        "account_id": owner.account.account_id,
        "socket_id": connected["socket_id"],
        "tunnel_id": connected["tunnels"][0]["tunnel_id"],
    }


def body_for(path: str, ssh_key: str) -> dict[str, str]:
    return {"ssh_public_key": ssh_key} if path.endswith("signkey") else {"name": "x"}


@pytest.mark.parametrize(("method", "path"), THINGS)
def test_somebody_elses_things_are_as_unknown_as_what_never_was(
    stranger: Person, filled: dict[str, str], ssh_key: str, method: str, path: str
) -> None:
    unknown = dict.fromkeys(filled, "99999999-9999-4999-8999-999999999999")
    body = body_for(path, ssh_key)
    foreign = stranger.call(method, path.format(**filled), json=body)
    never = stranger.call(method, path.format(**unknown), json=body)
    assert foreign.status_code == never.status_code == 404
    assert foreign.json() == never.json()


def test_a_tunnel_is_found_below_its_own_socket_only(
    owner: Person, filled: dict[str, str], ssh_key: str
) -> None:
    other = owner.socket()["socket_id"]
    path = f"/socket/{other}/tunnel/{filled['tunnel_id']}"
    assert owner.call("GET", path).status_code == 404
    assert owner.call("DELETE", path).status_code == 404
    reply = owner.call("POST", f"{path}/signkey", json={"ssh_public_key": ssh_key})
    assert reply.status_code == 404


def _unsigned(token: str, **header: str) -> str:
    """The same claims under another header and without a signature."""
    text = json.dumps(header, separators=(",", ":")).encode()
    first = base64.urlsafe_b64encode(text).rstrip(b"=").decode()
    return f"{first}.{token.split('.')[1]}."


def _by_public_key(gateway: Gateway, token: str) -> str:
    """The claims signed with HMAC under the public key's bytes."""
    (key,) = gateway.tokens.public_keys(Purpose.API)["keys"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    secret = OctKey.import_key(json.dumps(key).encode())
    return jwt.encode({"alg": "HS256", "typ": "api+jwt"}, claims, secret)


@pytest.fixture
def wrong_tokens(gateway: Gateway, owner: Person, client_token: ClientTokenMaker) -> dict[str, str]:
    token = owner.token
    body, signature = token.rsplit(".", 1)
    return {
        "another purpose": client_token("calm-otter-1000.edge.localhost"),
        "none": _unsigned(token, alg="none", typ="api+jwt"),
        "None": _unsigned(token, alg="None", typ="api+jwt"),
        "public key as secret": _by_public_key(gateway, token),
        "signature of zeros": f"{body}.{'A' * len(signature)}",
        "no signature": body,
        "two dots": "..",
        "huge": "x" * 20_000,
        "not ASCII": "ü" * 10,
        "nested": f"{token}.{token}",
    }


@pytest.mark.parametrize(
    "kind",
    [
        "another purpose",
        "none",
        "None",
        "public key as secret",
        "signature of zeros",
        "no signature",
        "two dots",
        "huge",
        "not ASCII",
        "nested",
    ],
)
def test_a_token_that_is_not_an_api_token_opens_nothing(
    api: httpx.Client, wrong_tokens: dict[str, str], kind: str
) -> None:
    token = wrong_tokens[kind].encode("utf-8")
    reply = api.get("/socket", headers={"x-access-token": token})
    assert reply.status_code == 401
    assert reply.json()["reason"] == "token-invalid"


@pytest.mark.parametrize(("method", "path"), OWN_CALLS)
def test_without_a_token_nothing_is_answered(
    api: httpx.Client, filled: dict[str, str], ssh_key: str, method: str, path: str
) -> None:
    reply = api.request(method, path.format(**filled), json=body_for(path, ssh_key))
    assert reply.status_code == 401
    assert reply.json()["reason"] == "not-authenticated"


@pytest.mark.parametrize(("method", "path"), OWN_CALLS)
def test_an_expired_token_opens_nothing(
    owner: Person,
    clock: FixedClock,
    filled: dict[str, str],
    ssh_key: str,
    method: str,
    path: str,
) -> None:
    clock.advance(hours=12)
    reply = owner.call(method, path.format(**filled), json=body_for(path, ssh_key))
    assert reply.status_code == 401
    assert reply.json()["reason"] == "token-expired"


def test_a_revoked_login_ends_its_tokens(
    owner: Person, gateway: Gateway, clock: FixedClock
) -> None:
    gateway.store.revoke_login_session(owner.session.session_id, clock())
    reply = owner.call("GET", "/socket")
    assert (reply.status_code, reply.json()["reason"]) == (401, "login-ended")


def test_a_body_that_announces_too_much_is_not_read(owner: Person) -> None:
    reply = owner.call("POST", "/socket", content=b" " * (MAX_BODY_BYTES + 1))
    assert (reply.status_code, reply.json()["reason"]) == (413, "body-too-large")


def test_a_body_that_says_nothing_of_its_length_is_cut_off(owner: Person) -> None:
    pieces = itertools.repeat(b" " * 1024, MAX_BODY_BYTES // 1024 + 2)
    reply = owner.call(
        "POST", "/socket", content=iter(pieces), headers={"content-type": "application/json"}
    )
    assert (reply.status_code, reply.json()["reason"]) == (413, "body-too-large")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b'{"name": "\xc3\x28"}',
        b'{"name": 1e999}',
        b'{"name": NaN}',
        b'{"a\\ud800": 1, "cloud_auth\\ud800": 2}',
        b'{"tags": {"\\ud800": "x"}, "name": "n"}',
        b'{"name": "x", "name": 7}',
        b"[" * 60_000,
        b'{"name":' * 8_000,
    ],
)
@pytest.mark.parametrize("path", ["/socket", "/connect", "/user", "/login"])
def test_a_body_of_the_wrong_shape_is_a_problem_and_no_more(
    owner: Person, path: str, content: bytes
) -> None:
    reply = owner.call("POST", path, content=content, headers={"content-type": "application/json"})
    assert reply.status_code == 400, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["reason"]
    assert owner.call("GET", "/socket").json() == []


def test_a_body_of_another_type_is_a_problem(owner: Person) -> None:
    reply = owner.call("POST", "/socket", data={"name": "x"})
    assert reply.status_code == 400


@both_databases
@pytest.mark.parametrize(
    "path",
    [
        "/ssh/%00/krl",
        "/ssh/a%00b/user-ca-keys",
        "/ca/log/entries?serial=%00",
        "/ca/log/entries?serial=7&subject=a%00",
        "/ca/certificates/%00",
        "/api/v1/ca/certificates/%00",
        "/socket/%00/host",
        "/socket/%00",
        "/user/%00",
    ],
)
def test_no_address_has_a_nul(owner: Person, path: str) -> None:
    reply = owner.call("GET", path)

    assert (reply.status_code, reply.json()["reason"]) == (400, "address-invalid")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-frame-options"] == "DENY"


def test_text_about_a_nul_is_no_nul(owner: Person) -> None:
    assert owner.call("GET", "/socket/%2500").status_code == 404
