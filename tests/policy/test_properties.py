"""What must hold for every policy and every request."""

import dataclasses
import random
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policy.addresses import EmailAddress
from policy.evaluate import evaluate
from policy.native import open_rule, source_rule, source_sets
from policy.policy_set import PolicySet
from policy.types import (
    AccessRequest,
    Assurance,
    DenyRule,
    IPAddress,
    Policy,
    Reason,
    When,
    Where,
    Who,
)
from tests.support.policies import (
    ADDRESSES,
    ASNS,
    COUNTRIES,
    DENIES,
    EMAILS,
    MOMENTS,
    NOW,
    POLICIES,
    PREFIX_LISTS,
    RELAXED,
    REQUESTS,
    WHENS,
    WHERES,
    friendly_cases,
    likely_requests,
    policy,
    request,
    where,
)

SETS = st.lists(POLICIES, max_size=4)
INSTANT = timedelta(microseconds=1)
QUARTER = timedelta(minutes=15)
Case = tuple[list[Policy], AccessRequest, dict[str, Any]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Policies, a request that often meets one of them, and prefix lists."""
    if draw(st.booleans()):
        return draw(friendly_cases())
    policies = draw(SETS)
    return policies, draw(REQUESTS | likely_requests(policies)), draw(PREFIX_LISTS)


CASES = cases()


def allowed(policies: list[Policy], asked: AccessRequest, lists: Any) -> bool:
    return evaluate(PolicySet.build(policies, lists), asked).allowed


GOOD = {
    Reason.EMAIL_ALLOWED,
    Reason.DOMAIN_ALLOWED,
    Reason.SUBJECT_ALLOWED,
    Reason.GROUP_ALLOWED,
    Reason.SERVICE_ACCOUNT_ALLOWED,
}


@RELAXED
@given(CASES)
def test_every_request_gets_one_answer_that_says_why(case: Case) -> None:
    policies, asked, lists = case
    ready = PolicySet.build(policies, lists)

    decision = evaluate(ready, asked)

    assert evaluate(ready, asked) == decision
    assert decision.reasons
    assert {reason in GOOD for reason in decision.reasons} == {decision.allowed}
    if decision.allowed:
        assert set(decision.policy_ids) <= {one.policy_id for one in policies}
        assert decision.policy_ids
    else:
        assert (decision.sources, decision.expires_at, decision.source_ids) == (None, None, None)


@RELAXED
@given(SETS, REQUESTS, st.datetimes(), st.timezones() | st.none(), MOMENTS)
def test_no_time_is_too_early_or_too_late(
    policies: list[Policy], asked: AccessRequest, at: datetime, zone: Any, login: datetime
) -> None:
    person = dataclasses.replace(asked.identity, authenticated_at=login)
    ready = PolicySet.build(policies)
    for moment in (
        at.replace(tzinfo=zone),
        datetime.min.replace(tzinfo=zone),
        datetime.max.replace(tzinfo=UTC),
    ):
        evaluate(ready, dataclasses.replace(asked, identity=person, at=moment))


@RELAXED
@given(CASES, st.randoms(use_true_random=False))
def test_the_order_of_policies_means_nothing(case: Case, chance: random.Random) -> None:
    policies, asked, lists = case
    shuffled = list(policies)
    chance.shuffle(shuffled)

    first, second = PolicySet.build(policies, lists), PolicySet.build(shuffled, lists)

    assert evaluate(first, asked) == evaluate(second, asked)
    assert source_rule(first) == source_rule(second)
    assert source_sets(first) == source_sets(second)


@RELAXED
@given(CASES)
def test_a_policy_that_lists_nobody_admits_nobody(case: Case) -> None:
    policies, asked, lists = case
    nobody = [dataclasses.replace(one, who=Who()) for one in policies]
    decision = evaluate(PolicySet.build(nobody, lists), asked)
    assert decision.reasons[0] in {Reason.NO_POLICY, Reason.ACTION_NOT_OFFERED}


@st.composite
def conditions(draw: st.DrawFn, one: Policy) -> tuple[Policy, Policy]:
    """``one`` without one of its conditions, and with another in its place."""
    kind = draw(
        st.sampled_from(
            [
                *("address", "country", "country_not", "asn", "asn_not", "span", "week"),
                *("weekdays", "assurance", "proof", "session", "action"),
            ]
        )
    )
    place, time = one.where, one.when
    drawn, window = draw(WHERES), draw(WHENS)
    wheres = {
        "address": (
            {"prefixes": frozenset(), "prefix_lists": frozenset()},
            {"prefixes": drawn.prefixes, "prefix_lists": drawn.prefix_lists},
        ),
        "country": ({"countries": frozenset()}, {"countries": frozenset({draw(COUNTRIES)})}),
        "country_not": (
            {"countries_not": frozenset()},
            {"countries_not": frozenset({draw(COUNTRIES)})},
        ),
        "asn": ({"asns": frozenset()}, {"asns": frozenset({draw(ASNS)})}),
        "asn_not": ({"asns_not": frozenset()}, {"asns_not": frozenset({draw(ASNS)})}),
    }
    no_week: dict[str, Any] = {"day_starts": None, "day_ends": None, "weekdays": frozenset()}
    whens = {
        "span": (
            {"after": None, "before": None},
            {"after": window.after, "before": window.before},
        ),
        "week": (no_week, {name: getattr(window, name) for name in no_week}),
        "weekdays": ({"weekdays": frozenset()}, {"weekdays": window.weekdays}),
    }
    others: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "assurance": ({"min_assurance": None}, {"min_assurance": draw(st.sampled_from(Assurance))}),
        "proof": ({"client_proof": False}, {"client_proof": True}),
        "session": (
            {"max_session": None},
            {"max_session": timedelta(hours=draw(st.integers(0, 9)))},
        ),
        "action": ({}, {"actions": frozenset(list(one.actions)[1:])}),
    }
    before, after = {**wheres, **whens, **others}[kind]  # type: ignore[dict-item]
    if kind in wheres:
        before = {"where": dataclasses.replace(place, **before)}
        after = {"where": dataclasses.replace(place, **after)}
    elif kind in whens:
        before = {"when": dataclasses.replace(time, **before)}
        after = {"when": dataclasses.replace(time, **after)}
    return dataclasses.replace(one, **before), dataclasses.replace(one, **after)


@RELAXED
@given(CASES, st.data())
def test_one_more_condition_never_widens_access(case: Case, data: st.DataObject) -> None:
    policies, asked, lists = case
    if not policies:
        return
    wide, narrow = data.draw(conditions(policies[0]))
    rest = policies[1:]
    if allowed([narrow, *rest], asked, lists):
        assert allowed([wide, *rest], asked, lists)


@RELAXED
@given(CASES, DENIES, st.integers(0, 3))
def test_one_more_deny_rule_never_widens_access(case: Case, deny: DenyRule, place: int) -> None:
    policies, asked, lists = case
    if not policies:
        return
    place %= len(policies)
    denying = dataclasses.replace(policies[place], denies=(*policies[place].denies, deny))
    if allowed([*policies[:place], denying, *policies[place + 1 :]], asked, lists):
        assert allowed(policies, asked, lists)


@RELAXED
@given(CASES, POLICIES)
def test_one_more_policy_that_denies_nobody_never_takes_access_away(
    case: Case, more: Policy
) -> None:
    policies, asked, lists = case
    if allowed(policies, asked, lists):
        assert allowed([*policies, dataclasses.replace(more, denies=())], asked, lists)


@RELAXED
@given(CASES, st.frozensets(EMAILS, max_size=4))
def test_whoever_is_revoked_stays_out_and_nobody_else(
    case: Case, blocked: frozenset[EmailAddress]
) -> None:
    policies, asked, lists = case
    ready = PolicySet.build(policies, lists)
    free = dataclasses.replace(asked, socket=dataclasses.replace(asked.socket, blocked=frozenset()))
    held = dataclasses.replace(asked, socket=dataclasses.replace(asked.socket, blocked=blocked))
    before, after = evaluate(ready, free), evaluate(ready, held)
    if asked.identity.email not in blocked:
        assert after == before
    elif before.allowed:
        assert after.reasons == (Reason.PERSON_REVOKED,)
    else:
        assert not after.allowed


@RELAXED
@given(CASES)
def test_people_without_a_verified_address_stay_out(case: Case) -> None:
    policies, asked, lists = case
    nameless = dataclasses.replace(asked.identity, email=None, service_account=None)
    assert not allowed(policies, dataclasses.replace(asked, identity=nameless), lists)


@RELAXED
@given(friendly_cases(), ADDRESSES)
def test_the_rule_of_the_edge_refuses_nobody_whom_the_evaluator_allows(
    case: Case, address: IPAddress
) -> None:
    policies, asked, lists = case
    ready = PolicySet.build(policies, lists)
    if not source_rule(ready).admits(address):
        assert not evaluate(ready, dataclasses.replace(asked, source_ip=address)).allowed


@RELAXED
@given(friendly_cases(), st.lists(ADDRESSES, min_size=1, max_size=6), st.data())
def test_taking_people_out_opens_no_socket_that_asks_nobody(
    case: Case, addresses: list[IPAddress], data: st.DataObject
) -> None:
    policies, _, lists = case
    emptied = data.draw(st.sets(st.sampled_from([one.policy_id for one in policies] or [""])))
    less = [dataclasses.replace(one, who=Who()) if one.policy_id in emptied else one
            for one in policies]  # fmt: skip
    before, after = (
        open_rule(ready, source_rule(ready))
        for ready in (PolicySet.build(some, lists) for some in (policies, less))
    )
    for address in addresses:
        if after.admits(address):
            assert before.admits(address)


@RELAXED
@given(CASES, st.lists(ADDRESSES, min_size=1, max_size=6))
def test_the_edge_and_the_evaluator_agree_where_only_the_address_counts(
    case: Case, addresses: list[IPAddress]
) -> None:
    policies, asked, lists = case
    listed = Who(emails=frozenset({EmailAddress.parse("a@b.test")}))
    simple = [
        Policy(
            policy_id=one.policy_id,
            who=listed,
            where=Where(prefixes=one.where.prefixes, prefix_lists=one.where.prefix_lists),
            denies=tuple(
                DenyRule(where=rule.where)
                for rule in one.denies
                if rule.where is not None
                and (rule.where.prefixes or rule.where.prefix_lists)
                and not (rule.where.countries or rule.where.countries_not)
                and not (rule.where.asns or rule.where.asns_not)
            ),
        )
        for one in policies
    ]
    ready = PolicySet.build(simple, lists)
    rule = source_rule(ready)
    (email,) = listed.emails
    person = dataclasses.replace(asked.identity, email=email, service_account=None)
    for address in addresses:
        at_home = dataclasses.replace(
            asked,
            identity=person,
            source_ip=address,
            socket=dataclasses.replace(asked.socket, blocked=frozenset()),
        )
        reasons = evaluate(ready, at_home).reasons
        if reasons != (Reason.ACTION_NOT_OFFERED,):
            assert rule.admits(address) == (reasons == (Reason.EMAIL_ALLOWED,))


@RELAXED
@given(friendly_cases(), st.lists(ADDRESSES, min_size=1, max_size=6))
def test_the_sources_of_a_decision_are_where_the_same_request_is_allowed(
    case: Case, addresses: list[IPAddress]
) -> None:
    policies, asked, lists = case
    ready = PolicySet.build(policies, lists)
    decision = evaluate(ready, asked)
    if not decision.allowed:
        return
    sets, rule, ids = source_sets(ready), source_rule(ready), decision.source_ids
    assert sets is not None
    assert ids is None or ids
    for address in [*addresses, asked.source_ip]:
        elsewhere = evaluate(ready, dataclasses.replace(asked, source_ip=address))
        assert elsewhere.allowed == within(address, decision.sources)
        named = ids is None or any(within(address, sets[one]) for one in ids)
        by_ids = named and rule.admits(address)
        if not several_cuts(policies):
            assert by_ids == elsewhere.allowed
        elif by_ids:
            assert elsewhere.allowed


def within(address: IPAddress, networks: Any) -> bool:
    plain = getattr(address, "ipv4_mapped", None) or address
    return networks is None or any(plain in one for one in networks)


def several_cuts(policies: list[Policy]) -> bool:
    return len([rule for one in policies for rule in one.denies]) > 1


@RELAXED
@given(friendly_cases())
def test_a_decision_ends_when_the_same_request_is_first_denied(case: Case) -> None:
    policies, asked, lists = case
    if not policies:
        return
    ready = PolicySet.build(policies, lists)
    decision = evaluate(ready, asked)
    end = decision.expires_at
    if not decision.allowed or end is None:
        return
    assert end > asked.at
    if end - asked.at > timedelta(days=20):
        moments = [asked.at + (end - asked.at) * part / 8 for part in range(8)]
    else:
        moments = [asked.at + timedelta(minutes=15) * step for step in range(20 * 96)]
    for moment in [*moments[:: max(1, len(moments) // 50)], end - INSTANT]:
        if moment < end:
            assert evaluate(ready, dataclasses.replace(asked, at=moment)).allowed
    if end - asked.at < timedelta(days=30):  # windows that adjoin without end are not followed
        assert not evaluate(ready, dataclasses.replace(asked, at=end)).allowed


@RELAXED
@given(friendly_cases(), st.lists(ADDRESSES, min_size=1, max_size=4))
def test_sources_hold_for_as_long_as_they_say(case: Case, addresses: list[IPAddress]) -> None:
    policies, asked, lists = case
    ready = PolicySet.build(policies, lists)
    decision = evaluate(ready, asked)
    ends = [end for end in (decision.sources_until, decision.expires_at) if end is not None]
    if not decision.allowed:
        return
    last = min(ends) - INSTANT if ends else asked.at + timedelta(days=400)
    assert last >= asked.at
    for moment in (last, asked.at + (last - asked.at) / 2):
        for address in addresses:
            elsewhere = dataclasses.replace(asked, source_ip=address, at=moment)
            if within(address, decision.sources):
                assert evaluate(ready, elsewhere).allowed


HALVES = ["0.0.0.0/1", "128.0.0.0/1 ::/0", "0.0.0.0/0 ::/0", "192.0.2.0/24", ""]
EDGES = [NOW + timedelta(hours=hour) for hour in range(-2, 7)]
HOURS = st.sampled_from([edge.time() for edge in EDGES])
PLACES = st.sampled_from(HALVES).map(where)
SPANS_OF_DAY = st.builds(When, day_starts=st.none() | HOURS, day_ends=st.none() | HOURS)
NEARBY = [*map(ip_address, ("192.0.2.1", "1.2.3.4", "203.0.113.9", "2001:db8::1"))]


@st.composite
def days(draw: st.DrawFn) -> tuple[list[Policy], AccessRequest]:
    """Policies for a@b.test that begin and end on the hour, some for a part of all addresses."""
    denies = st.builds(DenyRule, where=st.none() | PLACES.filter(lambda one: one != Where()),
                       when=SPANS_OF_DAY)  # fmt: skip
    policies = st.builds(
        policy,
        st.sampled_from("pqr"),
        where=PLACES,
        when=st.just(When()) | SPANS_OF_DAY,
        max_session=st.none() | st.none() | st.just(timedelta(hours=3)),
        denies=st.just(()) | st.just(()) | st.tuples(denies),
    )
    source = draw(st.sampled_from(NEARBY))
    return draw(st.lists(policies, min_size=1, max_size=3)), request(source=source)


@settings(RELAXED, max_examples=400)
@given(days())
def test_what_a_decision_says_holds_at_every_address_and_moment_before_it_ends(
    case: tuple[list[Policy], AccessRequest],
) -> None:
    policies, asked = case
    ready = PolicySet.build(policies)
    decision = evaluate(ready, asked)
    if not decision.allowed:
        return
    end = decision.expires_at or datetime.max.replace(tzinfo=UTC)
    elsewhere_end = min(end, decision.sources_until or end)
    for moment in (one for edge in EDGES if edge >= asked.at for one in (edge, edge + QUARTER)):
        later = dataclasses.replace(asked, at=moment)
        if moment < end:
            assert evaluate(ready, later).allowed
        for address in NEARBY if moment < elsewhere_end else ():
            if within(address, decision.sources):
                assert evaluate(ready, dataclasses.replace(later, source_ip=address)).allowed
