"""``/policies`` and ``/policy``: the original client's calls, ours, and what is refused."""

import json
from urllib.parse import quote

import pytest

from idp_gateway.composition import Gateway
from idp_gateway.errors import PolicyRefused
from idp_gateway.policy_changes import read_given
from idp_gateway.rules import Rules
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person, both_databases
from tests.idp_gateway.conftest import FixedClock
from tests.support.policy_api import (
    attach,
    document,
    epoch,
    identity_socket,
    make,
    second_version,
)


@both_databases
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_the_original_client_manages_policies(owner: Person, prefix: str) -> None:
    null = {"content": b"null", "headers": {"content-type": "application/json"}}
    made = make(owner)
    socket = identity_socket(owner)
    listed = owner.call("GET", f"{prefix}/policies?page_size=100&page=1", **null)
    assert [policy["name"] for policy in listed.json()] == ["staff"]
    assert owner.call("GET", f"{prefix}/policies?page_size=100&page=2", **null).json() == []
    found = owner.call("GET", f"{prefix}/policies/find?name=staff", **null)
    assert found.json() == made
    assert owner.call("GET", f"{prefix}/policies/find?name=none", **null).status_code == 404
    body = {"actions": [{"action": "add", "id": socket["socket_id"]}]}
    attached = owner.call("PUT", f"{prefix}/policy/{made['id']}/socket", json=body)
    assert attached.json() == [socket["socket_id"]]
    socket_id = socket["socket_id"]
    for path in (f"/policies?socket_id={socket_id}", f"/policies&socket_id={socket_id}"):
        (of_socket,) = owner.call("GET", prefix + path, **null).json()
        assert of_socket["socket_ids"] == [socket_id]
    shown = owner.call("GET", f"{prefix}/socket/{socket_id}", **null).json()
    assert shown["policy_names"] == ["staff"]
    assert shown["policies"] == [of_socket]
    changed = document("bob@lab.test")
    body = {"name": None, "description": None, "policy_data": changed}
    after = owner.call("PUT", f"{prefix}/policy/{made['id']}", json=body).json()
    assert (after["name"], after["version"]) == ("staff", 2)
    assert after["policy_data"]["condition"]["who"] == {"email": ["bob@lab.test"]}
    body = {"actions": [{"action": "remove", "id": made["id"]}]}
    assert owner.call("PUT", f"{prefix}/socket/{socket_id}/policy", json=body).json() == []
    assert owner.call("DELETE", f"{prefix}/policy/{made['id']}", **null).status_code == 204
    assert owner.call("GET", f"{prefix}/policies", **null).json() == []


def test_a_policy_lets_people_in_and_a_change_shuts_them_out_at_once(
    gateway: Gateway, owner: Person, client_token: ClientTokenMaker, ssh_key: str
) -> None:
    socket = identity_socket(owner)
    token = client_token(socket["dnsname"])

    def ask() -> int:
        path = f"/mtls-ca/socket/{socket['dnsname']}/ssh"
        headers = {"x-access-token": token}
        body = {"ssh_public_key": ssh_key}
        return owner.client.post(path, headers=headers, json=body).status_code

    assert ask() == 403
    policy = make(owner)
    assert ask() == 403
    attach(owner, socket, policy)
    assert ask() == 200
    path = f"/policy/{policy['id']}"
    owner.call("PUT", path, json={"policy_data": document("bob@lab.test")})
    assert ask() == 403
    owner.call("POST", f"{path}/rollback", json={"version": 1})
    assert ask() == 200
    attach(owner, socket, policy, "remove")
    assert ask() == 403
    owner.call("PUT", path, json={"org_wide": True})
    assert ask() == 200
    owner.call("DELETE", path)
    assert ask() == 403


def test_another_gateway_sees_a_change_at_once(
    gateway: Gateway, owner: Person, clock: FixedClock
) -> None:
    elsewhere = Rules(gateway.store)
    socket = identity_socket(owner)

    def there() -> set[str]:
        found = gateway.store.find_socket(socket["socket_id"])
        assert found is not None
        policies = elsewhere.guarded(found).policies.policies
        return {str(email) for policy in policies for email in policy.who.emails}

    assert there() == set()
    policy = make(owner, org_wide=True)
    assert there() == {"alice@lab.test"}
    path = f"/policy/{policy['id']}"
    owner.call("PUT", path, json={"policy_data": document("bob@lab.test")})
    assert there() == {"bob@lab.test"}
    lists = {"cloud_authentication_email_allowed_addressses": ["carol@lab.test"]}
    owner.call("PATCH", f"/socket/{socket['socket_id']}", json=lists)
    assert there() == {"bob@lab.test", "carol@lab.test"}
    # Of a socket that asks for no identity the epoch stays: it is not to be trusted alone.
    off = {"cloud_authentication_enabled": False}
    owner.call("PATCH", f"/socket/{socket['socket_id']}", json=off)
    before = epoch(gateway, socket)
    assert there() == {"bob@lab.test", "carol@lab.test"}
    owner.call("PUT", path, json={"policy_data": document("dave@lab.test")})
    assert epoch(gateway, socket) == before
    assert there() == {"dave@lab.test", "carol@lab.test"}


