"""Any JSON at any call: an answer that says what is wrong, never a failure of ours."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.idp_gateway.api.conftest import ClientTokenMaker, Person

KNOWN = {200, 204, 400, 401, 403, 404, 409, 413, 429}

texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", "http", "tls", "tcp", "a@lab.test", "lab.test", "\x00", "x" * 300]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
SOCKET = (
    "name",
    "socket_type",
    "protected_socket",
    "protected_username",
    "protected_password",
    "cloud_authentication_enabled",
    "cloud_authentication_email_allowed_addressses",
    "cloud_authentication_email_allowed_domains",
    "description",
    "upstream_http_hostname",
    "tags",
    "private_socket",
    "policies",
)


def bodies(*names: str) -> st.SearchStrategy[Any]:
    """Objects with some of the call's own members, and now and then anything else."""
    member = st.one_of(values, st.lists(texts, max_size=3), st.dictionaries(texts, texts))
    return st.one_of(
        st.dictionaries(st.sampled_from(names), member), st.dictionaries(texts, member), values
    )


quickly = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check(person: Person, method: str, path: str, body: object) -> None:
    """Send it; the client of these tests raises what the application lets through."""
    reply = person.call(
        method,
        path,
        content=json.dumps(body),
        headers={"content-type": "application/json"},
    )
    assert reply.status_code in KNOWN, reply.text
    if reply.status_code >= 400:
        problem = reply.json()
        assert reply.headers["content-type"] == "application/problem+json"
        assert problem["reason"]
        assert problem["detail"]
        assert problem["error_message"] == problem["detail"]


@quickly
@given(body=bodies(*SOCKET))
@pytest.mark.parametrize("path", ["/socket", "/connect"])
def test_new_sockets(owner: Person, path: str, body: object) -> None:
    check(owner, "POST", path, body)


@quickly
@given(body=bodies(*SOCKET), method=st.sampled_from(["PUT", "PATCH"]))
def test_changes(owner: Person, tls_socket: dict[str, Any], method: str, body: object) -> None:
    check(owner, method, f"/socket/{tls_socket['socket_id']}", body)


@quickly
@given(body=bodies("name", "email", "password", "sshkey"))
@pytest.mark.parametrize("path", ["/user", "/login"])
def test_accounts(owner: Person, path: str, body: object) -> None:
    check(owner, "POST", path, body)


ASKING = ("socket", "action", "decision_id", "reason", "minutes", "note")
INVITING = ("socket_id", "email", "starts_at", "ends_at", "note")
RULING = ("asking", "two_person", "approvers", "why")


@quickly
@given(body=bodies(*ASKING, *INVITING, *RULING))
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/access-requests"),
        ("POST", "/access-requests/none/approve"),
        ("POST", "/access-requests/none/cancel"),
        ("POST", "/guests"),
        ("PUT", "/approval-rules"),
    ],
)
def test_requests_and_guests(owner: Person, method: str, path: str, body: object) -> None:
    check(owner, method, path, body)


@quickly
@given(body=bodies("csr", "ssh_public_key"))
@pytest.mark.parametrize("kind", ["csr", "ssh"])
def test_certificates(
    owner: Person,
    tls_socket: dict[str, Any],
    client_token: ClientTokenMaker,
    kind: str,
    body: object,
) -> None:
    name = tls_socket["dnsname"]
    asking = Person(
        account=owner.account,
        session=owner.session,
        token=client_token(name),
        client=owner.client,
    )
    check(asking, "POST", f"/mtls-ca/socket/{name}/{kind}", body)


@quickly
@given(body=bodies("ssh_public_key"))
def test_tunnel_keys(owner: Person, tls_socket: dict[str, Any], body: object) -> None:
    check(owner, "POST", f"/socket/{tls_socket['socket_id']}/signkey", body)


@quickly
@given(place=st.text(max_size=60), token=st.binary(max_size=60))
def test_any_path_and_any_token(owner: Person, place: str, token: bytes) -> None:
    path = quote(place, safe="/", errors="replace")
    for prefix in ("/socket/", "/user/", "/mtls-ca/socket/"):
        assert owner.call("GET", prefix + path).status_code in KNOWN | {405, 307}
    header = {"x-access-token": token.replace(b"\r", b"").replace(b"\n", b"").strip()}
    reply = owner.client.get("/socket", headers=header)
    assert reply.status_code == 401
