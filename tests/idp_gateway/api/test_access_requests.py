"""Asking, answering and inviting through the API: what it opens, for whom, and until when."""

import dataclasses
import json
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import httpx
import pytest

from idp_gateway import sessions
from idp_gateway.access import Asked, authorize
from idp_gateway.asking import person_of
from idp_gateway.composition import Gateway
from idp_gateway.inviting import claim
from idp_gateway.origins import Origin
from idp_gateway.policy_questions import reconstruct
from idp_gateway.policy_records import PolicyRecord
from idp_gateway.providers.local import local_identity
from idp_gateway.records import DecisionRecord
from idp_gateway.store.policies import Author
from idp_gateway.temporary_policies import TemporaryAccess
from policy.types import Action, Assurance, Decision, Identity
from tests.idp_gateway.api.conftest import Person, Verified, both_databases
from tests.idp_gateway.conftest import FixedClock


def ask(who: Person, socket: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"socket": socket["dnsname"], "reason": "on call", "minutes": 60} | more
    return who.call("POST", "/access-requests", json=body)


def asked(who: Person, socket: dict[str, Any], **more: Any) -> str:
    reply = ask(who, socket, **more)
    assert reply.status_code == 200, reply.text
    assert reply.json()["state"] == "pending"
    return str(reply.json()["request_id"])


def answer(who: Person, request_id: str, verb: str, **body: Any) -> httpx.Response:
    return who.call("POST", f"/access-requests/{request_id}/{verb}", json=body)


def decide(
    gateway: Gateway, who: Person, socket: dict[str, Any], **changes: Any
) -> tuple[Decision, DecisionRecord]:
    """What a request of theirs for the socket comes to now."""
    found = gateway.store.find_socket(socket["socket_id"])
    assert found is not None
    identity: Identity = local_identity(
        who.account, issuer=gateway.settings.base_url, now=gateway.clock()
    )
    action = changes.pop("action", Action.HTTP)
    question = Asked(
        identity=dataclasses.replace(identity, **changes),
        action=action,
        origin=Origin(address=ip_address("192.0.2.1")),
    )
    verdict = authorize(gateway.store, gateway.clock, gateway.rules.guarded(found), question)
    record = gateway.store.find_decision(verdict.decision_id)
    assert record is not None
    return verdict.decision, record


