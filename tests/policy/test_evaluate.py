"""Who gets in: the table of cases."""

import dataclasses
from datetime import time, timedelta
from typing import Any

import pytest

from policy.addresses import DomainName
from policy.evaluate import evaluate
from policy.names import GroupName
from policy.policy_set import PolicySet
from policy.types import (
    AccessRequest,
    Action,
    Assurance,
    Decision,
    DenyRule,
    Effect,
    Policy,
    Reason,
    SocketType,
    When,
    Where,
    Who,
)
from policy.windows import EVER
from tests.support.policies import NOW, identity, policy, request, socket, where, who


def decide(asked: AccessRequest, *policies: Policy, **lists: Any) -> Decision:
    decision = evaluate(PolicySet.build(policies, lists), asked)
    assert (decision.effect is Effect.ALLOW) == decision.allowed
    return decision


def reasons(asked: AccessRequest, *policies: Policy) -> tuple[Reason, ...]:
    return decide(asked, *policies).reasons


def test_without_a_policy_nobody_gets_in() -> None:
    assert reasons(request()) == (Reason.NO_POLICY,)


def test_an_empty_policy_admits_nobody() -> None:
    nobody = policy(who=Who())
    assert reasons(request(), nobody, policy("q", who=Who())) == (Reason.NO_POLICY,)
    assert reasons(request("c@d.test"), nobody, policy("q")) == (Reason.NOT_ON_LIST,)


def test_an_unverified_address_gets_in_nowhere() -> None:
    everything = policy(who=who(emails="a@b.test", domains="b.test", subjects="google:#1"))
    assert reasons(request(None), everything) == (Reason.EMAIL_UNVERIFIED,)


def test_the_allow_names_every_policy_it_rests_on() -> None:
    decision = decide(
        request("A@B.test"),
        policy("mail", who=who(emails="a@b.test")),
        policy("domain", who=who(domains="b.test")),
        policy("both", who=who(emails="a@b.test", domains="b.test")),
        policy("other", who=who(emails="c@d.test")),
        policy("elsewhere", where=where("198.51.100.0/24")),
    )
    assert decision.reasons == (Reason.EMAIL_ALLOWED, Reason.DOMAIN_ALLOWED)
    assert decision.policy_ids == ("both", "domain", "mail")


@pytest.mark.parametrize(
    "email",
    [
        "a@evil-b.test",
        "a@evilb.test",
        "a@sub.b.test",
        "a@b.test.evil",
        "b.test@evil.test",
        "x@b.tes",
        "x+b.test@evil.test",
        "a+x@evil.test",
    ],
)
def test_a_domain_that_only_looks_alike_does_not_match(email: str) -> None:
    listing = policy(who=who(domains="b.test", emails="x@b.test"))
    assert reasons(request(email), listing) == (Reason.NOT_ON_LIST,)


def test_a_listed_subdomain_does_not_admit_the_domain_above() -> None:
    assert not decide(request(), policy(who=who(domains="sub.b.test"))).allowed


@pytest.mark.parametrize(
    ("socket_type", "offered"),
    [
        (SocketType.HTTP, {Action.HTTP}),
        (SocketType.HTTPS, {Action.HTTP}),
        (SocketType.TCP, {Action.SSH}),
        (SocketType.TLS, {Action.TLS, Action.SSH}),
    ],
)
def test_a_socket_is_used_only_as_its_type_offers(
    socket_type: SocketType, offered: set[Action]
) -> None:
    for action in Action:
        asked = request(socket=socket(socket_type), action=action)
        assert decide(asked, policy()).allowed == (action in offered)


def test_a_revoked_person_is_told_so_whatever_lists_name_them() -> None:
    asked = request(socket=socket(blocked="a@b.test"), groups=frozenset({GroupName("google", "g")}))
    naming = policy(who=who(emails="a@b.test", domains="b.test", groups="google:g"))
    assert reasons(asked, naming) == (Reason.PERSON_REVOKED,)