def test_names_descriptions_and_the_same_meaning_end_no_grants(
    gateway: Gateway, owner: Person
) -> None:
    socket = identity_socket(owner)
    policy = make(owner)
    attach(owner, socket, policy)
    before, path = epoch(gateway, socket), f"/policy/{policy['id']}"
    same = document("alice@lab.test")
    del same["condition"]["when"]
    for body in (
        {"name": "crew", "description": "those on board"},
        {"policy_data": same},
        {"policy_data": document("Alice@Lab.test")},
    ):
        assert owner.call("PUT", path, json=body).status_code == 200
    assert epoch(gateway, socket) == before
    owner.call("PUT", path, json={"policy_data": document("alice@lab.test", "bob@lab.test")})
    assert epoch(gateway, socket) == before + 1


def test_saving_what_is_so_already_makes_no_version(owner: Person) -> None:
    policy = make(owner)
    path = f"/policy/{policy['id']}"
    body = {"name": "staff", "policy_data": policy["policy_data"], "why": "again"}
    assert owner.call("PUT", path, json=body).json() == policy
    assert len(owner.call("GET", f"{path}/history").json()) == 1


@both_databases
def test_the_history_says_who_did_what_and_why(owner: Person) -> None:
    policy = make(owner, why="they asked")
    path = f"/policy/{policy['id']}"
    socket = identity_socket(owner)
    attach(owner, socket, policy)
    body = {"policy_data": document("bob@lab.test"), "why": "she left"}
    owner.call("PUT", path, json=body)
    back = owner.call("POST", f"{path}/rollback", json={"version": 1, "why": "she is back"})
    assert back.json()["version"] == 3
    assert back.json()["policy_data"] == policy["policy_data"]
    assert back.json()["socket_ids"] == [socket["socket_id"]]
    owner.call("DELETE", f"{path}?why={quote('no longer')}")
    history = owner.call("GET", f"{path}/history").json()
    assert [(entry["change"], entry["version"], entry["why"]) for entry in history] == [
        ("deleted", 3, "no longer"),
        ("rolled-back", 3, "she is back"),
        ("changed", 2, "she left"),
        ("attached", 1, ""),
        ("created", 1, "they asked"),
    ]
    assert {entry["by"] for entry in history} == {owner.account.email}
    assert owner.call("GET", f"{path}/version/2").json() == history[2]
    assert owner.call("GET", f"{path}/version/4").status_code == 404
    assert [
        entry["change"] for entry in owner.call("GET", f"{path}/history?page=2&page_size=2").json()
    ] == ["changed", "attached"]


def test_a_rollback_brings_back_the_document_and_nothing_else(owner: Person) -> None:
    """Scripts find a policy by its name, and another may have the old one by now."""
    policy = make(owner, "old", description="of old")
    path = f"/policy/{policy['id']}"
    changed = {"policy_data": document("bob@lab.test"), "name": "new", "description": "of now"}
    assert owner.call("PUT", path, json=changed).status_code == 200
    make(owner, "old")
    back = owner.call("POST", f"{path}/rollback", json={"version": 1})
    assert back.status_code == 200, back.text
    said = back.json()
    assert said["policy_data"] == policy["policy_data"]
    assert (said["name"], said["description"], said["version"]) == ("new", "of now", 3)


def test_a_document_is_as_long_as_its_bytes(owner: Person) -> None:
    """What hands it out again, and reads it, counts bytes."""
    rules = [{"name": "\u5b57" * 200, "who": {"email": [f"u{n}@b.test"]}} for n in range(100)]
    body = {"name": "long", "policy_data": {"version": "v2", "deny": rules}}
    case = {"as": {"email": "a@b.test"}, "allow": False, "name": "\u5b57" * 200}
    assert owner.call("POST", "/policies", json=body).status_code == 200
    with pytest.raises(PolicyRefused, match="bytes") as refused:
        read_given(body["policy_data"] | {"expect": [case] * 20}, None)
    assert refused.value.reason == "policy-too-large"


