"""What owners may ask: what would be decided, what was and why, and what a change would do."""

import json
from ipaddress import ip_address
from typing import Any

import anyio
import pytest

from idp_gateway import turns
from idp_gateway.access import Asked, authorize, identity_of
from idp_gateway.callers import Caller
from idp_gateway.capacity import REPLAYS, TRIALS, Places
from idp_gateway.composition import Gateway
from idp_gateway.origins import Origin
from idp_gateway.policy_questions import trials
from idp_gateway.routes import policy_questions
from idp_gateway.schemas.policies import DiffForm
from policy.types import Action
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


def ask_for_ssh(person: Person, socket: dict[str, Any], token: str, key: str) -> Any:
    path = f"/mtls-ca/socket/{socket['dnsname']}/ssh"
    headers = {"x-access-token": token}
    return person.client.post(path, headers=headers, json={"ssh_public_key": key})


def lines_of(person: Person, body: dict[str, Any]) -> list[dict[str, Any]]:
    reply = person.call("POST", "/policies/diff", json=body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.text.splitlines()]


@both_databases
def test_a_change_can_be_tried_on_what_was_asked(
    owner: Person,
    clock: FixedClock,
    client_token: ClientTokenMaker,
    ssh_key: str,
    gateway: Gateway,
) -> None:
    socket, other = identity_socket(owner), identity_socket(owner)
    policy = make(owner)
    attach(owner, socket, policy)
    for email, count in (("alice@lab.test", 2), ("bob@lab.test", 3)):
        token = client_token(socket["dnsname"], email=email)
        for _ in range(count):
            ask_for_ssh(owner, socket, token, ssh_key)
            clock.advance(seconds=20)
    token = client_token(other["dnsname"], email="bob@lab.test")
    ask_for_ssh(owner, other, token, ssh_key)
    before = gateway.store.revision(), owner.call("GET", "/policies").json()
    new = document("bob@lab.test")
    *progress, result = lines_of(owner, {"policy_id": policy["id"], "policy_data": new})
    assert progress[0] == {"type": "progress", "done": 0, "total": 5}
    assert progress[-1] == {"type": "progress", "done": 5, "total": 5}
    assert (result["type"], result["records"], result["changed"]) == ("result", 5, 5)
    (gain,), (lose,) = result["gain"], result["lose"]
    assert (gain["email"], gain["count"], gain["action"]) == ("bob@lab.test", 3, "ssh")
    assert (lose["email"], lose["count"]) == ("alice@lab.test", 2)
    assert lose["socket_id"] == socket["socket_id"]
    wide = {"policy_id": policy["id"], "policy_data": new, "org_wide": True}
    assert [one["count"] for one in lines_of(owner, wide)[-1]["gain"]] == [3, 1]
    fresh = {"policy_data": new, "socket_ids": [other["socket_id"]]}
    assert [one["count"] for one in lines_of(owner, fresh)[-1]["gain"]] == [1]
    assert lines_of(owner, fresh | {"days": 0.0001})[-1]["records"] == 1
    assert before[0] == gateway.store.revision()
    assert [policy["version"] for policy in before[1]] == [1]


def test_a_new_policy_is_tried_on_something(owner: Person) -> None:
    reply = owner.call("POST", "/policies/diff", json={"policy_data": document("a@lab.test")})
    assert (reply.status_code, reply.json()["reason"]) == (400, "sockets-missing")


def test_few_replays_run_at_once(owner: Person, gateway: Gateway) -> None:
    body = {"policy_data": document("a@lab.test"), "org_wide": True}
    replays = gateway.capacity.replays
    others = [replays.take(f"account {number}") for number in range(REPLAYS)]
    assert replays.take("one more") is None
    assert owner.call("POST", "/policies/diff", json=body).status_code == 429
    for other in others:
        assert other is not None
        other.ran()  # its answer may still be on its way
    for _ in range(3):
        assert lines_of(owner, body)[-1]["type"] == "result"


def test_an_account_replays_one_thing_at_a_time(
    owner: Person, stranger: Person, gateway: Gateway
) -> None:
    body = {"policy_data": document("a@lab.test"), "org_wide": True}
    place = gateway.capacity.replays.take(owner.account.account_id)
    assert place is not None
    for step in (lambda: None, place.ran):
        step()
        assert owner.call("POST", "/policies/diff", json=body).status_code == 429
        assert lines_of(stranger, body)[-1]["type"] == "result"
    place.leave()
    assert lines_of(owner, body)[-1]["type"] == "result"


