"""What one decision costs in process, and how it grows with policies and sockets.

The peer is a plain scan of the same policies, condition by condition with the same values: what
deciding costs without the index. It is given the easy half: it stops at the first policy that
allows, looks at no deny rule and works out no end and no sources. Making policies ready is given in
processor time, since it takes long enough for other programs to come between.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from ipaddress import IPv4Address, IPv4Network

from policy.addresses import DomainName, EmailAddress
from policy.evaluate import evaluate
from policy.networks import Networks
from policy.policy_set import PolicySet
from policy.types import (
    AccessRequest,
    Action,
    Assurance,
    DenyRule,
    Identity,
    Policy,
    Socket,
    SocketType,
    When,
    Where,
    Who,
)

Row = tuple[str, float, str, str, float]
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SIZES = (10, 100, 1_000, 10_000)
OFFICE_HOURS = When(day_starts=clock(8), day_ends=clock(18), zone="Europe/Amsterdam")


def run(quick: bool) -> list[Row]:
    """Rows for the report: name, value, unit, peer, ratio."""
    rounds = 500 if quick else 10_000
    sizes = SIZES[:3] if quick else SIZES
    return [
        *[row for size in sizes for row in _one_socket(size, rounds)],
        *_many_sockets(sizes[-1], rounds),
        _everybody(100, rounds),
    ]


def _one_socket(size: int, rounds: int) -> list[Row]:
    policies = [_policy(number) for number in range(size)]
    started = time.thread_time()
    ready = PolicySet.build(policies)
    built = time.thread_time() - started
    asked = [_request(number % size) for number in _chosen(size, rounds)]
    ours = _median(lambda request: evaluate(ready, request), asked)
    fewer = asked[: max(20, min(rounds, 100_000 // size))]
    scan = _median(lambda request: _scan(policies, request), fewer)
    return [
        (f"decision, {size} policies on a socket", ours * 1e6, "us", "plain scan", ours / scan),
        (f"making {size} policies ready", built * 1e3, "ms", "", 0.0),
    ]


def _many_sockets(count: int, rounds: int) -> list[Row]:
    """As many policies as sockets; ten of them on each socket, of which one is everybody's."""
    policies = [_policy(number) for number in range(count)]
    started = time.thread_time()
    sets = [
        PolicySet.build([policies[0], *(policies[(number + step) % count] for step in range(9))])
        for number in range(count)
    ]
    built = time.thread_time() - started
    chosen = _chosen(count, rounds)
    asked = [(sets[number], _request(number)) for number in chosen]
    times: tuple[list[float], list[float]] = [], []
    for ready, request in asked:
        for turn in times:
            started = time.perf_counter()
            evaluate(ready, request)
            turn.append(time.perf_counter() - started)
    first, again = (statistics.median(turn) * 1e6 for turn in times)
    where = f"{count} policies on {count} sockets"
    return [
        (f"decision, {where}, the first", first, "us", "", 0.0),
        (f"decision, {where}, again", again, "us", "", 0.0),
        (f"making {where} ready", built * 1e3, "ms", "", 0.0),
    ]


def _everybody(size: int, rounds: int) -> Row:
    """The dear case: every policy lists the caller, so the decision rests on all of them."""
    policies = [_policy(number, whole_domain=True) for number in range(size)]
    ready = PolicySet.build(policies)
    asked = [_request(number % size) for number in _chosen(size, rounds // 10)]
    ours = _median(lambda request: evaluate(ready, request), asked)
    return (f"decision, {size} policies that all list the caller", ours * 1e6, "us", "", 0.0)


def _chosen(count: int, rounds: int) -> list[int]:
    chance = random.Random(1)
    return [chance.randrange(count) for _ in range(rounds)]


def _median(action: Callable[[AccessRequest], object], asked: Iterable[AccessRequest]) -> float:
    """Seconds of one, in the middle of all."""
    times = []
    for request in asked:
        started = time.perf_counter()
        action(request)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _policy(number: int, *, whole_domain: bool = False) -> Policy:
    """Five people from a network of their own; every second one in office hours alone, and every
    tenth with a deny rule.
    """
    domain = DomainName(("corp", "test"))
    people = frozenset(EmailAddress(f"person{number}-{each}", domain) for each in range(5))
    network = IPv4Network((10 << 24 | number % 65_536 << 8, 24))
    stranger = Who(emails=frozenset({EmailAddress(f"stranger{number}", domain)}))
    return Policy(
        policy_id=f"p{number:05}",
        who=Who(emails=people, domains=frozenset({domain} if whole_domain else ())),
        where=Where(prefixes=Networks.of([network])),
        when=OFFICE_HOURS if number % 2 else When(),
        max_session=timedelta(hours=8),
        denies=(DenyRule(who=stranger, where=Where(prefixes=Networks.of([network]))),)
        if number % 10 == 0
        else (),
    )


def _request(number: int) -> AccessRequest:
    domain = DomainName(("corp", "test"))
    return AccessRequest(
        identity=Identity(
            issuer="https://idp.test",
            subject=str(number),
            provider="google",
            email=EmailAddress(f"person{number}-3", domain),
            name="Somebody",
            assurance=Assurance.PROVIDER_VERIFIED,
            authenticated_at=NOW,
        ),
        socket=Socket(
            socket_id=str(number), dns_name="a.test", socket_type=SocketType.TLS, epoch=1
        ),
        action=Action.TLS,
        source_ip=IPv4Address(10 << 24 | number % 65_536 << 8 | 7),
        at=NOW,
    )


def _scan(policies: list[Policy], request: AccessRequest) -> bool:
    """Whether one of ``policies`` allows it, each looked at in turn."""
    email = request.identity.email
    return any(
        request.action in policy.actions
        and (email in policy.who.emails or (email and email.domain in policy.who.domains))
        and any(request.source_ip in network for network in policy.where.prefixes)
        for policy in policies
    )