def test_a_change_can_demand_to_be_based_on_the_newest_version(owner: Person) -> None:
    path = f"/policy/{make(owner)['id']}"
    body = {"policy_data": document("bob@lab.test"), "version": 1}
    assert owner.call("PUT", path, json=body).status_code == 200
    again = owner.call("PUT", path, json=body | {"policy_data": document("eve@lab.test")})
    assert (again.status_code, again.json()["reason"]) == (409, "policy-version-old")
    back = owner.call("POST", f"{path}/rollback", json={"version": 1, "newest": 1})
    assert back.status_code == 409


def test_nothing_of_a_bad_document_is_used(gateway: Gateway, owner: Person) -> None:
    policy = make(owner)
    path = f"/policy/{policy['id']}"
    bad = document("alice@lab.test") | {"conditions": {}}
    for method, where, body in (
        ("PUT", path, {"policy_data": bad}),
        ("POST", "/policies", {"name": "new", "policy_data": bad}),
        ("PUT", path, {"policy_text": json.dumps(bad, indent=1)}),
        ("POST", "/policies/diff", {"policy_id": policy["id"], "policy_data": bad}),
    ):
        reply = owner.call(method, where, json=body)
        assert (reply.status_code, reply.json()["reason"]) == (400, "policy-document-invalid")
        (fault,) = reply.json()["faults"]
        assert fault.keys() == {"path", "line", "message"}
        assert (fault["line"] is not None) == ("policy_text" in body)
    assert owner.call("GET", path).json() == policy
    assert len(owner.call("GET", "/policies").json()) == 1
    unknown = second_version("alice@lab.test", prefix_list=["nowhere"])
    reply = owner.call("PUT", path, json={"policy_data": unknown})
    assert (reply.status_code, reply.json()["reason"]) == (400, "prefix-list-unknown")
    for body in ({"name": "x"}, {"name": "x", "policy_data": {}, "policy_text": ""}):
        assert owner.call("POST", "/policies", json=body).status_code == 400


def test_a_policy_whose_case_fails_is_refused(owner: Person) -> None:
    policy = make(owner)
    path = f"/policy/{policy['id']}"
    cases = [
        {"as": {"email": "bob@lab.test"}, "action": "ssh", "allow": True},
        {"as": {"email": "eve@lab.test"}, "action": "ssh", "allow": True},
    ]
    tried = second_version("bob@lab.test") | {"expect": cases}
    reply = owner.call("PUT", path, json={"policy_data": tried})
    assert (reply.status_code, reply.json()["reason"]) == (400, "policy-case-failed")
    (failed,) = reply.json()["cases"]
    assert (failed["path"], failed["got"]) == ("expect[1]", "deny")
    assert owner.call("GET", path).json() == policy
    cases[1]["allow"] = False
    reply = owner.call("PUT", path, json={"policy_data": tried})
    assert reply.json()["version"] == 2


def test_new_sockets_can_name_their_policies(owner: Person) -> None:
    policy = make(owner)
    socket = identity_socket(owner, policy_names=["staff"])
    assert socket["policy_names"] == ["staff"]
    assert [one["id"] for one in socket["policies"]] == [policy["id"]]
    for extra, reason in (
        ({"policy_names": ["nobody"]}, "policy-unknown"),
        (
            {"policy_names": ["staff"], "cloud_authentication_enabled": False},
            "policy-without-authentication",
        ),
    ):
        body = {"name": "s", "socket_type": "tls", "cloud_authentication_enabled": True} | extra
        reply = owner.call("POST", "/socket", json=body)
        assert (reply.status_code, reply.json()["reason"]) == (400, reason)
    # The clients of 2022 send back whole sockets.
    path = f"/socket/{socket['socket_id']}"
    assert owner.call("PUT", path, json=socket).status_code == 200
    reply = owner.call("PUT", path, json=socket | {"policy_names": ["else"], "policies": []})
    assert (reply.status_code, reply.json()["reason"]) == (400, "policies-elsewhere")