@pytest.mark.parametrize(
    ("listed", "parts", "reason"),
    [
        (who(subjects="google:a@b.test"), {}, Reason.SUBJECT_ALLOWED),
        (who(subjects="google:a@b.test"), {"provider": "github"}, None),
        (who(subjects="google:#1"), {}, Reason.SUBJECT_ALLOWED),
        (who(subjects="google:#1"), {"provider": "github"}, None),
        (who(subjects="google:#1"), {"provider": ""}, None),
        (who(subjects="google:#2"), {}, None),
        (who(groups="google:b.test"), {"groups": {"google:b.test"}}, Reason.GROUP_ALLOWED),
        (who(groups="google:b.test"), {"groups": {"github:b.test"}}, None),
        (who(groups="google:b.test"), {"groups": {"google:B.test"}}, None),
        (who(groups="google:b.test"), {}, None),
        (
            who(service_accounts="backup"),
            {"service_account": "backup"},
            Reason.SERVICE_ACCOUNT_ALLOWED,
        ),
        (who(service_accounts="backup"), {"service_account": "deploy"}, None),
        (who(service_accounts="backup"), {}, None),
        (who(emails="a@b.test", domains="b.test"), {"service_account": "backup"}, None),
        (who(subjects="google:#1"), {"service_account": "backup"}, None),
        (who(domains="b.test"), {"assurance": Assurance.SELF_ASSERTED}, None),
        (who(emails="a@b.test"), {"assurance": Assurance.SELF_ASSERTED}, Reason.EMAIL_ALLOWED),
    ],
)
def test_who_is_meant(listed: Who, parts: dict[str, Any], reason: Reason | None) -> None:
    if "groups" in parts:
        parts = {"groups": frozenset(map(GroupName.parse, parts["groups"]))}
    assert reasons(request(**parts), policy(who=listed)) == (reason or Reason.NOT_ON_LIST,)


def test_a_program_needs_no_e_mail_address() -> None:
    asked = request(None, service_account="backup")
    assert decide(asked, policy(who=who(service_accounts="backup"))).allowed


def test_an_address_that_anybody_can_have_speaks_for_no_domain() -> None:
    noreply = "1+octocat@users.noreply.github.com"
    domain = Who(domains=frozenset({DomainName.parse("users.noreply.github.com")}))
    assert reasons(request(noreply), policy(who=domain)) == (Reason.NOT_ON_LIST,)
    assert decide(request(noreply), policy(who=who(emails=noreply))).allowed
    denied = policy(who=who(emails=noreply), denies=(DenyRule(who=domain),))
    assert reasons(request(noreply), denied) == (Reason.DENIED_BY_RULE,)


@pytest.mark.parametrize(
    ("parts", "asked", "reason"),
    [
        ({"actions": frozenset({Action.SSH})}, {}, Reason.ACTION_NOT_ALLOWED),
        ({"where": where("192.0.2.0/32")}, {}, Reason.ADDRESS_NOT_ALLOWED),
        ({"where": where("192.0.2.0/24")}, {}, None),
        ({"where": where("192.0.2.0/24")}, {"source": "::ffff:192.0.2.9"}, None),
        ({"where": where("::/0")}, {"source": "::ffff:192.0.2.9"}, Reason.ADDRESS_NOT_ALLOWED),
        ({"where": where("2001:db8::/64")}, {"source": "2001:db8::1%eth0"}, None),
        ({"where": Where(prefix_lists=frozenset({"lost"}))}, {}, Reason.ADDRESS_NOT_ALLOWED),
        ({"where": where(countries="NL DE")}, {"country": "NL"}, None),
        ({"where": where(countries="NL")}, {"country": "US"}, Reason.COUNTRY_NOT_ALLOWED),
        ({"where": where(countries="NL")}, {}, Reason.COUNTRY_UNKNOWN),
        ({"where": where(countries_not="US")}, {"country": "US"}, Reason.COUNTRY_NOT_ALLOWED),
        ({"where": where(countries_not="US")}, {"country": "NL"}, None),
        ({"where": where(countries_not="US")}, {}, Reason.COUNTRY_UNKNOWN),
        ({"where": Where(asns=frozenset({1}))}, {"asn": 1}, None),
        ({"where": Where(asns=frozenset({1}))}, {"asn": 2}, Reason.NETWORK_NOT_ALLOWED),
        ({"where": Where(asns_not=frozenset({1}))}, {"asn": 1}, Reason.NETWORK_NOT_ALLOWED),
        ({"where": Where(asns_not=frozenset({1}))}, {}, Reason.NETWORK_UNKNOWN),
        ({"when": When(after=NOW)}, {}, None),
        ({"when": When(before=NOW)}, {}, Reason.OUTSIDE_TIME_WINDOW),
        ({"when": When(day_starts=time(12), zone="Nowhere/Land")}, {}, Reason.OUTSIDE_TIME_WINDOW),
        ({"min_assurance": Assurance.PROVIDER_VERIFIED}, {}, None),
        (
            {"min_assurance": Assurance.PROVIDER_VERIFIED},
            {"assurance": Assurance.LOCAL_PASSWORD},
            Reason.ASSURANCE_TOO_LOW,
        ),
        ({"client_proof": True}, {}, Reason.CLIENT_PROOF_REQUIRED),
        ({"client_proof": True}, {"client_proof": True}, None),
        ({"max_session": timedelta(hours=8)}, {}, None),
        (
            {"max_session": timedelta(hours=8)},
            {"authenticated_at": NOW - timedelta(hours=8)},
            Reason.LOGIN_TOO_OLD,
        ),
        ({"max_session": timedelta.max}, {"authenticated_at": EVER}, None),
        ({"max_session": timedelta.min}, {}, Reason.LOGIN_TOO_OLD),
    ],
)
def test_every_condition_is_asked_for(
    parts: dict[str, Any], asked: dict[str, Any], reason: Reason | None
) -> None:
    assert reasons(request(**asked), policy(**parts)) == (reason or Reason.EMAIL_ALLOWED,)


