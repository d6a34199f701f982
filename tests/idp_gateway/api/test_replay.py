"""Recorded requests asked again: who gains, who loses, and how often."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from idp_gateway import replay as module
from idp_gateway import replay_outcome
from idp_gateway.access import what_if
from idp_gateway.callers import Caller
from idp_gateway.composition import Gateway
from idp_gateway.policy_questions import trials
from idp_gateway.records import DecisionRecord
from idp_gateway.replay import Trial, replay
from idp_gateway.replay_outcome import Outcome
from idp_gateway.schemas.policies import DiffForm
from idp_gateway.store import Store, replays
from policy.addresses import EmailAddress
from policy.index import PolicyIndex
from policy.names import GroupName, SubjectName
from policy.networks import Networks
from policy.policy_set import PolicySet
from policy.types import (
    Action,
    Assurance,
    Effect,
    Policy,
    Socket,
    SocketType,
    When,
    Where,
    Who,
)
from tests.idp_gateway.api.conftest import Person, both_databases
from tests.idp_gateway.conftest import FixedClock
from tests.support.policy_api import attach, document, identity_socket, make, second_version

pytestmark = both_databases

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ELSEWHERE = ip_network("198.51.100.0/24")
SOCKETS = {
    name: Socket(socket_id=name, dns_name=f"{name}.edge.test", socket_type=SocketType.HTTP, epoch=1)
    for name in ("wiki", "shop")
}


def record(number: int, email: str | None = "ann@corp.test", **changes: Any) -> DecisionRecord:
    plain = DecisionRecord(
        decision_id=f"decision-{number:06}",
        at=NOON + timedelta(minutes=number),
        effect=Effect.ALLOW,
        reasons=("email-allowed",),
        issuer="https://idp.test",
        subject=f"subject of {email}",
        email=email,
        socket_id="wiki",
        action=Action.HTTP,
        source_ip="192.0.2.7",
        epoch=1,
        provider="okta",
        assurance=Assurance.PROVIDER_VERIFIED,
        groups=("okta:staff",),
        authenticated_at=NOON,
        client_proof=False,
    )
    return replace(plain, **changes)


def admitting(*emails: str, **changes: Any) -> PolicySet:
    who = Who(emails=frozenset(map(EmailAddress.parse, emails)))
    return PolicySet.build([replace(Policy(policy_id="p", who=who), **changes)])


def run(
    store: Store,
    before: PolicySet,
    after: PolicySet,
    *,
    names: Sequence[str] = ("wiki", "shop"),
    since: datetime = NOON,
) -> Outcome:
    # Sockets share their sets here; that they really do is another test's matter, below.
    tried = [Trial(socket=SOCKETS[name], before=before, after=after) for name in names]
    outcome = None
    for outcome in replay(store, tried, since=since):
        assert outcome.done <= outcome.total
    assert outcome is not None
    assert outcome.done == outcome.total
    return outcome


@pytest.fixture
def store(gateway: Gateway) -> Store:
    return gateway.store


def test_who_gains_and_who_loses_with_counts(store: Store, clock: FixedClock) -> None:
    people = ["ann@corp.test", "bob@corp.test", "eve@corp.test", None]
    for number in range(24):
        place = "shop" if number % 8 == 7 else "wiki"
        store.record_decision(record(number, people[number % 4], socket_id=place))
    before = admitting("ann@corp.test", "bob@corp.test")
    after = admitting("ann@corp.test", "eve@corp.test")
    found = run(store, before, after).to_json()
    (gain,), (lose,) = found["gain"], found["lose"]
    assert (found["records"], found["changed"]) == (24, 12)
    assert (found["gained"], found["lost"]) == (6, 6)
    assert (gain["email"], gain["count"], gain["dnsname"]) == ("eve@corp.test", 6, "wiki.edge.test")
    assert (lose["email"], lose["count"], lose["action"]) == ("bob@corp.test", 6, "http")
    assert lose["first_seen"] == (NOON + timedelta(minutes=1)).isoformat()
    assert lose["last_seen"] == (NOON + timedelta(minutes=21)).isoformat()
    assert (gain["before"], gain["after"]) == ("not-on-list", "email-allowed")
    assert run(store, before, before).to_json()["changed"] == 0
    late = run(store, before, after, since=NOON + timedelta(minutes=20))
    assert late.total == 4
    assert run(store, before, after, names=["shop"]).total == 3


def test_everything_recorded_is_asked_again(store: Store, clock: FixedClock) -> None:
    """Each circumstance is seen: a policy that needs it tells the one record that has it."""
    store.record_decision(record(0))
    different: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"groups": ("okta:ops",)}, {"who": Who(groups=frozenset({GroupName("okta", "ops")}))}),
        (
            {"source_ip": "198.51.100.1"},
            {"where": Where(prefixes=Networks.of([ip_network("198.51.100.0/24")]))},
        ),
        ({"subject": "7"}, {"who": Who(subjects=frozenset({SubjectName("okta", None, "7")}))}),
        ({"country": "NL"}, {"where": Where(countries=frozenset({"NL"}))}),
        ({"asn": 64500}, {"where": Where(asns=frozenset({64500}))}),
        ({"client_proof": True}, {"client_proof": True}),
        ({"service_account": "robot"}, {"who": Who(service_accounts=frozenset({"robot"}))}),
    ]
    for number, (changes, _) in enumerate(different, 1):
        store.record_decision(record(number, **changes))
    nobody = admitting("nobody@corp.test")
    for changes, needs in different:
        found = run(store, nobody, admitting("ann@corp.test", **needs))
        assert found.gain.requests == 1, changes


def test_times_count_where_a_rule_looks_at_them(store: Store, clock: FixedClock) -> None:
    for number in range(60):
        store.record_decision(record(number))
    ends = NOON + timedelta(minutes=40)
    found = run(
        store, admitting("ann@corp.test"), admitting("ann@corp.test", when=When(before=ends))
    )
    assert (found.lose.requests, found.gain.requests) == (20, 0)
    begins = admitting("ann@corp.test", when=When(after=NOON + timedelta(minutes=10)))
    assert run(store, admitting("ann@corp.test"), begins).lose.requests == 10
    short = admitting("ann@corp.test", max_session=timedelta(minutes=30))
    lost = run(store, admitting("ann@corp.test"), short).lose.requests
    assert lost in {29, 30}


def test_requests_that_are_alike_are_decided_once(
    store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(policies: PolicySet, request: Any) -> Any:
        asked.append(request)
        return what_if(policies, request)

    monkeypatch.setattr(module, "what_if", counted)
    monkeypatch.setattr(replays, "ROWS_AT_ONCE", 7)
    for number in range(50):
        # Rows of one moment end up in different sets.
        store.record_decision(record(number, at=NOON, authenticated_at=NOON))
    assert run(store, admitting("ann@corp.test"), admitting("bob@corp.test")).lose.requests == 50
    assert len(asked) == 2
    window = When(before=NOON + timedelta(days=1))
    assert (
        run(store, admitting("ann@corp.test", when=window), admitting("ann@corp.test")).done == 50
    )
    assert len(asked) == 4


def test_memory_is_bounded(
    store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    monkeypatch.setattr(replay_outcome, "MAX_CHANGED", 5)
    emails = [f"p{number}@corp.test" for number in range(8)]
    for number in range(40):
        store.record_decision(record(number, emails[number % 8]))
    found = run(store, admitting("x@corp.test"), admitting(*emails))
    assert (found.gain.requests, len(found.gain.changes)) == (40, 5)
    assert found.gain.truncated


def test_what_was_recorded_before_cannot_be_asked_again(store: Store, clock: FixedClock) -> None:
    for number in (0, 1):
        store.record_decision(record(number, assurance=None, authenticated_at=None))
    store.record_decision(record(2))
    found = run(store, admitting("ann@corp.test"), admitting("bob@corp.test"))
    assert (found.lose.requests, found.unreadable) == (1, 2)


def test_many_who_gain_hide_nobody_who_loses(
    store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each side has its own list, and the numbers are those of all, listed or not."""
    monkeypatch.setattr(replay_outcome, "MAX_CHANGED", 3)
    new = [f"n{number}@corp.test" for number in range(5)]
    for number in range(20):
        store.record_decision(record(number, new[number % 5]))
    for number in range(20, 24):
        place = "wiki" if number % 2 else "shop"
        store.record_decision(record(number, socket_id=place))
    found = run(store, admitting("ann@corp.test"), admitting(*new)).to_json()
    assert (found["gained"], found["people_gained"], len(found["gain"])) == (20, 5, 3)
    assert (found["lost"], found["people_lost"]) == (4, 1)
    assert [one["email"] for one in found["lose"]] == ["ann@corp.test"] * 2
    assert found["truncated"]


