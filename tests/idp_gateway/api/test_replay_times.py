"""Replays of rules that look at the time: as exact as asking each request, and far quicker."""

import random
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from typing import Any

import pytest

from idp_gateway import replay as module
from idp_gateway.access import what_if
from idp_gateway.composition import Gateway
from idp_gateway.replay import request_of
from idp_gateway.store import Store
from policy.addresses import EmailAddress
from policy.policy_set import PolicySet
from policy.types import DenyRule, Policy, Weekday, When, Who
from tests.idp_gateway.api.test_replay import NOON, SOCKETS, record, run
from tests.idp_gateway.conftest import FixedClock

PEOPLE = [f"p{number}@corp.test" for number in range(6)]
ZONES = ("Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe", "UTC", "Mars/Olympus")
SUMMER = datetime(2026, 3, 29, 1, tzinfo=NOON.tzinfo)
"""Clocks in Amsterdam are put forward."""


@pytest.fixture
def store(gateway: Gateway) -> Store:
    return gateway.store


def who(draw: random.Random) -> Who:
    return Who(emails=frozenset(map(EmailAddress.parse, draw.sample(PEOPLE, draw.randint(1, 5)))))


def times(draw: random.Random) -> When:
    span = sorted(SUMMER + timedelta(hours=draw.randint(-72, 72)) for _ in range(2))
    start, end = (time(draw.randrange(24), draw.choice((0, 30))) for _ in range(2))
    return When(
        after=draw.choice((None, None, span[0])),
        before=draw.choice((None, None, span[1])),
        day_starts=draw.choice((None, start)),
        day_ends=draw.choice((None, end, start)),
        weekdays=frozenset(draw.sample(list(Weekday), draw.randrange(4))),
        zone=draw.choice(ZONES),
    )


def policies(draw: random.Random) -> PolicySet:
    def made(number: int) -> Policy:
        rules = [
            DenyRule(who=draw.choice((None, who(draw))), when=draw.choice((None, times(draw))))
            for _ in range(draw.choice((0, 0, 1, 2)))
        ]
        return Policy(
            policy_id=f"p{number}",
            who=who(draw),
            when=draw.choice((When(), times(draw), times(draw))),
            max_session=draw.choice((None, None, timedelta(hours=draw.randint(1, 30)))),
            denies=tuple(rule for rule in rules if rule.who or rule.when),
        )

    return PolicySet.build(map(made, range(draw.randint(1, 4))))


def asked(draw: random.Random, store: Store, count: int) -> None:
    for number in range(count):
        at = SUMMER + timedelta(minutes=draw.randint(-5000, 5000))
        store.record_decision(
            record(
                number,
                draw.choice(PEOPLE),
                at=at,
                authenticated_at=at - timedelta(minutes=draw.randrange(2000)),
                socket_id=draw.choice(list(SOCKETS)),
            )
        )


def one_by_one(store: Store, before: PolicySet, after: PolicySet) -> Iterator[tuple[Any, ...]]:
    """Everybody who gains or loses by a request, each request decided by itself."""
    for name, socket in SOCKETS.items():
        for rows in store.decisions_since(name, SUMMER - timedelta(days=30)):
            for row in rows:
                request = request_of(row, socket)
                assert request is not None
                pair = what_if(before, request), what_if(after, request)
                if pair[0].allowed is not pair[1].allowed:
                    yield pair[1].allowed, name, str(request.identity.email), pair[1].reasons[0]


@pytest.mark.parametrize("stopped", [module.MAX_STOPPED, 2, 0])
def test_the_outcome_is_that_of_asking_each_request(
    stopped: int, store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_STOPPED", stopped)
    draw = random.Random(5)
    asked(draw, store, 300)
    changed = 0
    for _ in range(40):
        before, after = policies(draw), policies(draw)
        wanted = list(one_by_one(store, before, after))
        found = run(store, before, after, since=SUMMER - timedelta(days=30))
        for side, gains in ((found.gain, True), (found.lose, False)):
            mine = [one for one in wanted if one[0] is gains]
            assert side.requests == len(mine)
            assert side.people == len({one[2] for one in mine})
            # Rows are in the same order: the first reason of each is the one that is shown.
            firsts = {(one[1], one[2]): one[3] for one in reversed(mine)}
            shown = {
                (change.socket.socket_id, str(change.email)): change.after
                for change in side.changes.values()
            }
            assert shown == firsts
        changed += len(wanted)
    assert changed > 1000


def test_what_is_denied_for_its_time_is_not_decided_every_time(
    store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weeks on two sockets in zones that change their clocks: decided once for each set of windows
    that are open together, and most requests come while none is.
    """
    decided = []

    def counted(rules: PolicySet, request: Any) -> Any:
        decided.append(request)
        return what_if(rules, request)

    monkeypatch.setattr(module, "what_if", counted)
    for number in range(600):
        at = SUMMER - timedelta(days=8) + timedelta(minutes=37 * number)
        place = "wiki" if number % 2 else "shop"
        store.record_decision(record(number, at=at, socket_id=place))

    def hours(begin: int) -> PolicySet:
        return PolicySet.build(
            Policy(
                policy_id=zone,
                who=Who(emails=frozenset({EmailAddress.parse("ann@corp.test")})),
                when=When(day_starts=time(begin), day_ends=time(17), zone=zone),
            )
            for zone in ZONES[:2]
        )

    found = run(store, hours(8), hours(9), since=SUMMER - timedelta(days=30))
    assert found.lose.requests > 10
    assert len(decided) <= 2 * 4