def test_a_refusal_names_what_the_nearest_policy_asks_for() -> None:
    near = policy("near", where=where("198.51.100.0/24"))
    far = policy("far", where=where("198.51.100.0/24"), client_proof=True, when=When(before=NOW))
    also = policy("also", client_proof=True)
    assert reasons(request(), far, near) == (Reason.ADDRESS_NOT_ALLOWED,)
    assert reasons(request(), far, near, also) == (
        Reason.ADDRESS_NOT_ALLOWED,
        Reason.CLIENT_PROOF_REQUIRED,
    )


@pytest.mark.parametrize(
    ("rule", "asked", "denied"),
    [
        (DenyRule(), {}, True),
        (DenyRule(where=Where()), {}, True),
        (DenyRule(who=Who()), {}, False),
        (DenyRule(who=who(domains="b.test")), {}, True),
        (DenyRule(who=who(domains="b.test")), {"assurance": Assurance.SELF_ASSERTED}, True),
        (DenyRule(who=who(emails="c@d.test")), {}, False),
        (DenyRule(who=who(service_accounts="backup")), {}, False),
        (DenyRule(where=where("192.0.2.1/32")), {}, True),
        (DenyRule(where=where("192.0.2.1/32")), {"source": "::ffff:192.0.2.1"}, True),
        (DenyRule(where=where("192.0.2.2/32")), {}, False),
        (DenyRule(where=Where(prefix_lists=frozenset({"lost"}))), {}, True),
        (DenyRule(where=where(countries="US")), {"country": "NL"}, False),
        (DenyRule(where=where(countries="US")), {"country": "US"}, True),
        (DenyRule(where=where(countries="US")), {}, True),
        (DenyRule(where=where(countries_not="NL")), {"country": "NL"}, False),
        (DenyRule(where=where(countries_not="NL")), {}, True),
        (DenyRule(where=Where(asns=frozenset({1}))), {"asn": 2}, False),
        (DenyRule(where=Where(asns=frozenset({1}))), {}, True),
        (DenyRule(when=When(before=NOW)), {}, False),
        (DenyRule(when=When(after=NOW)), {}, True),
        (DenyRule(when=When(day_starts=time(3), zone="Nowhere/Land")), {}, True),
        (DenyRule(who=who(emails="a@b.test"), where=where("192.0.2.2/32")), {}, False),
    ],
)
def test_a_deny_rule_outweighs_what_any_policy_allows(
    rule: DenyRule, asked: dict[str, Any], denied: bool
) -> None:
    denying = policy("denying", who=Who(), denies=(rule,), actions=frozenset({Action.SSH}))
    decision = decide(request(**asked), policy(), denying)
    assert decision.allowed != denied
    if denied:
        assert decision.reasons == (Reason.DENIED_BY_RULE,)
        assert decision.policy_ids == ("denying",)