def test_sockets_with_the_same_policies_are_tried_as_one(
    gateway: Gateway, owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However their rules came to be known: one at a time, all together, or not yet."""
    owner.call("PUT", "/prefix-lists/office", json={"prefixes": ["198.51.100.0/24"]})
    policy = make(owner, policy_data=second_version("ann@corp.test", prefix_list=["office"]))
    sockets = [identity_socket(owner) for _ in range(5)]
    other = identity_socket(owner)
    for socket in sockets:
        attach(owner, socket, policy)
    attach(owner, other, make(owner, "other"))
    for socket in sockets[:2]:
        gateway.rules.guarded(gateway.store.get_socket(*_key(owner, socket)))
    built, build = [], PolicyIndex.build
    monkeypatch.setattr(
        PolicyIndex, "build", lambda *of, **how: built.append(of) or build(*of, **how)
    )
    caller = Caller(account=owner.account, session=owner.session)
    form = DiffForm(policy_data=document("bob@lab.test"), org_wide=True)
    tried = trials(gateway, caller, form)
    by_id = {trial.socket.socket_id: trial for trial in tried}
    alike = [by_id[socket["socket_id"]] for socket in sockets]
    assert len({(id(one.before), id(one.after)) for one in alike}) == 1
    assert by_id[other["socket_id"]].after is not alike[0].after
    # Once for the other socket as it is, and once for either kind as it would be.
    assert len(built) == 3
    decided = gateway.rules.guarded(gateway.store.get_socket(*_key(owner, sockets[4])))
    assert decided.policies is alike[0].before
    make(owner, "wide", policy_data=document("bob@lab.test"), org_wide=True)
    decided = gateway.rules.guarded(gateway.store.get_socket(*_key(owner, sockets[4])))
    assert _said(decided.policies) == _said(alike[0].after)


def _key(owner: Person, socket: dict[str, Any]) -> tuple[str, str]:
    return owner.account.account_id, socket["socket_id"]


def _said(policies: PolicySet) -> tuple[set[Any], Any]:
    said = {(one.who, one.where, one.when, one.actions) for one in policies.policies}
    return said, policies.prefix_lists
