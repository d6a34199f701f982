"""Lists of addresses through the API: the cases of policies hold them, and they have a history."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from idp_gateway import strict_json, turns
from idp_gateway.bounds import MAX_BODY_BYTES
from idp_gateway.composition import Gateway
from idp_gateway.schemas.policies import PrefixListForm
from idp_gateway.store import Store
from policy.address_sets import AddressSet
from policy.prefix_files import MAX_PREFIXES
from policy.types import IPNetwork
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person, both_databases
from tests.idp_gateway.api.test_policy_questions import ask_for_ssh
from tests.idp_gateway.conftest import FixedClock
from tests.support.policy_api import attach, identity_socket, make, second_version


def put(person: Person, *prefixes: str, why: str = "") -> Any:
    body = {"prefixes": list(prefixes), "why": why}
    return person.call("PUT", "/prefix-lists/office", json=body)


def test_a_list_may_not_break_the_cases_of_policies(owner: Person) -> None:
    put(owner, "198.51.100.0/24")
    case = {"as": {"email": "alice@lab.test"}, "from": "203.0.113.9", "allow": False}
    document = second_version("alice@lab.test", prefix_list=["office"]) | {"expect": [case]}
    make(owner, "careful", policy_data=document)
    make(owner, "careless", policy_data=second_version("bob@lab.test", prefix_list=["office"]))
    refused = put(owner, "0.0.0.0/0")
    assert (refused.status_code, refused.json()["reason"]) == (400, "policy-case-failed")
    assert "careful" in refused.text
    assert "careless" not in refused.text
    assert [one["policy"] for one in refused.json()["cases"]] == ["careful"]
    assert owner.call("GET", "/prefix-lists/office").json()["prefixes"] == ["198.51.100.0/24"]
    assert put(owner, "198.51.100.0/25").status_code == 200


@both_databases
def test_who_changed_a_list_when_and_why(
    owner: Person, stranger: Person, clock: FixedClock
) -> None:
    put(owner, "198.51.100.0/24", why="one")
    clock.advance(minutes=1)
    put(owner, "0.0.0.0/0", why="two")
    assert owner.call("DELETE", "/prefix-lists/office?why=three").status_code == 204
    shown = owner.call("GET", "/prefix-lists/office/history").json()
    assert [(one["change"], one["why"], one["prefixes"]) for one in shown] == [
        ("deleted", "three", []),
        ("changed", "two", ["0.0.0.0/0"]),
        ("created", "one", ["198.51.100.0/24"]),
    ]
    assert {one["by"] for one in shown} == {owner.account.email}
    assert shown[1]["at"] > shown[2]["at"]
    assert shown[1]["summary"]["count"] == 1
    assert stranger.call("GET", "/prefix-lists/office/history").status_code == 404
    assert len(owner.call("GET", "/prefix-lists/office/history?page=2&page_size=2").json()) == 1


def test_a_decision_is_explained_by_the_list_as_it_was(
    gateway: Gateway,
    owner: Person,
    clock: FixedClock,
    client_token: ClientTokenMaker,
    ssh_key: str,
) -> None:
    put(owner, "198.51.100.0/24")
    socket = identity_socket(owner)
    document = second_version("alice@lab.test", prefix_list=["office"])
    attach(owner, socket, make(owner, policy_data=document))
    token = client_token(socket["dnsname"])
    decision_id = ask_for_ssh(owner, socket, token, ssh_key).json()["decision_id"]
    clock.advance(seconds=1)
    put(owner, "0.0.0.0/0", "::/0")
    shown = owner.call("GET", f"/audit/decisions/{decision_id}").json()
    assert (shown["rules"], shown["reasons"]) == ("then", ["address-not-allowed"])


def test_a_key_counts_once(owner: Person) -> None:
    put(owner, "198.51.100.0/24")
    twice = '{"prefixes": ["0.0.0.0/0"], "why": "x", "prefixes": ["198.51.100.0/25"]}'
    headers = {"content-type": "application/json"}
    reply = owner.call("PUT", "/prefix-lists/office", content=twice, headers=headers)
    found = reply.json()
    assert (reply.status_code, found["reason"], found["field"]) == (
        400,
        "key-given-twice",
        "prefixes",
    )
    assert reply.headers["content-type"] == "application/problem+json"
    assert owner.call("GET", "/prefix-lists/office").json()["version"] == 1


@pytest.mark.parametrize(
    ("method", "path", "answered"),
    [
        ("PUT", "/prefix-lists/office", 200),
        ("POST", "/policies", 400),
        ("PUT", "/policy/1", 404),
        ("POST", "/policies/diff", 400),
    ],
)
def test_nobody_is_read_at_length_before_they_have_logged_in(
    owner: Person, method: str, path: str, answered: int
) -> None:
    taken = []

    def body() -> Iterator[bytes]:
        for piece in (b'{"prefixes": ["192.0.2.0/24"], "why": "', b"x" * 500, b'"}'):
            taken.append(piece)
            yield piece

    headers = {"content-type": "application/json"}
    where = method, path
    for token in ({}, {"x-access-token": "made up"}):
        reply = owner.client.request(*where, content=body(), headers=headers | token)
        assert (reply.status_code, reply.headers["content-type"]) == (
            401,
            "application/problem+json",
        )
        assert taken == []
    assert owner.call(*where, content=body(), headers=headers).status_code == answered
    assert len(taken) == 3


def test_an_account_sends_one_long_body_at_a_time(
    gateway: Gateway, owner: Person, stranger: Person
) -> None:
    """Others have their own turn, and short ones need none."""

    def sent(person: Person, length: int) -> int:
        body = {"text": "192.0.2.0/24" + " " * length}
        return person.call("PUT", "/prefix-lists/office", json=body).status_code

    place = gateway.long_bodies.take(owner.account.account_id)
    assert place is not None
    with place:
        assert sent(owner, MAX_BODY_BYTES) == 429
        assert sent(owner, 10) == 200
        assert sent(stranger, MAX_BODY_BYTES) == 200
    assert [sent(owner, MAX_BODY_BYTES) for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("entry", ["1", "{}", "[]", '"192.0.2.1"'])
def test_a_body_that_takes_long_to_parse_is_refused_before_it_is(
    owner: Person, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else would be done meanwhile; a long text is read at once."""
    monkeypatch.setattr(strict_json, "MAX_PARSED", 2 * MAX_BODY_BYTES)
    headers = {"content-type": "application/json"}
    where = ("PUT", "/prefix-lists/office")
    many = ",".join([entry] * (2 * MAX_BODY_BYTES // len(entry)))
    loads, parsed = json.loads, []

    def watched(body: Any, **more: Any) -> Any:
        parsed.append(len(body))
        return loads(body, **more)

    monkeypatch.setattr(json, "loads", watched)
    hidden = f'{{"why":"x","text":"192.0.2.1","region":[{many}]}}'
    for body in (f'{{"prefixes":[{many}]}}', hidden, hidden.encode("utf-16")):
        reply = owner.call(*where, content=body, headers=headers)
        assert (reply.status_code, reply.json()["reason"]) == (413, "body-too-large")
    assert max(parsed) < MAX_BODY_BYTES
    text = {"text": "192.0.2.0/24\n" * MAX_BODY_BYTES, "why": '"text": "'}
    assert owner.call(*where, json=text).status_code == 200


def test_one_fault_of_a_list_is_enough() -> None:
    with pytest.raises(ValidationError) as refused:
        PrefixListForm.model_validate({"prefixes": [1] * 1_000})
    assert refused.value.error_count() == 1
    with pytest.raises(ValidationError):
        PrefixListForm.model_validate({"prefixes": [""] * (MAX_PREFIXES + 1)})


CASE = {"as": {"email": "alice@lab.test"}, "from": "203.0.113.9", "allow": False}


def meanwhile(monkeypatch: pytest.MonkeyPatch, step: str, *happens: Callable[[], Any]) -> None:
    """Let something happen each time cases have been tried and ``step`` is about to be taken."""
    left, take = list(happens), getattr(Store, step)

    def late(*given: Any, **more: Any) -> Any:
        if left:
            assert left.pop(0)().is_success
        return take(*given, **more)

    monkeypatch.setattr(Store, step, late)


@both_databases
def test_a_policy_saved_while_a_list_is_tried_counts(
    owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(owner, "198.51.100.0/24")
    careful = second_version("alice@lab.test", prefix_list=["office"]) | {"expect": [CASE]}
    body = {"name": "careful", "policy_data": careful}
    meanwhile(monkeypatch, "put_prefix_list", lambda: owner.call("POST", "/policies", json=body))
    refused = put(owner, "0.0.0.0/0")
    assert (refused.status_code, refused.json()["reason"]) == (400, "policy-case-failed")
    assert owner.call("GET", "/prefix-lists/office").json()["prefixes"] == ["198.51.100.0/24"]
    assert put(owner, "198.51.100.0/25").status_code == 200


@both_databases
@pytest.mark.parametrize("how", ["new", "changed", "rolled back"])
def test_a_list_replaced_while_a_policy_is_tried_counts(
    owner: Person, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    put(owner, "198.51.100.0/24")
    careful = second_version("alice@lab.test", prefix_list=["office"]) | {"expect": [CASE]}
    careless = second_version("bob@lab.test", prefix_list=["office"])
    if how == "new":
        call = "POST", "/policies", {"name": "staff", "policy_data": careful}
    else:
        policy = make(owner, policy_data=careful if how == "rolled back" else careless)
        path = f"/policy/{policy['id']}"
        call = "PUT", path, {"policy_data": careful}
        if how == "rolled back":
            assert owner.call("PUT", path, json={"policy_data": careless}).status_code == 200
            call = "POST", f"{path}/rollback", {"version": 1}
    step = "add_policy" if how == "new" else "change_policy"
    meanwhile(monkeypatch, step, lambda: put(owner, "0.0.0.0/0"))
    method, path, body = call
    refused = owner.call(method, path, json=body)
    assert (refused.status_code, refused.json()["reason"]) == (400, "policy-case-failed")
    assert "expect" not in owner.call("GET", "/policies").text


def test_what_changes_all_the_time_is_a_conflict(
    owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(owner, "198.51.100.0/24")
    careful = second_version("alice@lab.test", prefix_list=["office"]) | {"expect": [CASE]}
    numbers = itertools.count(1)
    changes = [lambda: put(owner, f"198.51.100.{next(numbers)}")] * 20
    meanwhile(monkeypatch, "add_policy", *changes)
    refused = owner.call("POST", "/policies", json={"name": "staff", "policy_data": careful})
    assert (refused.status_code, refused.json()["reason"]) == (409, "policy-cases-old")
    assert owner.call("GET", "/policies").json() == []


def test_a_list_and_its_cases_move_in_three_steps(owner: Person) -> None:
    """As ``docs/policies.md`` says, either way; in two neither could go first."""

    def document(name: str, *addresses: str) -> dict[str, Any]:
        cases = [CASE | {"from": one, "allow": True} for one in addresses]
        return second_version("alice@lab.test", prefix_list=[name]) | {"expect": cases}

    def edit(policy: dict[str, Any], name: str, *addresses: str) -> int:
        body = {"policy_data": document(name, *addresses)}
        return owner.call("PUT", f"/policy/{policy['id']}", json=body).status_code

    put(owner, "198.51.100.0/24")
    policy = make(owner, policy_data=document("office", "198.51.100.7"))
    assert put(owner, "203.0.113.0/24").status_code == 400
    assert edit(policy, "office", "203.0.113.9") == 400
    moved = {"prefixes": ["203.0.113.0/24"]}
    assert owner.call("PUT", "/prefix-lists/new-office", json=moved).status_code == 200
    assert edit(policy, "new-office", "203.0.113.9") == 200
    assert owner.call("DELETE", "/prefix-lists/office").status_code == 204

    moved = {"prefixes": ["192.0.2.0/24"]}
    assert edit(policy, "new-office") == 200
    assert owner.call("PUT", "/prefix-lists/new-office", json=moved).status_code == 200
    assert edit(policy, "new-office", "192.0.2.7") == 200


def test_a_list_is_sorted_once_for_the_cases_of_all_policies_that_name_it(
    owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account may have a thousand of them, and lists of twenty thousand networks."""
    put(owner, "198.51.100.0/24", "192.0.2.0/24")
    case = {"as": {"email": "alice@lab.test"}, "from": "203.0.113.9", "allow": False}
    cases = second_version("alice@lab.test", prefix_list=["office"]) | {"expect": [case]}
    for number in range(4):
        make(owner, f"careful-{number}", policy_data=cases)
    sizes, of = list[int](), AddressSet.of.__func__  # type: ignore[attr-defined]

    def counted(cls: type[AddressSet], networks: Iterable[IPNetwork]) -> AddressSet:
        kept = tuple(networks)
        sizes.append(len(kept))
        made: AddressSet = of(cls, kept)
        return made

    monkeypatch.setattr(AddressSet, "of", classmethod(counted))
    assert put(owner, "198.51.100.0/24", "192.0.2.0/25", "192.0.2.192/26").status_code == 200
    # Once as it is read, and once for all cases.
    assert [size for size in sizes if size] == [3, 3]


def test_an_account_tries_cases_one_at_a_time(owner: Person, gateway: Gateway) -> None:
    put(owner, "198.51.100.0/24")
    case = {"as": {"email": "alice@lab.test"}, "from": "203.0.113.9", "allow": False}
    cases = second_version("alice@lab.test", prefix_list=["office"]) | {"expect": [case]}
    careful = make(owner, "careful", policy_data=cases)
    with turns.trial(gateway, owner.account.account_id):
        put_meanwhile = put(owner, "192.0.2.0/24")
        changed = owner.call("PUT", f"/policy/{careful['id']}", json={"policy_data": cases})
        for refused in (put_meanwhile, changed):
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "2"
            assert refused.json()["reason"] == "too-many-attempts"
        other = owner.call("PUT", "/prefix-lists/unnamed", json={"prefixes": ["192.0.2.0/24"]})
        assert other.status_code == 200
    assert put(owner, "192.0.2.0/24").status_code == 200