def test_a_program_is_kept_out_by_all_that_is_said_of_it() -> None:
    admitting = policy(who=who(service_accounts="backup"))
    asked = request(service_account="backup")
    for listed in (who(service_accounts="backup"), who(emails="a@b.test"), who(domains="b.test")):
        denying = dataclasses.replace(admitting, denies=(DenyRule(who=listed),))
        assert reasons(asked, denying) == (Reason.DENIED_BY_RULE,)


def test_the_decision_says_from_where_else_it_would_be_the_same() -> None:
    office, home = where("192.0.2.0/25 192.0.2.128/25"), where("198.51.100.7/32")
    decision = decide(
        request(),
        policy("office", where=office),
        policy("home", where=home),
        policy("night", where=where("203.0.113.0/24"), when=When(before=NOW)),
        policy("denying", denies=(DenyRule(where=where("192.0.2.2/31")),), who=Who()),
    )
    assert decision.sources is not None
    assert [str(one) for one in decision.sources] == [
        "192.0.2.0/31",
        "192.0.2.4/30",
        "192.0.2.8/29",
        "192.0.2.16/28",
        "192.0.2.32/27",
        "192.0.2.64/26",
        "192.0.2.128/25",
        "198.51.100.7/32",
    ]
    assert decision.policy_ids == ("office",)
    assert len(decision.source_ids) == 2


def test_a_list_of_prefixes_is_known_by_its_name() -> None:
    listed = policy(where=Where(prefix_lists=frozenset({"office"})))
    prefixes = tuple(where("192.0.2.0/24").prefixes)
    assert decide(request(), listed, office=prefixes).sources == prefixes
    assert not decide(request(), listed, other=prefixes).allowed


def test_windows_of_several_policies_follow_one_another() -> None:
    morning = policy("m", when=When(day_starts=time(9), day_ends=time(13)))
    evening = policy("e", when=When(day_starts=time(13), day_ends=time(18)))
    decision = decide(request(), morning, evening)
    assert decision.policy_ids == ("m",)
    assert decision.expires_at == NOW.replace(hour=18)
    assert decide(request(), morning).expires_at == NOW.replace(hour=13)
    pause = policy("p", denies=(DenyRule(when=When(day_starts=time(12, 30), day_ends=time(13))),))
    assert decide(request(), morning, evening, pause).expires_at == NOW.replace(minute=30)


def test_a_decision_lasts_no_longer_than_the_session_may() -> None:
    short = policy(max_session=timedelta(hours=1))
    assert decide(request(), short).expires_at == NOW + timedelta(hours=1)
    assert decide(request(), short, policy("q")).expires_at is None


def test_a_deny_that_will_begin_elsewhere_ends_the_sources_and_not_the_decision() -> None:
    at_night = DenyRule(where=where("198.51.100.0/24"), when=When(day_starts=time(22)))
    decision = decide(request(), policy(denies=(at_night,)))
    assert (decision.sources, decision.expires_at) == (None, None)
    assert decision.sources_until == NOW.replace(hour=22)


def test_a_policy_from_everywhere_that_ends_takes_the_other_addresses_with_it() -> None:
    by_day = policy("day", when=When(day_ends=time(18)))
    office = policy("office", where=where("192.0.2.0/24"))
    decision = decide(request(), by_day, office)
    assert (decision.sources, decision.expires_at) == (None, None)
    assert decision.sources_until == NOW.replace(hour=18)
    elsewhere = decide(request(source="203.0.113.9"), by_day, office)
    assert (elsewhere.expires_at, elsewhere.sources_until) == (NOW.replace(hour=18), None)


def test_halves_that_make_up_everywhere_hold_until_one_of_them_ends() -> None:
    low = policy("low", where=where("0.0.0.0/1"), when=When(day_ends=time(18)))
    decision = decide(
        request(source="203.0.113.9"), low, policy("high", where=where("128.0.0.0/1 ::/0"))
    )
    assert (decision.sources, decision.expires_at) == (None, None)
    assert decision.sources_until == NOW.replace(hour=18)


def test_a_set_of_policies_may_be_made_by_hand() -> None:
    assert evaluate(PolicySet((policy(),), {}), request()).allowed
    assert identity().email is not None
