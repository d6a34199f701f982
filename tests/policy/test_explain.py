"""What an owner is told of a decision, and what a denied person is not."""

import json
from datetime import time
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given

from policy.evaluate import evaluate
from policy.explain import Outcome, explain, safe_reason
from policy.index import PolicyIndex
from policy.policy_set import PolicySet
from policy.types import DenyRule, Policy, Reason, When, Where, Who
from tests.policy.test_properties import CASES
from tests.support.policies import NOW, RELAXED, policy, request, socket, where, who


def test_every_condition_is_shown_with_what_was_wanted_and_found() -> None:
    strict = policy(
        "p",
        name="Office hours",
        where=Where(prefixes=where("198.51.100.0/24").prefixes, countries=frozenset({"NL"})),
        when=When(day_starts=time(9), day_ends=time(17), zone="Europe/Amsterdam"),
        client_proof=True,
    )
    explained = explain(PolicySet.build([strict]), request())
    (findings,) = explained.policies
    assert [(one.condition, one.outcome) for one in findings.findings] == [
        ("action", Outcome.MET),
        ("who", Outcome.MET),
        ("where.allowed_ip", Outcome.NOT_MET),
        ("where.country", Outcome.UNKNOWN),
        ("when", Outcome.MET),
        ("client_proof", Outcome.NOT_MET),
    ]
    place = findings.findings[2]
    assert (place.wanted, place.found) == ("198.51.100.0/24", "192.0.2.1")
    assert explained.deciding == "no policy allows it"
    assert explained.nearest.startswith(
        "nearest: policy Office hours (p) asks for where.allowed_ip"
    )
    assert "  where.country: unknown (wants NL; is unknown)" in explained.text()


@pytest.mark.parametrize(
    ("policies", "asked", "deciding", "nearest"),
    [
        ([], {}, "no policy of the socket lists anybody", ""),
        ([policy()], {}, "allowed by policy p", "it hangs on policy p alone"),
        ([policy(), policy("q")], {}, "allowed by policy p, q", "2 policies allow it"),
        ([policy()], {"email": "c@d.test"}, "no policy of the socket lists the caller",
         "nearest: policy p asks for who a@b.test, not c@d.test"),
        ([policy(), policy("q", denies=(DenyRule(name="no", when=When(after=NOW)),))], {},
         "denied by rule no of policy q", "without the deny rule"),
        ([policy(denies=(DenyRule(who=Who()), DenyRule()))], {}, "denied by rule #2 of policy p",
         "without the deny rule it would be as if policy p allowed it"),
        ([policy()], {"socket": socket(blocked="a@b.test")}, "the person is revoked", ""),
        ([policy(denies=(DenyRule(when=When(day_starts=time(22))),))], {}, "allowed by policy p",
         "it hangs on policy p alone: action http, ssh, tls; who a@b.test; a deny rule begins at"),
    ],
)  # fmt: skip
def test_the_rule_that_decided_and_the_one_that_nearly_did(
    policies: list[Policy], asked: dict[str, Any], deciding: str, nearest: str
) -> None:
    explained = explain(PolicySet.build(policies), request(**asked))
    assert explained.deciding.startswith(deciding)
    assert explained.nearest.startswith(nearest)
    assert bool(explained.nearest) == bool(nearest)


def test_a_denied_person_is_not_told_who_where_or_when_others_may() -> None:
    secret = policy(
        name="Plant",
        who=who(emails="a@b.test boss@secret.test"),
        where=where("198.51.100.0/24"),
        denies=(DenyRule(name="spies", who=who(domains="spy.test")),),
    )
    said = {
        email: explain(PolicySet.build([secret]), request(email)).safe_reason
        for email in ("a@b.test", "c@d.test", "x@spy.test")
    }
    assert said["c@d.test"] == said["x@spy.test"]
    assert "secret" not in " ".join(said.values())
    assert "198" not in " ".join(said.values())
    blocked = request(socket=socket(blocked="a@b.test"))
    assert explain(PolicySet.build([secret]), blocked).safe_reason == said["c@d.test"]


@RELAXED
@given(CASES)
def test_an_explanation_is_of_the_very_decision(case: Any) -> None:
    policies, asked, lists = case
    ready = PolicySet.build(policies, lists)
    explained = explain(ready, asked)
    assert explained.decision == evaluate(ready, asked)
    json.dumps(explained.to_json())
    assert explained.text()
    assert bool(safe_reason(explained.decision)) != explained.decision.allowed
    if explained.decision.allowed:
        assert any(not one.unmet for one in explained.policies)
    elif explained.decision.reasons == (Reason.DENIED_BY_RULE,):
        assert any(one.denying for one in explained.policies)
    else:
        reasons = {finding.reason for one in explained.policies for finding in one.unmet}
        early = {Reason.ACTION_NOT_OFFERED, Reason.NO_POLICY, Reason.EMAIL_UNVERIFIED}
        early |= {Reason.PERSON_REVOKED}
        assert set(explained.decision.reasons) <= reasons | early


def test_every_rule_that_matches_is_told_and_no_other() -> None:
    rules = (
        DenyRule(name="here", where=where("192.0.2.0/24")),
        DenyRule(name="there", where=where("198.51.100.0/24")),
        DenyRule(where=where("192.0.2.0/24")),
        DenyRule(name="person", who=who(emails="a@b.test")),
        DenyRule(name="other person", who=who(emails="c@d.test")),
        DenyRule(name="later", when=When(day_starts=time(22))),
        DenyRule(name="abroad", where=Where(countries=frozenset({"NL"}))),
    )
    explained = explain(PolicySet.build([policy(denies=rules)]), request(country="DE"))
    assert explained.policies[0].denying == ("here", "#3", "person")


def test_an_explanation_makes_no_list_ready_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a long list named by many rules of many policies, that takes as long as deciding never
    does.
    """
    long = {"long": (ip_network("10.0.0.0/24"),)}
    denies = [
        DenyRule(who=who(emails=f"x{n}@b.test"), where=where(prefix_lists="long"))
        for n in range(60)
    ]
    ready = PolicySet.build([policy(denies=tuple(denies))], long)
    monkeypatch.setattr(PolicyIndex, "build", None)
    assert explain(ready, request()).policies


def test_a_policy_that_lists_nobody_is_not_the_nearest() -> None:
    """It has fewer conditions to be met than one that could let somebody in."""
    strict = policy("q", where=where("198.51.100.0/24"), client_proof=True)
    blocklist = policy("a", who=Who(), denies=(DenyRule(where=where("203.0.113.0/24")),))
    both = PolicySet.build([strict, blocklist])
    assert explain(both, request()).nearest.startswith("nearest: policy q asks for where")
    kept_out = explain(both, request(source="203.0.113.9")).nearest
    assert kept_out.startswith("without the deny rule it would be as if policy q asks for where")


def test_a_policy_that_lists_nobody_says_its_conditions_too() -> None:
    nobody = policy("a", who=Who(), where=where("198.51.100.0/24", prefix_lists="away"))
    lists = {"away": (ip_network("192.0.2.0/24"),)}
    _, found = explain(PolicySet.build([nobody, policy("z")], lists), request()).policies[::-1]
    place = [one.outcome for one in found.findings if one.condition == "where.allowed_ip"]
    assert place == [Outcome.MET]