def test_a_result_that_is_on_its_way_keeps_nobody_else_out(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_questions, "_PIECE", 100)
    places = Places(1)
    place = places.take("mine")
    assert place is not None
    lines = policy_questions._lines(gateway, [], place, days=1)
    assert json.loads(next(lines))["type"] == "progress"
    assert places.take("another") is None
    pieces = [next(lines)]
    assert places.take("mine") is None
    other = places.take("another")
    assert other is not None
    other.leave()
    while places.take("mine") is None:
        pieces.append(next(lines))
    pieces += lines
    assert json.loads("".join(pieces))["type"] == "result"


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_client_that_does_not_read_is_given_up(
    taken: int, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_questions, "MAX_WAIT_SECONDS", 0.05)
    assert _sent_until_given_up(gateway, taken) == taken


def test_nor_does_one_that_reads_slowly_stay_for_ever(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_questions, "MAX_SECONDS", 0.05)
    assert _sent_until_given_up(gateway, 1) == 1


def _sent_until_given_up(gateway: Gateway, taken: int) -> int:
    """How much was sent to a client that stops reading, whose place is free then."""
    places = Places(1)
    place = places.take("mine")
    assert place is not None
    response = policy_questions._Lines(policy_questions._lines(gateway, [], place, days=1), place)
    sent = []

    async def send(message: Any) -> None:
        if len(sent) == taken:
            await anyio.sleep_forever()
        sent.append(message)

    async def answer() -> None:
        with anyio.fail_after(30):
            await response({"type": "http", "asgi": {"spec_version": "2.4"}}, send, send)

    anyio.run(answer)
    assert places.take("mine") is not None
    return len(sent)


def test_an_owner_asks_what_would_be(owner: Person) -> None:
    socket = identity_socket(owner)
    data = second_version("alice@lab.test", allowed_ip=["192.0.2.0/24"])
    policy = make(owner, policy_data=data)
    attach(owner, socket, policy)

    def ask(**body: Any) -> dict[str, Any]:
        full = {"socket": socket["dnsname"], "as": "alice@lab.test", "action": "ssh"} | body
        reply = owner.call("POST", "/policies/explain", json=full)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    allowed = ask(**{"from": "192.0.2.9"})
    assert (allowed["effect"], allowed["policy_ids"]) == ("allow", [policy["id"]])
    assert allowed["sources"] == ["192.0.2.0/24"]
    assert allowed["text"]
    denied = ask(**{"from": "198.51.100.1", "socket": socket["socket_id"]})
    assert (denied["effect"], denied["reasons"]) == ("deny", ["address-not-allowed"])
    assert ask(**{"as": "bob@lab.test", "from": "192.0.2.9"})["reasons"] == ["not-on-list"]
    assert ask(**{"from": "192.0.2.9", "at": "0001-01-01T00:00:00Z"})["effect"] == "allow"
    early = {"at": "0001-01-01T00:00:00Z", "session_minutes": 10}
    times = ({"at": "2026-01-01T00:00:00"}, early)
    for bad in ({"from": "nowhere"}, {"as": "a@@b"}, {"as": 1}, *times):
        body = {"socket": socket["dnsname"], "as": "alice@lab.test"} | bad
        assert owner.call("POST", "/policies/explain", json=body).status_code == 400, bad


@both_databases
def test_a_decision_is_explained_to_its_owner_and_named_to_its_person(
    gateway: Gateway,
    owner: Person,
    stranger: Person,
    clock: FixedClock,
    client_token: ClientTokenMaker,
    ssh_key: str,
) -> None:
    socket = identity_socket(owner)
    policy = make(owner)
    attach(owner, socket, policy)
    token = client_token(socket["dnsname"], email="eve@lab.test")
    decision_id = ask_for_ssh(owner, socket, token, ssh_key).json()["decision_id"]
    path = f"/audit/decisions/{decision_id}"
    shown = owner.call("GET", path).json()
    assert (shown["rules"], shown["reasons"]) == ("in-force", ["not-on-list"])
    assert (shown["email"], shown["socket_id"]) == ("eve@lab.test", socket["socket_id"])
    assert shown["explanation"] is not None
    assert shown["text"]
    assert stranger.call("GET", path).status_code == 404
    assert owner.call("GET", "/audit/decisions/none").status_code == 404
    clock.advance(seconds=1)
    owner.call("PUT", f"/policy/{policy['id']}", json={"policy_data": document("eve@lab.test")})
    assert owner.call("GET", path).json()["rules"] == "then"
    # Lists of the socket itself have no history: what would come out otherwise is not explained.
    lists = {"cloud_authentication_email_allowed_addressses": ["eve@lab.test"]}
    owner.call("PATCH", f"/socket/{socket['socket_id']}", json=lists)
    recorded = owner.call("GET", path).json()
    assert (recorded["rules"], recorded["explanation"]) == ("recorded", None)
    assert recorded["reasons"] == ["not-on-list"]


