"""Who gets in: the table of cases, and what must hold for every input."""

import dataclasses
from datetime import UTC, datetime
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.addresses import DomainName, EmailAddress
from policy.evaluate import evaluate
from policy.types import (
    AccessRequest,
    Action,
    Assurance,
    Decision,
    Effect,
    Identity,
    Policy,
    Reason,
    Socket,
    SocketType,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LABELS = st.text("abcdefgh", min_size=1, max_size=3)
DOMAINS = st.lists(LABELS, min_size=2, max_size=4).map(lambda labels: DomainName(tuple(labels)))
EMAILS = st.builds(EmailAddress, LABELS, DOMAINS)
POLICIES = st.builds(
    Policy,
    policy_id=st.text("0123456789", min_size=1, max_size=4),
    emails=st.frozensets(EMAILS, max_size=4),
    domains=st.frozensets(DOMAINS, max_size=4),
)


def policy(policy_id: str = "p", *, emails: str = "", domains: str = "") -> Policy:
    return Policy(
        policy_id=policy_id,
        emails=frozenset(EmailAddress.parse(text) for text in emails.split()),
        domains=frozenset(DomainName.parse(text) for text in domains.split()),
    )


def request(
    email: EmailAddress | str | None,
    *policies: Policy,
    socket_type: SocketType = SocketType.HTTP,
    action: Action = Action.HTTP,
) -> AccessRequest:
    parsed = EmailAddress.parse(email) if isinstance(email, str) else email
    return AccessRequest(
        identity=Identity(
            issuer="https://idp.test",
            subject="1",
            email=parsed,
            name="Somebody",
            assurance=Assurance.PROVIDER_VERIFIED,
            authenticated_at=NOW,
        ),
        socket=Socket(
            socket_id="s",
            dns_name="a.edge.test",
            socket_type=socket_type,
            epoch=1,
            policies=policies,
        ),
        action=action,
        source_ip=IPv4Address("192.0.2.1"),
        at=NOW,
    )


def reasons(decision: Decision) -> tuple[Reason, ...]:
    assert (decision.effect is Effect.ALLOW) == decision.allowed
    return decision.reasons


def test_without_a_policy_nobody_gets_in() -> None:
    assert reasons(evaluate(request("a@b.test"))) == (Reason.NO_POLICY,)


def test_an_empty_policy_admits_nobody() -> None:
    decision = evaluate(request("a@b.test", policy(), policy("q")))
    assert not decision.allowed
    assert decision.reasons == (Reason.NO_POLICY,)


def test_an_unverified_address_gets_in_nowhere() -> None:
    decision = evaluate(request(None, policy(emails="a@b.test", domains="b.test")))
    assert not decision.allowed
    assert decision.reasons == (Reason.EMAIL_UNVERIFIED,)


def test_the_allow_names_every_policy_it_rests_on() -> None:
    policies = (
        policy("mail", emails="a@b.test"),
        policy("domain", domains="b.test"),
        policy("both", emails="a@b.test", domains="b.test"),
        policy("other", emails="c@d.test"),
    )
    decision = evaluate(request("A@B.test", *policies))
    assert reasons(decision) == (Reason.EMAIL_ALLOWED, Reason.DOMAIN_ALLOWED)
    assert decision.policy_ids == ("mail", "both", "domain")


@pytest.mark.parametrize(
    "email",
    [
        "a@evil-b.test",
        "a@evilb.test",
        "a@sub.b.test",
        "a@b.test.evil",
        "a@test",
        "b.test@evil.test",
        "x@b.tes",
    ],
)
def test_a_domain_that_only_looks_alike_does_not_match(email: str) -> None:
    try:
        asked = request(email, policy(domains="b.test", emails="x@b.test"))
    except ValueError:
        return
    decision = evaluate(asked)
    assert not decision.allowed
    assert decision.reasons == (Reason.NOT_ON_LIST,)


def test_a_listed_subdomain_does_not_admit_the_domain_above() -> None:
    assert not evaluate(request("a@b.test", policy(domains="sub.b.test"))).allowed


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
        asked = request(
            "a@b.test", policy(emails="a@b.test"), socket_type=socket_type, action=action
        )
        assert evaluate(asked).allowed == (action in offered)


@given(EMAILS, st.lists(POLICIES, max_size=4))
def test_allowed_exactly_when_some_entry_is_equal(
    email: EmailAddress, policies: list[Policy]
) -> None:
    decision = evaluate(request(email, *policies))
    listed = any(email in p.emails or email.domain in p.domains for p in policies)
    assert decision.allowed == listed
    assert decision.reasons
    assert evaluate(request(email, *policies)) == decision


@given(EMAILS, st.lists(POLICIES, max_size=3), POLICIES)
def test_one_more_policy_never_takes_access_away(
    email: EmailAddress, policies: list[Policy], more: Policy
) -> None:
    before = evaluate(request(email, *policies))
    after = evaluate(request(email, *policies, more))
    assert after.allowed or not before.allowed
    added = email in more.emails or email.domain in more.domains
    assert after.allowed == (before.allowed or added)


@given(st.lists(POLICIES, max_size=4))
def test_whoever_has_no_verified_address_stays_out(policies: list[Policy]) -> None:
    assert not evaluate(request(None, *policies)).allowed


@given(EMAILS, st.lists(POLICIES), st.frozensets(EMAILS, max_size=4))
def test_whoever_is_revoked_stays_out_and_nobody_else(
    email: EmailAddress, policies: list[Policy], blocked: frozenset[EmailAddress]
) -> None:
    asked = request(email, *policies)
    socket = dataclasses.replace(asked.socket, blocked=blocked)
    before = evaluate(asked)

    decision = evaluate(dataclasses.replace(asked, socket=socket))

    if email not in blocked:
        assert decision == before
    elif before.allowed:
        assert decision.reasons == (Reason.PERSON_REVOKED,)
    else:
        assert not decision.allowed


def test_a_revoked_person_is_told_so_whatever_lists_name_them() -> None:
    asked = request("a@b.test", policy(emails="a@b.test", domains="b.test"))
    socket = dataclasses.replace(asked.socket, blocked=frozenset({EmailAddress.parse("a@b.test")}))

    decision = evaluate(dataclasses.replace(asked, socket=socket))

    assert reasons(decision) == (Reason.PERSON_REVOKED,)