@both_databases
def test_an_approval_admits_exactly_who_asked_for_as_long_as_was_said(
    gateway: Gateway, clock: FixedClock, owner: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    before, _ = decide(gateway, ann, wiki)
    request_id = asked(ann, wiki)
    assert not decide(gateway, ann, wiki)[0].allowed
    reply = answer(owner, request_id, "approve", minutes=15, note="fine")
    assert reply.status_code == 200, reply.text
    assert reply.json()["state"] == "approved"

    decision, record = decide(gateway, ann, wiki)

    assert not before.allowed
    assert decision.allowed
    assert record.policy_ids == (f"approval:{request_id}",)
    assert decision.expires_at == clock() + timedelta(minutes=15)
    assert not decide(gateway, owner, wiki)[0].allowed
    for other in (
        {"subject": "somebody-else"},
        {"issuer": "https://other.test", "provider": "other"},
    ):
        assert not decide(gateway, ann, wiki, **other)[0].allowed
    clock.advance(minutes=15)
    assert not decide(gateway, ann, wiki)[0].allowed
    (mine,) = ann.call("GET", "/access-requests?mine=true").json()
    assert (mine["state"], mine["note"], mine["answered_by"]) == ("ended", "fine", None)


def test_ending_it_early_is_seen_at_once(
    gateway: Gateway, owner: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    for who, verb in ((owner, "revoke"), (owner, "cancel"), (ann, "cancel")):
        request_id = asked(ann, wiki)
        answer(owner, request_id, "approve")
        assert decide(gateway, ann, wiki)[0].allowed
        epoch = gateway.store.get_socket(owner.account.account_id, wiki["socket_id"]).epoch
        assert answer(who, request_id, verb).status_code == 200
        assert not decide(gateway, ann, wiki)[0].allowed
        now = gateway.store.get_socket(owner.account.account_id, wiki["socket_id"]).epoch
        assert now == epoch + 1
        assert answer(who, request_id, verb).json()["reason"] == "request-closed"


def test_who_is_revoked_stays_out(
    gateway: Gateway, owner: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    request_id = asked(ann, wiki)
    answer(owner, request_id, "approve")
    path = f"/socket/{wiki['socket_id']}/revocation"
    owner.call("POST", path, json={"scope": "person", "value": "ann@lab.test"})
    assert decide(gateway, ann, wiki)[0].reasons == ("person-revoked",)
    again = ask(ann, wiki)
    assert (again.status_code, again.json()["reason"]) == (403, "person-revoked")


def test_a_deny_rule_wins_over_an_approval(
    gateway: Gateway, clock: FixedClock, owner: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    answer(owner, asked(ann, wiki), "approve")
    assert decide(gateway, ann, wiki)[0].allowed
    rule = {"version": "v2", "deny": [{"who": {"email": ["ann@lab.test"]}}]}
    policy = PolicyRecord(
        policy_id="policy",
        account_id=owner.account.account_id,
        name="keep out",
        description="",
        document=json.dumps(rule),
        org_wide=True,
        created_at=clock(),
        updated_at=clock(),
    )
    gateway.store.add_policy(policy, Author(email=owner.account.email, at=clock()))
    assert decide(gateway, ann, wiki)[0].reasons == ("denied-by-rule",)
    other = owner.socket(
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_domains=["lab.test"],
    )
    asked(ann, other)
    (waiting,) = owner.call("GET", "/access-requests?state=pending").json()
    assert "no approval outweighs it" in waiting["hint"]


def test_an_approval_does_not_rewrite_the_denial_before_it(
    gateway: Gateway, clock: FixedClock, owner: Person, ann: Person
) -> None:
    wiki = owner.socket(
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_domains=["corp.test"],
    )
    _, denial = decide(gateway, ann, wiki)
    clock.advance(minutes=1)
    answer(owner, asked(ann, wiki, decision_id=denial.decision_id), "approve")
    socket = gateway.store.get_socket(owner.account.account_id, wiki["socket_id"])

    told = reconstruct(gateway, socket, denial)

    assert denial.epoch == socket.epoch
    assert told.explanation is not None
    assert told.explanation.decision.reasons == ("not-on-list",)


def test_an_approval_is_for_one_action(
    gateway: Gateway, owner: Person, ann: Person, tls_socket: dict[str, Any]
) -> None:
    answer(owner, asked(ann, tls_socket, action="ssh"), "approve")
    assert decide(gateway, ann, tls_socket, action=Action.SSH)[0].allowed
    assert not decide(gateway, ann, tls_socket, action=Action.TLS)[0].allowed
    refused = ask(ann, tls_socket, action="http")
    assert refused.json()["reason"] == "action-not-offered"


def test_a_socket_one_may_not_know_is_answered_like_none(
    owner: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    plain = owner.socket()
    path = f"/approval-rules?socket_id={wiki['socket_id']}"
    assert owner.call("PUT", path, json={"asking": False}).status_code == 200
    nothing = {"dnsname": "no-such-name.edge.localhost"}
    replies = [ask(ann, one) for one in (plain, wiki, nothing, {"dnsname": "\x00 ?"})]
    assert {reply.status_code for reply in replies} == {404}
    assert len({reply.text for reply in replies}) == 1


def test_only_a_verified_address_asks(
    stranger: Person, verified: Verified, wiki: dict[str, Any]
) -> None:
    self_asserted = verified("bob@lab.test", assurance=Assurance.SELF_ASSERTED)
    for who in (stranger, self_asserted):
        reply = ask(who, wiki)
        assert (reply.status_code, reply.json()["reason"]) == (403, "email-unverified")


def test_an_owner_alone_has_nobody_to_ask(
    gateway: Gateway, verified: Verified, ann: Person
) -> None:
    owner = verified("boss@lab.test")
    own = owner.socket(cloud_authentication_enabled=True)
    assert ask(owner, own).json()["reason"] == "own-socket"
    assert answer(owner, asked(ann, own), "approve").status_code == 200
    assert ask(ann, own).json()["reason"] == "already-allowed"
    owner.call("PUT", "/approval-rules", json={"approvers": ["ann@lab.test"]})
    own_request = asked(owner, own)
    assert answer(owner, own_request, "approve").json()["reason"] == "own-request"
    assert answer(ann, own_request, "approve").status_code == 200
    assert decide(gateway, owner, own)[0].allowed


@both_databases
def test_who_was_taken_off_the_list_is_shown_as_little_as_they_count(
    gateway: Gateway, owner: Person, ann: Person, verified: Verified, wiki: dict[str, Any]
) -> None:
    bea, cat = verified("bea@lab.test"), verified("cat@lab.test")

    def rule(*approvers: str, **more: Any) -> None:
        body = {"approvers": list(approvers)} | more
        assert owner.call("PUT", "/approval-rules", json=body).status_code == 200

    def shown(who: Person = owner) -> tuple[list[str], int, str]:
        (one,) = who.call("GET", "/access-requests").json()
        return [each["by"] for each in one["approvals"]], one["approvals_needed"], one["state"]

    rule("bea@lab.test", "cat@lab.test", two_person=True)
    request_id = asked(ann, wiki)
    assert answer(bea, request_id, "approve").status_code == 200
    assert shown() == shown(cat) == (["bea@lab.test"], 2, "pending")
    rule("cat@lab.test", two_person=True)
    assert shown() == ([], 2, "pending")
    given = answer(cat, request_id, "approve").json()
    assert (given["state"], [one["by"] for one in given["approvals"]]) == (
        "pending",
        ["cat@lab.test"],
    )
    assert not decide(gateway, ann, wiki)[0].allowed
    assert answer(owner, request_id, "approve").json()["state"] == "approved"
    both = ["cat@lab.test", owner.account.email]
    rule("bea@lab.test")  # what counted stays, and what did not does not come back
    assert shown() == (both, 2, "approved")
    events = owner.call("GET", f"/audit/requests?concerns={request_id}").json()
    assert "bea@lab.test" in {one["by"] for one in events}


def test_a_stricter_rule_shows_on_what_waits(
    owner: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    asked(ann, wiki)
    rule = {"two_person": True, "approvers": ["bea@lab.test"]}
    owner.call("PUT", "/approval-rules", json=rule)
    (one,) = owner.call("GET", "/access-requests").json()
    assert one["approvals_needed"] == 2


@both_databases
def test_two_people_answer_and_the_owner_reads_all_of_it(
    gateway: Gateway,
    owner: Person,
    stranger: Person,
    ann: Person,
    verified: Verified,
    wiki: dict[str, Any],
) -> None:
    bea = verified("bea@lab.test")
    alone = owner.call("PUT", "/approval-rules", json={"two_person": True})
    assert (alone.status_code, alone.json()["reason"]) == (400, "two-person-impossible")
    rules = {"two_person": True, "approvers": ["bea@lab.test"], "why": "SOC 2"}
    assert owner.call("PUT", "/approval-rules", json=rules).status_code == 200
    request_id = asked(ann, wiki)
    assert answer(bea, request_id, "approve", note="ok").json()["state"] == "pending"
    assert not decide(gateway, ann, wiki)[0].allowed
    assert answer(bea, request_id, "approve").json()["reason"] == "already-approved"
    done = answer(owner, request_id, "approve", note="ok too").json()
    assert [one["by"] for one in done["approvals"]] == ["bea@lab.test", owner.account.email]
    assert decide(gateway, ann, wiki)[0].allowed

    events = owner.call("GET", f"/audit/requests?socket_id={wiki['socket_id']}").json()

    told = [(one["event"], one["by"], one["words"], one["policy_id"]) for one in events]
    assert told == [
        ("approved", owner.account.email, "ok too", f"approval:{request_id}"),
        ("seconded", "bea@lab.test", "ok", None),
        ("asked", "ann@lab.test", "on call", None),
    ]
    (rule,) = [
        one
        for one in owner.call("GET", "/audit/requests").json()
        if one["event"] == "rules-changed"
    ]
    assert "SOC 2" in rule["words"]
    assert stranger.call("GET", "/audit/requests").json() == []
    foreign = stranger.call("GET", f"/audit/requests?socket_id={wiki['socket_id']}")
    assert foreign.status_code == 404


def test_other_tenants_see_and_do_nothing(
    owner: Person, stranger: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    request_id = asked(ann, wiki)
    socket_id = wiki["socket_id"]
    for verb in ("approve", "deny", "revoke", "cancel"):
        foreign = answer(stranger, request_id, verb)
        unknown = answer(stranger, "no-such-request", verb)
        assert (foreign.status_code, foreign.text) == (unknown.status_code, unknown.text)
        assert foreign.status_code == 404
    assert stranger.call("GET", "/access-requests").json() == []
    for path in ("/access-requests", "/guests", "/approval-rules"):
        assert stranger.call("GET", f"{path}?socket_id={socket_id}").status_code == 404
    rules = stranger.call("PUT", f"/approval-rules?socket_id={socket_id}", json={})
    assert rules.status_code == 404
    (seen,) = owner.call("GET", f"/access-requests?socket_id={socket_id}&state=pending").json()
    assert (seen["request_id"], seen["email"]) == (request_id, "ann@lab.test")
    assert owner.call("GET", "/access-requests?state=approved").json() == []


@pytest.mark.parametrize(
    "more",
    [
        {"reason": "  "},
        {"reason": "line\nbreak"},
        {"reason": "x" * 1025},
        {"minutes": 0},
        {"minutes": 7 * 24 * 60 + 1},
        {"minutes": "60"},
        {"action": "fly"},
        {"decision_id": "00000000-0000-4000-8000-000000000000"},
    ],
)
def test_bad_requests_say_what_is_wrong(
    ann: Person, wiki: dict[str, Any], more: dict[str, Any]
) -> None:
    reply = ask(ann, wiki, **more)
    assert reply.status_code == 400
    assert reply.json()["field"] in more


def test_a_decision_must_be_ones_own_denial(
    gateway: Gateway, owner: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    _, of_owner = decide(gateway, owner, wiki)
    _, own = decide(gateway, ann, wiki)
    assert ask(ann, wiki, decision_id=of_owner.decision_id).json()["reason"] == "decision-unknown"
    request_id = asked(ann, wiki, decision_id=own.decision_id)
    found = gateway.store.find_access_request(request_id)
    assert found is not None
    assert found.decision_id == own.decision_id


def test_trying_is_bounded_too(ann: Person) -> None:
    nothing = {"dnsname": "no-such-name.edge.localhost"}
    statuses = [ask(ann, nothing).status_code for _ in range(61)]
    assert statuses == [404] * 60 + [429]


def window(clock: FixedClock, **hours: float) -> dict[str, str]:
    return {
        "starts_at": (clock() + timedelta(hours=hours.get("start", 0))).isoformat(),
        "ends_at": (clock() + timedelta(hours=hours.get("end", 1))).isoformat(),
    }


@both_databases
def test_a_guest_comes_in_by_claim_and_window(
    gateway: Gateway, clock: FixedClock, owner: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    body = {
        "socket_id": wiki["socket_id"],
        "email": "Ann@Lab.test",
        **window(clock, start=1, end=2),
    }
    made = owner.call("POST", "/api/v1/guests", json=body | {"note": "auditor"})
    assert made.status_code == 200, made.text
    guest = made.json()
    assert guest["link"].startswith(f"{gateway.settings.base_url}/guest?code=")
    assert guest["state"] == "invited"
    secret = guest["link"].partition("code=")[2]
    (listed,) = owner.call("GET", f"/guests?socket_id={wiki['socket_id']}").json()
    assert listed["link"] is None
    digest = sessions.secret_digest(secret)
    assert gateway.store.find_guest(digest) is not None
    who = local_identity(ann.account, issuer=gateway.settings.base_url, now=clock())
    claim(gateway, secret, person_of(gateway, who))
    assert not decide(gateway, ann, wiki)[0].allowed
    clock.advance(hours=1)
    decision, record = decide(gateway, ann, wiki)
    assert record.policy_ids == (f"guest:{guest['guest_id']}",)
    assert decision.expires_at == clock() + timedelta(hours=1)
    assert not decide(gateway, ann, wiki, subject="another")[0].allowed
    assert owner.call("DELETE", f"/guests/{guest['guest_id']}").status_code == 204
    assert not decide(gateway, ann, wiki)[0].allowed


@pytest.mark.parametrize(
    ("start", "end"), [(0, 0), (2, 1), (-3, -2), (0, 24 * 31)], ids=["empty", "back", "over", "far"]
)
def test_a_window_has_to_be_one(
    clock: FixedClock, owner: Person, wiki: dict[str, Any], start: float, end: float
) -> None:
    body = {"socket_id": wiki["socket_id"], "email": "g@lab.test"}
    reply = owner.call("POST", "/guests", json=body | window(clock, start=start, end=end))
    assert (reply.status_code, reply.json()["field"]) == (400, "ends_at")


def test_a_window_at_the_ends_of_the_calendar_is_no_accident(
    clock: FixedClock, owner: Person, wiki: dict[str, Any]
) -> None:
    body = {"socket_id": wiki["socket_id"], "email": "g@lab.test"} | window(clock)
    far = owner.call("POST", "/guests", json=body | {"ends_at": "9999-12-31T23:59:59-10:00"})
    assert far.status_code == 400
    past = owner.call("POST", "/guests", json=body | {"starts_at": "0001-01-01T00:00:00+10:00"})
    assert (past.status_code, past.json()["reason"]) == (400, "time-invalid")
    long_ago = body | {"starts_at": "0001-01-01T00:00:00Z"}
    begun = owner.call("POST", "/guests", json=long_ago)
    assert begun.status_code == 200
    assert begun.json()["starts_at"] == clock().isoformat().replace("+00:00", "Z")


def test_a_strangers_guest_is_none(
    clock: FixedClock, owner: Person, stranger: Person, wiki: dict[str, Any]
) -> None:
    body = {"socket_id": wiki["socket_id"], "email": "g@lab.test", **window(clock)}
    assert stranger.call("POST", "/guests", json=body).status_code == 404
    guest_id = owner.call("POST", "/guests", json=body).json()["guest_id"]
    assert stranger.call("DELETE", f"/guests/{guest_id}").status_code == 404
    assert stranger.call("GET", f"/guests?socket_id={wiki['socket_id']}").status_code == 404


def test_an_approval_outlives_no_change_of_its_provider(
    gateway: Gateway, owner: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    """A provider's name that was given to another issuer vouches for other people."""
    answer(owner, asked(ann, wiki), "approve")
    found = gateway.store.find_socket(wiki["socket_id"])
    assert found is not None

    def policies(issuer: str) -> int:
        issuers = {"local": issuer}
        reader = TemporaryAccess(store=gateway.store, clock=gateway.clock, issuers=issuers)
        return len(reader([found]).get(found.socket_id, ()))

    assert policies(gateway.settings.base_url) == 1
    assert policies("https://other.test") == 0