def test_the_person_denied_learns_little(
    gateway: Gateway, owner: Person, stranger: Person, clock: FixedClock
) -> None:
    socket = identity_socket(owner)
    denied = authorize(
        gateway.store,
        clock,
        gateway.rules.guarded(
            gateway.store.get_socket(owner.account.account_id, socket["socket_id"])
        ),
        Asked(
            identity=identity_of(stranger.session),
            action=Action.SSH,
            origin=Origin(address=ip_address("192.0.2.1")),
        ),
    )
    shown = stranger.call("GET", f"/audit/decisions/{denied.decision_id}").json()
    assert shown.keys() == {"decision_id", "at", "effect", "reason", "dnsname"}
    assert (shown["effect"], shown["dnsname"]) == ("deny", socket["dnsname"])


def test_a_document_says_nothing_twice(owner: Person) -> None:
    """The last of two would count, and the first be what people read."""
    policy, data = make(owner), json.dumps(document("a@lab.test"))
    twice = data.replace('"domain"', '"email": ["eve@lab.test"], "domain"', 1)
    assert json.loads(twice) != json.loads(data)
    places = (("POST", "/policies"), ("PUT", f"/policy/{policy['id']}"), ("POST", "/policies/diff"))
    headers = {"content-type": "application/json"}
    for method, path in places:
        said = '{"name": "new", "org_wide": true, "policy_data": %s}'
        reply = owner.call(method, path, content=said % twice, headers=headers)
        found = reply.json()
        assert (reply.status_code, found["reason"]) == (400, "key-given-twice"), reply.text
        assert found["field"] == "email"
        if path != "/policies":  # the name is taken after the first
            assert owner.call(method, path, content=said % data, headers=headers).is_success
    for broken in ("{", "[" * 30_000, b"\xff"):
        reply = owner.call("POST", "/policies", content=broken, headers=headers)
        assert reply.status_code == 400, reply.text


def test_a_policy_is_tried_on_its_other_sockets_too(owner: Person, gateway: Gateway) -> None:
    """Who names one socket still hears of who would lose another."""
    here, there, spare = (identity_socket(owner, name=name) for name in ("here", "there", "spare"))
    policy = make(owner)
    attach(owner, there, policy)
    form = DiffForm(
        policy_id=policy["id"],
        socket_ids=[here["socket_id"]],
        policy_data=document("zoe@lab.test"),
    )
    caller = Caller(account=owner.account, session=owner.session)
    tried = {one.socket.socket_id: one for one in trials(gateway, caller, form)}
    assert set(tried) == {here["socket_id"], there["socket_id"]}
    numbers = [
        (len(tried[one["socket_id"]].before.policies), len(tried[one["socket_id"]].after.policies))
        for one in (here, there)
    ]
    assert numbers == [(0, 1), (1, 1)]
    alone = form.model_copy(update={"policy_id": None})
    assert [one.socket.socket_id for one in trials(gateway, caller, alone)] == [here["socket_id"]]
    everywhere = trials(gateway, caller, form.model_copy(update={"org_wide": True}))
    assert {one.socket.socket_id for one in everywhere} == {*tried, spare["socket_id"]}


def test_an_account_has_one_decision_explained_at_a_time(owner: Person, gateway: Gateway) -> None:
    asked = {"socket": identity_socket(owner)["dnsname"], "as": "bob@lab.test"}
    with turns.trial(gateway, owner.account.account_id):
        refused = owner.call("POST", "/policies/explain", json=asked)
    assert (refused.status_code, refused.json()["reason"]) == (429, "too-many-attempts")
    assert owner.call("POST", "/policies/explain", json=asked).status_code == 200


def test_few_have_decisions_explained_at_a_time(owner: Person, gateway: Gateway) -> None:
    asked = {"socket": identity_socket(owner)["dnsname"], "as": "bob@lab.test"}
    others = [turns.trial(gateway, str(number)) for number in range(TRIALS)]
    assert owner.call("POST", "/policies/explain", json=asked).status_code == 429
    others[0].leave()
    assert owner.call("POST", "/policies/explain", json=asked).status_code == 200


def test_an_explanation_has_the_names_of_now(owner: Person, gateway: Gateway) -> None:
    socket = identity_socket(owner)
    rule = {"name": "old rule", "who": {"email": ["bob@lab.test"]}}
    said = second_version("alice@lab.test") | {"deny": [rule]}
    policy = make(owner, "old name", policy_data=said)
    attach(owner, socket, policy)
    asked = {"socket": socket["dnsname"], "as": "bob@lab.test"}
    before = owner.call("POST", "/policies/explain", json=asked).json()["text"][1]
    assert before.startswith("denied by rule old rule of policy old name")
    current = epoch(gateway, socket)
    rule["name"] = "new rule"
    changed = owner.call(
        "PUT", f"/policy/{policy['id']}", json={"name": "new name", "policy_data": said}
    )
    assert changed.status_code == 200
    after = owner.call("POST", "/policies/explain", json=asked).json()["text"][1]
    assert after.startswith("denied by rule new rule of policy new name")
    assert epoch(gateway, socket) == current
