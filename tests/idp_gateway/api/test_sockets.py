"""Sockets: their shape, their rules, and what a change does."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from idp_gateway import publishing
from idp_gateway.composition import Gateway
from tests.idp_gateway.api.conftest import FIELDS, Person, both_databases
from tests.support.rows import vouch

ADDRESSES = "cloud_authentication_email_allowed_addressses"
DOMAINS = "cloud_authentication_email_allowed_domains"
IDENTITY = {"cloud_authentication_enabled": True, ADDRESSES: ["alice@lab.test"]}


def refused(reply: httpx.Response, reason: str, field: str) -> None:
    """The answer is a problem with this reason and field, in every place clients look."""
    assert reply.status_code == 400, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert (problem["reason"], problem["field"]) == (reason, field), problem
    assert problem["error_message"] == problem["detail"]


def test_a_socket_has_every_member_the_original_clients_know(owner: Person) -> None:
    socket = owner.socket(name="my web", **FIELDS)
    assert socket["name"] == "my web"
    assert socket["socket_type"] == "http"
    assert socket["socket_tcp_ports"] == [8080, 8443]
    assert socket["dnsname"].endswith(".edge.localhost")
    assert socket["user_name"] == owner.account.user_name
    assert socket["tunnels"] == []
    assert socket["ssh_ca"] == ""
    assert socket["custom_domains"] == socket["policy_names"] == socket["policies"] == []


@both_databases
@pytest.mark.parametrize("socket_type", ["tcp", "tls"])
def test_a_type_told_apart_by_port_gets_one_of_its_own(owner: Person, socket_type: str) -> None:
    one, other = owner.socket(socket_type=socket_type), owner.socket(socket_type=socket_type)
    assert len(one["socket_tcp_ports"]) == 1
    assert one["socket_tcp_ports"] != other["socket_tcp_ports"]
    assert one["ssh_ca"].startswith("ssh-ed25519 ") is (socket_type == "tls")
    if socket_type == "tls":
        assert one["ssh_ca"] != other["ssh_ca"]


@both_databases
def test_connect_makes_socket_and_tunnel_in_one_go(owner: Person) -> None:
    socket = owner.call("POST", "/connect", json={"name": "c"}).json()
    (tunnel,) = socket["tunnels"]
    assert tunnel["tunnel_server"] == "gateway.localhost"
    assert tunnel["tunnel_server_port"] == 2222
    assert tunnel["tunnel_server_host_keys"] == []
    assert 1024 <= tunnel["local_port"] <= 65535
    (listed,) = owner.call("GET", "/connect").json()
    assert listed == socket


def test_nobody_and_nothing_is_left_behind_when_a_socket_is_refused(
    owner: Person, gateway: Gateway
) -> None:
    before = gateway.store.revision()
    reply = owner.call(
        "POST",
        "/connect",
        json={"name": "x", "cloud_authentication_enabled": True, ADDRESSES: ["a@lab.test", "b@@c"]},
    )
    refused(reply, "email-invalid", ADDRESSES)
    assert owner.call("GET", "/socket").json() == []
    assert gateway.store.revision() == before


BAD_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": None}, "name-missing", "name"),
    ({"name": ""}, "input-invalid", "name"),
    ({"name": "  "}, "text-blank", "name"),
    ({"name": "x" * 256}, "input-invalid", "name"),
    ({"name": "a\x1b[31mb"}, "control-character", "name"),
    ({"name": "a\u202eb"}, "control-character", "name"),
    ({"name": "a\ud800b"}, "input-invalid", "name"),
    ({"name": 7}, "input-invalid", "name"),
    ({"socket_type": "ssh"}, "input-invalid", "socket_type"),
    ({"socket_type": ["http"]}, "input-invalid", "socket_type"),
    ({"protected_socket": "yes"}, "input-invalid", "protected_socket"),
    ({"protected_socket": True}, "password-missing", "protected_username"),
    (
        {"protected_socket": True, "protected_username": "u"},
        "password-missing",
        "protected_password",
    ),
    (
        {"protected_socket": True, "protected_username": "u:v", "protected_password": "p"},
        "username-invalid",
        "protected_username",
    ),
    (
        {"protected_socket": True, "protected_username": "u", "protected_password": "p" * 129},
        "password-too-long",
        "protected_password",
    ),
    (
        {
            "socket_type": "tcp",
            "protected_socket": True,
            "protected_username": "u",
            "protected_password": "p",
        },
        "password-not-enforceable",
        "protected_socket",
    ),
    (
        IDENTITY | {"protected_socket": True, "protected_username": "u", "protected_password": "p"},
        "password-beside-identity",
        "protected_socket",
    ),
    (IDENTITY | {"socket_type": "tcp"}, "identity-not-enforceable", "cloud_authentication_enabled"),
    ({ADDRESSES: ["a@lab.test"]}, "lists-without-authentication", "cloud_authentication_enabled"),
    ({ADDRESSES: "a@lab.test"}, "input-invalid", ADDRESSES),
    ({ADDRESSES: [1]}, "input-invalid", ADDRESSES),
    ({ADDRESSES: ["a@lab.test"] * 1001}, "input-invalid", ADDRESSES),
    ({DOMAINS: ["@lab.test"]}, "domain-invalid", DOMAINS),
    ({DOMAINS: ["test"]}, "domain-invalid", DOMAINS),
    ({"tags": {"a": 1}}, "input-invalid", "tags.a"),
    ({"tags": {"": "a"}}, "input-invalid", "tags..[key]"),
    ({"tags": {f"t{n}": "" for n in range(65)}}, "input-invalid", "tags"),
    ({"upstream_http_hostname": "a b"}, "input-invalid", "upstream_http_hostname"),
    ({"upstream_http_hostname": "a\r\nX: y"}, "input-invalid", "upstream_http_hostname"),
    ({"private_socket": True}, "private-socket-unsupported", "private_socket"),
    ({"custom_domains": ["x.example"]}, "input-invalid", "custom_domains"),
    ({"policy_names": ["p"]}, "policy-unknown", "policy_names"),
    (
        {"cloud_authentication_email_allowed_addresses": ["a@lab.test"]},
        "unknown-rule",
        "cloud_authentication_email_allowed_addresses",
    ),
    ({"protected": True}, "unknown-rule", "protected"),
]


@pytest.mark.parametrize(("said", "reason", "field"), BAD_FIELDS)
def test_a_field_that_does_not_fit_is_named(
    owner: Person, said: dict[str, Any], reason: str, field: str
) -> None:
    content = json.dumps({"name": "s", "socket_type": "http"} | said)
    reply = owner.call(
        "POST", "/socket", content=content, headers={"content-type": "application/json"}
    )
    refused(reply, reason, field)
    assert owner.call("GET", "/socket").json() == []


def test_null_and_absent_mean_not_said(owner: Person) -> None:
    socket = owner.socket(
        **dict.fromkeys(FIELDS), tags=None, description=None, policies=None, custom_domains=[]
    )
    assert socket["protected_socket"] is False
    assert socket[ADDRESSES] == []


def test_members_that_are_only_for_reading_are_ignored(owner: Person) -> None:
    socket = owner.socket(socket_id="mine", dnsname="evil.example.org", user_name="root", epoch=99)
    assert socket["socket_id"] != "mine"
    assert socket["dnsname"].endswith(".edge.localhost")


def test_addresses_are_kept_in_their_canonical_spelling(owner: Person) -> None:
    socket = owner.socket(
        cloud_authentication_enabled=True,
        **{ADDRESSES: ["Alice@LAB.test", "alice@lab.test"], DOMAINS: ["Bücher.example"]},
    )
    assert socket[ADDRESSES] == ["alice@lab.test"]
    assert socket[DOMAINS] == ["xn--bcher-kva.example"]


def test_identity_without_any_list_is_allowed_and_admits_nobody(owner: Person) -> None:
    assert owner.socket(cloud_authentication_enabled=True)[ADDRESSES] == []


def test_an_identity_socket_that_is_opened_keeps_its_lists_for_later(owner: Person) -> None:
    socket = owner.socket(**IDENTITY)
    path = f"/socket/{socket['socket_id']}"
    opened = owner.call("PATCH", path, json={"cloud_authentication_enabled": False}).json()
    assert opened[ADDRESSES] == ["alice@lab.test"]
    whole = owner.call("PUT", path, json=opened)
    assert whole.status_code == 200, whole.text
    reply = owner.call("PATCH", path, json={ADDRESSES: ["bob@lab.test"]})
    refused(reply, "lists-without-authentication", "cloud_authentication_enabled")


@pytest.mark.parametrize(
    ("said", "bumps"),
    [
        ({ADDRESSES: []}, True),
        ({ADDRESSES: ["alice@lab.test", "bob@lab.test"]}, True),
        ({DOMAINS: ["lab.test"]}, True),
        ({"cloud_authentication_enabled": False}, True),
        ({ADDRESSES: ["ALICE@lab.test"]}, False),
        ({"name": "another"}, False),
        ({"tags": {"a": "b"}}, False),
        ({}, False),
    ],
)
def test_only_a_change_of_who_gets_in_ends_older_grants(
    owner: Person, gateway: Gateway, said: dict[str, Any], bumps: bool
) -> None:
    socket_id = owner.socket(**IDENTITY)["socket_id"]
    reply = owner.call("PATCH", f"/socket/{socket_id}", json=said)
    assert reply.status_code == 200
    record = gateway.store.get_socket(owner.account.account_id, socket_id)
    assert record.epoch == (2 if bumps else 1)
    again = owner.call("PATCH", f"/socket/{socket_id}", json=said)
    assert again.json() == reply.json()
    after = gateway.store.get_socket(owner.account.account_id, socket_id)
    assert after.epoch == record.epoch


def test_a_whole_socket_without_a_list_takes_everybody_off_it(owner: Person) -> None:
    """The original Go client leaves an emptied list out; that must not keep a person in."""
    path = f"/socket/{owner.socket(**IDENTITY)['socket_id']}"
    whole = {"name": "s", "socket_type": "http", "cloud_authentication_enabled": True}
    assert owner.call("PUT", path, json=whole).json()[ADDRESSES] == []


def test_a_part_of_a_socket_leaves_the_rest_alone(owner: Person) -> None:
    path = f"/socket/{owner.socket(**IDENTITY)['socket_id']}"
    for method in ("PUT", "PATCH"):
        changed = owner.call(method, path, json={"name": f"by {method}"}).json()
        assert changed["name"] == f"by {method}"
        assert changed["cloud_authentication_enabled"] is True
        assert changed[ADDRESSES] == ["alice@lab.test"]


def test_a_refused_change_changes_nothing(owner: Person) -> None:
    socket = owner.socket(**IDENTITY)
    path = f"/socket/{socket['socket_id']}"
    reply = owner.call("PUT", path, json={"name": "new", ADDRESSES: ["bob@lab.test", "no"]})
    refused(reply, "email-invalid", ADDRESSES)
    refused(
        owner.call("PATCH", path, json={"socket_type": "tcp"}), "socket-type-fixed", "socket_type"
    )
    assert owner.call("GET", path).json() == socket


def test_a_change_is_answered_when_the_edges_serve_it(
    owner: Person, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket_id = owner.socket(**IDENTITY)["socket_id"]
    waited_for = []

    async def wait(revision: int, _timeout: float) -> bool:
        waited_for.append(revision)
        return True

    monkeypatch.setattr(gateway.feed.serving, "wait_until_acknowledged", wait)
    owner.call("PATCH", f"/socket/{socket_id}", json={ADDRESSES: []})
    assert waited_for == [gateway.store.revision()]


@both_databases
def test_a_name_that_is_taken_is_drawn_again(
    owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(["calm-otter-1000", "calm-otter-1000", "calm-otter-1000", "calm-otter-1001"])
    monkeypatch.setattr(publishing, "random_name", lambda _below: next(names))
    assert owner.socket()["dnsname"] == "calm-otter-1000.edge.localhost"
    assert owner.socket()["dnsname"] == "calm-otter-1001.edge.localhost"


@both_databases
def test_tags_come_back_as_they_were_sent(owner: Person) -> None:
    tags = {"name": "n", "target_port": "80", "ümlaut": "✓", "empty": ""}
    assert owner.socket(tags=tags)["tags"] == tags


def test_a_deleted_socket_is_gone_with_its_tunnels(owner: Person) -> None:
    socket = owner.call("POST", "/connect", json={"name": "c"}).json()
    path = f"/socket/{socket['socket_id']}"
    assert owner.call("DELETE", path, content="null").status_code == 204
    assert owner.call("GET", path).status_code == 404
    assert owner.call("GET", f"{path}/tunnel").status_code == 404
    assert owner.call("DELETE", path).status_code == 404


@pytest.mark.parametrize("path", ["/socket", "/connect"])
def test_an_account_has_so_many_sockets_and_no_more(
    owner: Person, gateway: Gateway, path: str
) -> None:
    limited(gateway, sockets_per_unverified_account=1, sockets_per_account=2)
    owner.socket()
    for verified in (False, True):
        if verified:
            vouch(gateway.store, owner.account.account_id, gateway.clock())
            assert owner.call("POST", path, json={"name": "b"}).status_code == 200
        reply = owner.call("POST", path, json={"name": "c"})
        assert (reply.status_code, reply.json()["reason"]) == (403, "quota-exceeded")
    kept = owner.call("GET", "/socket").json()
    assert len(kept) == 2
    assert owner.call("DELETE", f"/socket/{kept[0]['socket_id']}").status_code == 204
    assert owner.call("POST", path, json={"name": "d"}).status_code == 200


def test_a_socket_has_so_many_tunnels_and_no_more(owner: Person, gateway: Gateway) -> None:
    limited(gateway, tunnels_per_socket=2)
    path = f"/socket/{owner.socket()['socket_id']}/tunnel"
    replies = [owner.call("POST", path) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 403]
    assert replies[2].json()["reason"] == "quota-exceeded"


def limited(gateway: Gateway, **limits: int) -> None:
    """Other limits for a gateway that runs."""
    settings = gateway.settings.model_copy(update=limits)
    object.__setattr__(gateway, "settings", settings)


def test_a_change_that_is_made_is_not_refused_because_nobody_knows_who_serves_it(
    owner: Person, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told to try again makes a second socket."""

    async def settled(**_of: object) -> bool:
        raise OperationalError("locked", None, Exception("database is locked"))

    monkeypatch.setattr(gateway.feed.serving, "settled", settled)
    reply = owner.call("POST", "/socket", json={"name": "one"})
    assert (reply.status_code, reply.headers["x-mysocket-in-force"]) == (200, "false")
    assert len(owner.call("GET", "/socket").json()) == 1


def test_a_reply_says_whether_the_edges_serve_the_change(
    owner: Person, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/socket/{owner.socket()['socket_id']}"
    tunnel = f"{path}/tunnel/{owner.call('POST', f'{path}/tunnel').json()['tunnel_id']}"

    for word in ("true", "false"):

        async def settled(in_force: bool = word == "true", **_of: object) -> bool:
            return in_force

        monkeypatch.setattr(gateway.feed.serving, "settled", settled)
        for reply in (
            owner.call("PATCH", path, json={"name": f"n{word}"}),
            owner.call("PUT", path, json={"name": f"m{word}"}),
            owner.call("POST", f"{path}/tunnel"),
            owner.call("POST", "/connect", json={"name": "c"}),
            owner.call("POST", "/socket", json={"name": "c"}),
        ):
            assert reply.status_code == 200
            assert reply.headers["x-mysocket-in-force"] == word
    for reply in (owner.call("DELETE", tunnel), owner.call("DELETE", path)):
        assert (reply.status_code, reply.headers["x-mysocket-in-force"]) == (204, "false")
    for path in ("/socket", "/connect"):
        assert "x-mysocket-in-force" not in owner.call("GET", path).headers
