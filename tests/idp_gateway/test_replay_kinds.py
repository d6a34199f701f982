"""What a replay takes for alike is alike: each record would be decided as the first of its kind."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp_gateway import replay_kinds
from idp_gateway.access import what_if
from idp_gateway.replay import Trial, _Run, request_of
from idp_gateway.replay_kinds import RowKinds, _number
from idp_gateway.replay_outcome import Outcome
from idp_gateway.store.replays import ASKED
from policy.names import GroupName
from policy.policy_set import PolicySet
from policy.types import (
    AccessRequest,
    Action,
    Assurance,
    DenyRule,
    Policy,
    SocketType,
    Where,
    Who,
)
from tests.support.policies import emails, networks, policy, request, socket, where, who

EMAILS = (None, "a@b.test", "z@b.test", "a@users.noreply.github.com", "z@c.test", "out@b.test")
ADDRESSES = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "::ffff:192.0.2.1", "2001:db8::1", "::1")
PLACE = replace(socket(SocketType.TLS), blocked=emails("out@b.test"))
LISTS = {"one": tuple(networks("192.0.2.2 2001:db8::/64"))}


def some_who(draw: random.Random) -> Who:
    return draw.choice(
        (
            who(emails="a@b.test"),
            who(domains="b.test users.noreply.github.com c.test"),
            who(domains="c.test"),
            who(subjects="google:z@b.test"),
            who(subjects="github:#1"),
            who(groups="github:ops"),
            who(service_accounts="backup"),
        )
    )


def some_where(draw: random.Random) -> Where:
    return draw.choice(
        (
            where("192.0.2.1"),
            where("::1 192.0.2.2/31"),
            where("::ffff:192.0.2.1"),
            where(prefix_lists="one"),
            where(countries="NL"),
            where(countries_not="NL"),
            Where(asns=frozenset({1})),
            Where(asns_not=frozenset({1})),
        )
    )


def some_policy(draw: random.Random) -> Policy:
    rule = DenyRule(
        who=draw.choice((None, some_who(draw))), where=draw.choice((None, some_where(draw)))
    )
    return Policy(
        policy_id=f"p{draw.randrange(10**9)}",
        who=some_who(draw),
        where=draw.choice((Where(), some_where(draw))),
        actions=draw.choice((frozenset(Action), frozenset({Action.SSH}))),
        min_assurance=draw.choice((None, None, Assurance.PROVIDER_VERIFIED)),
        client_proof=draw.random() < 0.1,
        denies=(rule,) if rule != DenyRule() and draw.random() < 0.5 else (),
    )


def some_request(draw: random.Random) -> AccessRequest:
    return request(
        draw.choice(EMAILS),
        subject=draw.choice("12"),
        provider=draw.choice(("", "google", "github")),
        groups=draw.choice((frozenset(), frozenset({GroupName("github", "ops")}))),
        service_account=draw.choice((None, None, None, "backup", "other")),
        assurance=draw.choice(tuple(Assurance)),
        source=draw.choice(ADDRESSES),
        action=draw.choice((Action.TLS, Action.SSH)),
        country=draw.choice((None, "NL", "DE")),
        asn=draw.choice((None, 1, 2)),
        client_proof=draw.random() < 0.5,
    )


def row_of(asked: AccessRequest) -> tuple[Any, ...]:
    """A request as it is recorded."""
    identity = asked.identity
    said = {
        "issuer": identity.issuer,
        "subject": identity.subject,
        "email": None if identity.email is None else str(identity.email),
        "provider": identity.provider,
        "assurance": str(identity.assurance),
        "groups": json.dumps(sorted(map(str, identity.groups))),
        "service_account": identity.service_account,
        "action": str(asked.action),
        "source_ip": str(asked.source_ip),
        "country": asked.country,
        "asn": asked.asn,
        "client_proof": asked.client_proof,
    }
    times = identity.authenticated_at.isoformat(), asked.at.isoformat()
    return *(said[name] for name in ASKED), *times, "decision"


def answers(sets: Sequence[PolicySet], row: Sequence[Any]) -> list[Any]:
    asked = request_of(row, PLACE)
    assert asked is not None
    decided = [what_if(one, asked) for one in sets]
    return [(one.allowed, one.reasons[0]) for one in decided]


@pytest.mark.parametrize("seed", range(4))
def test_each_request_is_decided_as_if_it_were_the_only_one(seed: int) -> None:
    """Whatever the policies look at: people, groups, programs, places, proofs."""
    draw = random.Random(seed)
    changed = repeated = 0
    for _ in range(30):
        common = [some_policy(draw) for _ in range(draw.randrange(2))]
        pair = [
            PolicySet.build(
                [*common, *(some_policy(draw) for _ in range(draw.randrange(3)))], LISTS
            )
            for _ in range(2)
        ]
        rows = [row_of(some_request(draw)) for _ in range(200)]
        each = [answers(pair, row) for row in rows]
        kinds, known = RowKinds(pair, PLACE.blocked), dict[Any, Any]()
        for row, answer in zip(rows, each, strict=True):
            assert known.setdefault(kinds.of(row), answer) == answer
        outcome = Outcome(total=len(rows))
        _Run(Trial(socket=PLACE, before=pair[0], after=pair[1]), outcome).ask(PLACE, rows)
        assert outcome.gain.requests == sum(one[1][0] and not one[0][0] for one in each)
        assert outcome.lose.requests == sum(one[0][0] and not one[1][0] for one in each)
        changed += outcome.gain.requests + outcome.lose.requests
        repeated += len(rows) - len(known)
    assert changed > 100
    assert repeated > 500


@given(st.ip_addresses())
def test_addresses_are_read_as_everywhere(address: Any) -> None:
    assert _number(str(address)) == (address.version, int(address))


@pytest.mark.parametrize("text", ["", "192.0.2", "192.0.2.01", "::1::", "1:2:3:4:5:6:7:8::", "x"])
def test_what_is_no_address_is_none(text: str) -> None:
    for read in (_number, ip_address):
        with pytest.raises(ValueError, match=r"."):
            read(text)


def test_an_address_with_a_scope_is_the_one_without() -> None:
    assert _number("fe80::1%eth0") == _number("fe80::1")


def kinds_of(policies: PolicySet, asked: Sequence[Any]) -> int:
    kinds = RowKinds([policies], emails("out@b.test"))
    return len({kinds.of(row_of(one)) for one in asked})


def strangers(count: int) -> list[Any]:
    """Other people at other addresses, in networks of their own."""
    return [
        request(
            f"p{number}@d{number}.test",
            source=f"2001:db8:0:{number:x}::1",
            subject=str(number),
            asn=number,
            country=chr(65 + number % 26) + chr(65 + number // 26 % 26),
        )
        for number in range(count)
    ]


def test_whoever_nobody_names_is_of_one_kind_from_wherever_nobody_asks() -> None:
    here = Where(
        prefixes=networks("192.0.2.0/24 2001:db8:1::/48"),
        countries_not=frozenset({"nl"}),
        asns=frozenset({100_000}),
    )
    rules = PolicySet.build([policy(where=here, who=who(emails="a@b.test", subjects="okta:#x"))])
    assert kinds_of(rules, strangers(300)) == 1
    named = [*strangers(300), request("a@b.test"), request("out@b.test"), request(None)]
    assert kinds_of(rules, named) == 4
    inside = request("x@y.test", source="2001:db8:1::7", country="AA", asn=1)
    assert kinds_of(rules, [*strangers(300), inside]) == 2


def test_people_that_are_named_together_are_of_one_kind() -> None:
    asked = strangers(300)
    everybody = Who(emails=frozenset(one.identity.email for one in asked))
    assert kinds_of(PolicySet.build([Policy(policy_id="p", who=everybody)]), asked) == 1


def test_what_is_remembered_has_a_limit_and_numbers_one_meaning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replay_kinds, "MAX_KNOWN", 3)
    rules = PolicySet.build([policy(str(n), who=who(emails=f"p{n}@d{n}.test")) for n in range(9)])
    kinds = RowKinds([rules], frozenset())
    seen = [(one.identity.email, kinds.of(row_of(one))) for one in strangers(9) * 2]
    by_kind: dict[Any, Any] = {}
    for email, kind in seen:
        assert by_kind.setdefault(kind, email) == email
    assert all(len(found) <= 3 for _, found in kinds._looked_at)