@both_databases
def test_strangers_see_and_change_nothing(owner: Person, stranger: Person) -> None:
    policy = make(owner)
    socket = identity_socket(owner)
    theirs = identity_socket(stranger)
    path, change = f"/policy/{policy['id']}", {"name": "mine"}
    actions = {"actions": [{"action": "add", "id": theirs["socket_id"]}]}
    mine = {"actions": [{"action": "add", "id": policy["id"]}]}
    for method, where, body in (
        ("GET", path, None),
        ("PUT", path, change),
        ("DELETE", path, None),
        ("GET", f"{path}/history", None),
        ("GET", f"{path}/version/1", None),
        ("POST", f"{path}/rollback", {"version": 1}),
        ("PUT", f"{path}/socket", actions),
        ("PUT", f"/socket/{theirs['socket_id']}/policy", mine),
        ("PUT", f"/socket/{socket['socket_id']}/policy", mine),
        ("GET", f"/policies?socket_id={socket['socket_id']}", None),
        ("GET", f"/policies&socket_id={socket['socket_id']}", None),
        ("GET", "/policies/find?name=staff", None),
        ("POST", "/policies/explain", {"socket": socket["dnsname"], "as": "a@lab.test"}),
        ("POST", "/policies/diff", {"policy_id": policy["id"], "policy_data": document()}),
        (
            "POST",
            "/policies/diff",
            {"socket_ids": [socket["socket_id"]], "policy_data": document()},
        ),
    ):
        assert stranger.call(method, where, json=body).status_code == 404, (method, where)
    assert stranger.call("GET", "/policies").json() == []
    assert (
        stranger.call("POST", "/socket", json={"name": "s", "policy_names": ["staff"]}).status_code
        == 400
    )
    owners = {"actions": [{"action": "add", "id": theirs["socket_id"]}]}
    assert owner.call("PUT", f"{path}/socket", json=owners).status_code == 404
    assert owner.call("GET", path).json() == policy


def test_the_schema_is_for_everybody(owner: Person) -> None:
    schema = owner.client.get("/api/v1/policies/schema").json()
    assert schema["$schema"].endswith("2020-12/schema")


@both_databases
def test_prefix_lists(owner: Person, stranger: Person, gateway: Gateway) -> None:
    put = {"prefixes": ["192.0.2.0/25", "192.0.2.128/25", "192.0.2.7"], "why": "moved"}
    made = owner.call("PUT", "/prefix-lists/office", json=put)
    assert made.status_code == 200, made.text
    assert made.json()["prefixes"] == ["192.0.2.0/24"]
    assert (made.json()["count"], made.json()["version"], made.json()["why"]) == (1, 1, "moved")
    assert owner.call("GET", "/prefix-lists/office").json() == made.json()
    (listed,) = owner.call("GET", "/prefix-lists").json()
    assert listed == {key: value for key, value in made.json().items() if key != "prefixes"}
    file = json.dumps(
        {
            "syncToken": "1",
            "prefixes": [
                {"ip_prefix": "198.51.100.0/24", "region": "eu-west-1", "service": "EC2"},
                {"ip_prefix": "203.0.113.0/24", "region": "us-east-1", "service": "EC2"},
            ],
            "ipv6_prefixes": [],
        }
    )
    taken = owner.call("PUT", "/prefix-lists/office", json={"text": file, "region": "eu-west-1"})
    assert taken.json()["prefixes"] == ["198.51.100.0/24"]
    bad = owner.call("PUT", "/prefix-lists/office", json={"prefixes": ["nonsense"]})
    assert (bad.status_code, bad.json()["reason"]) == (400, "prefix-list-invalid")
    for body in ({}, put | {"text": "192.0.2.1"}):
        assert owner.call("PUT", "/prefix-lists/office", json=body).status_code == 400
    assert stranger.call("GET", "/prefix-lists").json() == []
    for method in ("GET", "DELETE"):
        assert stranger.call(method, "/prefix-lists/office").status_code == 404
    data = second_version("alice@lab.test", prefix_list=["office"])
    policy = make(owner, policy_data=data)
    socket = identity_socket(owner)
    attach(owner, socket, policy)
    before = epoch(gateway, socket)
    owner.call("PUT", "/prefix-lists/office", json=put)
    assert epoch(gateway, socket) == before + 1
    owner.call("PUT", "/prefix-lists/office", json=put)
    assert epoch(gateway, socket) == before + 1
    used = owner.call("DELETE", "/prefix-lists/office")
    assert (used.status_code, used.json()["policies"]) == (409, ["staff"])
    owner.call("DELETE", f"/policy/{policy['id']}")
    assert owner.call("DELETE", "/prefix-lists/office").status_code == 204
