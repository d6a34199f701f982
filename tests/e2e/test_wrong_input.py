"""Wrong input, through the running product: a clear sentence, no traceback, nothing half done."""

import json
from typing import Any

import pytest

from tests.support.product import Person, Product

NOT_TEXT: list[Any] = [None, 7, True, [], {}, "", "x" * 100_000, "a\x00b", "\ud800", "\u202eevil"]
SOCKET_FIELDS = {
    "name": NOT_TEXT,
    "socket_type": [*NOT_TEXT[1:], "udp", "HTTP "],
    "protected_socket": ["yes", 1, [], {}],
    "protected_username": [7, [], "x" * 100_000, "a:b\x00"],
    "protected_password": [7, [], "x" * 100_000],
    "cloud_authentication_enabled": ["true", 1, []],
    "cloud_authentication_email_allowed_addressses": [
        "alice@example.com",
        [7],
        ["no-at"],
        ["a@b@c.example"],
        ["a@evil.example\n"],
        ["ali\u212ae@example.com"],
        ["x@example.com"] * 5000,
        {"a": 1},
    ],
    "cloud_authentication_email_allowed_domains": [
        "example.com",
        ["*"],
        ["*.example.com"],
        ["nodot"],
        ["exa mple.com"],
        [7],
    ],
    "upstream_http_hostname": [7, "a b", "a/b", "a\r\nX-Evil: 1"],
    "tags": ["x", {"a": 7}, {"": "x" * 100_000}],
    "cloud_authentication_email_allowed_addresses": [["alice@example.com"]],
}


@pytest.mark.parametrize("field", sorted(SOCKET_FIELDS))
def test_a_socket_field_is_refused_by_name_and_leaves_no_row(field: str, owner: Person) -> None:
    with owner.api as api:
        api.headers["content-type"] = "application/json"
        before = api.get("/socket").json()
        for wrong in SOCKET_FIELDS[field]:
            body = {"name": "probe", "socket_type": "http", field: wrong}
            answer = api.post("/connect", content=json.dumps(body))
            if field == "name" and wrong is not None and answer.status_code == 200:
                pytest.fail(f"a socket was called {wrong!r}")
            assert answer.status_code in {400, 413}, (wrong, answer.text)
            problem = answer.json()
            assert answer.headers["content-type"].startswith("application/problem+json")
            assert problem["reason"]
            assert problem["detail"] == problem["error_message"]
            assert answer.status_code == 413 or field in answer.text, (wrong, answer.text)
            assert "Traceback" not in answer.text
        assert api.get("/socket").json() == before


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"7", b'"text"', b"\xff\xfe", b"[" * 100_000]
)
def test_a_body_that_is_no_object_is_refused(body: bytes, owner: Person) -> None:
    with owner.api as api:
        api.headers["content-type"] = "application/json"
        for path in ("/connect", "/socket", "/user", "/login"):
            answer = api.post(path, content=body)

            assert answer.status_code in {400, 401, 413}, (path, answer.text)
            assert answer.json()["reason"]


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "x" * 20_000])
def test_a_wrong_token_is_401(token: str, product: Product) -> None:
    with product.visitor() as visitor:
        answer = visitor.get("/socket", headers={"x-access-token": token.encode()})

    assert answer.status_code in {400, 401, 431}
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["socket", "create"],
        ["socket", "create", "--name", "x", "--type", "udp"],
        ["socket", "create", "--name", "x", "--allowed_email_addresses", "no-at"],
        ["socket", "create", "--name", "x", "--allowed_email_domains", "*"],
        ["socket", "show", "--socket_id", "../../etc/passwd"],
        ["socket", "show", "--socket_id", "00000000-0000-0000-0000-000000000000"],
        ["socket", "delete", "--socket_id", ""],
        ["tunnel", "connect", "--socket_id", "x", "--tunnel_id", "y", "--port", "70000"],
        ["tunnel", "ls", "--socket_id", "x"],
        ["connect", "--port", "zero"],
        ["connect", "--port", "8000", "--protected", "--username", "only"],
        ["client", "tls", "--host", "-oProxyCommand=evil"],
        ["client", "tls", "--host", "a b"],
        ["client", "tls", "--host", "nobody-home-0000.edge.localhost", "--port", "1"],
        ["client", "ssh-keysign", "--host", "../../etc"],
        ["login", "--email", "owner@example.com", "--password", "wrong"],
        ["account", "create", "--email", "x", "--name", "x", "--password", "x", "--sshkey", "x"],
        ["--api", "ftp://nowhere", "socket", "ls"],
        ["--api", "https://127.0.0.1:1", "socket", "ls"],
        ["--ca-file", "/nonexistent", "socket", "ls"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_says_what_is_wrong(arguments: list[str], owner: Person) -> None:
    done = owner.ctl(*arguments, check=False, BROWSER="false", MYSOCKET_LOGIN="device")

    said = (done.stdout + done.stderr).decode()
    assert "Traceback" not in said
    assert "internal error" not in said
    assert said.strip()
    if arguments:
        assert done.returncode not in {0, 70}, said
        assert len(said.strip().splitlines()) <= 5, said
