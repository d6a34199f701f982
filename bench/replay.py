"""How fast recorded decisions are asked again: ``python -m bench.replay [RECORDS]``.

A database is filled with decisions as the gateway records them, at all hours (people, addresses and
sockets repeat as they do in life), and replayed on one core under other policies: one that looks at
no time, and ten that all name everybody, each with working hours of its own in zones that change
their clocks. Both sides have them, so most requests are denied on one side or both.
Another one has people who come with another address each time, and others who come once or twice,
as mobile phones and IPv6 privacy addresses do; the policies look at addresses and at a network.
"""

import argparse
import contextlib
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

from idp_gateway.records import DecisionRecord
from idp_gateway.replay import Trial, replay
from idp_gateway.store import Database, Store
from idp_gateway.store.issuance import DECISIONS
from idp_gateway.store.migrate import upgrade
from idp_gateway.store.quick import Insertion
from policy.addresses import DomainName, EmailAddress
from policy.policy_set import PolicySet
from policy.types import (
    Action,
    Assurance,
    Effect,
    Policy,
    Socket,
    SocketType,
    Weekday,
    When,
    Where,
    Who,
)

RECORDS = 1_000_000
PEOPLE = 2_000
SOCKETS = 50
TIMED_POLICIES = 10
BEGIN = datetime(2026, 3, 10, tzinfo=UTC)
"""Clocks are put forward in Europe within the month that follows."""
_ZONES = ("Europe/Amsterdam", "Europe/London", "Europe/Athens", "UTC", "America/New_York")
_STAFF = Who(domains=frozenset({DomainName.parse("corp.example.com")}))
_WORKING_DAYS = frozenset(Weekday) - {Weekday.SATURDAY, Weekday.SUNDAY}
_AT_ONCE = 10_000
_BAR = 40


Row = tuple[str, float, str, str, float]
_Pair = tuple[PolicySet, PolicySet]


def run(quick: bool) -> list[Row]:
    """Rows for the report: name, value, unit, peer, ratio."""
    return measure(10_000 if quick else RECORDS)


def main() -> None:
    """Fill, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", nargs="?", type=int, default=RECORDS)
    for name, value, unit, *_ in measure(parser.parse_args().records):
        print(f"{name}: {value:,.1f} {unit}")


def measure(records: int) -> list[Row]:
    """Replay so many records of a database made for it."""
    with tempfile.TemporaryDirectory() as directory:
        at_home = {
            "no rule looks at the time": _untimed(),
            "ten policies with working hours": (_timed(0), _timed(15)),
        }
        away = {"addresses that come once or twice": _placed()}
        return [
            row
            for name, make, trials in (
                ("home", _decisions, at_home),
                ("away", _decisions_away, away),
            )
            for row in _measure_all(Path(directory) / name, make(records), records, trials)
        ]


def _measure_all(
    path: Path, made: Iterator[DecisionRecord], records: int, trials: Mapping[str, _Pair]
) -> Iterator[Row]:
    database = Database(f"sqlite:///{path}.db")
    with contextlib.closing(database):
        _fill(database, made, records)
        for title, pair in trials.items():
            yield from _measure(Store(database), title, *pair)


def _fill(database: Database, made: Iterator[DecisionRecord], records: int) -> None:
    with database.writing() as connection:
        upgrade(connection)
    insertion = Insertion(DecisionRecord, DECISIONS, database.engine.dialect)
    for done in range(0, records, _AT_ONCE):
        part = [next(made) for _ in range(min(_AT_ONCE, records - done))]
        with database.writing() as connection:
            insertion.run(connection, part)
        _show("filling", done + len(part), records)


def _decisions(records: int) -> Iterator[DecisionRecord]:
    draw = random.Random(1)
    for number in range(records):
        person = int(draw.expovariate(1 / 200)) % PEOPLE
        at = BEGIN + timedelta(days=30) * number / records
        yield DecisionRecord(
            decision_id=f"{draw.getrandbits(128):032x}",
            at=at,
            effect=Effect.ALLOW,
            reasons=("domain-allowed",),
            policy_ids=("staff",),
            issuer="https://idp.example.com",
            subject=f"subject-{person}",
            email=f"person{person}@corp.example.com",
            socket_id=f"socket-{draw.randrange(SOCKETS)}",
            action=Action.HTTP,
            source_ip=f"192.0.2.{person % 250}" if draw.random() < 0.8 else _anywhere(draw),
            country="NL",
            epoch=1,
            provider="okta",
            assurance=Assurance.PROVIDER_VERIFIED,
            groups=("okta:staff",),
            authenticated_at=at.replace(minute=0, second=0, microsecond=0),
            asn=64500,
            client_proof=False,
        )


def _decisions_away(records: int) -> Iterator[DecisionRecord]:
    """Half are of the same people as at home, half of people of whom each comes once or twice."""
    draw = random.Random(2)
    for number, made in enumerate(_decisions(records)):
        once = number % 2 == 0
        person = f"guest{draw.randrange(records)}" if once else made.email
        yield replace(
            made,
            subject=f"subject of {person}",
            email=f"{person}@away.example.com" if once else made.email,
            source_ip=_away(draw, records),
            asn=64500 + draw.randrange(500),
        )


def _away(draw: random.Random, records: int) -> str:
    """One of so many addresses that each comes once or twice; some are in the office's network."""
    if draw.random() < 0.3:
        return str(IPv4Address((10 << 24) + draw.randrange(max(records, 1))))
    return str(
        IPv6Address((0x20010DB8 << 96) + (draw.randrange(records) << 64) + draw.getrandbits(8))
    )


def _anywhere(draw: random.Random) -> str:
    return f"198.51.100.{draw.randrange(250)}"


def _untimed() -> _Pair:
    some = [EmailAddress.parse(f"person{one}@corp.example.com") for one in range(0, PEOPLE, 2)]
    before = PolicySet.build([Policy(policy_id="staff", who=_STAFF)])
    return before, PolicySet.build([Policy(policy_id="staff", who=Who(emails=frozenset(some)))])


def _timed(minute: int) -> PolicySet:
    """Ten policies with working hours that begin so many minutes after the hour."""
    return PolicySet.build(
        Policy(
            policy_id=f"hours-{number}",
            who=_STAFF,
            when=When(
                day_starts=time_of_day(7 + number % 3, minute + number),
                day_ends=time_of_day(17, minute + number),
                weekdays=_WORKING_DAYS,
                zone=_ZONES[number % len(_ZONES)],
            ),
        )
        for number in range(TIMED_POLICIES)
    )


def _placed() -> _Pair:
    """From the office on working days, and then from less of it, with a limit to sessions."""

    def made(office: str) -> PolicySet:
        return PolicySet.build(
            [
                Policy(
                    policy_id="office",
                    who=_STAFF,
                    where=Where(
                        prefixes=frozenset(
                            {ip_network(office), ip_network("2001:db8:0:1000::/52")}
                        ),
                        asns_not=frozenset({64_777}),
                    ),
                    when=When(weekdays=_WORKING_DAYS, zone=_ZONES[0]),
                    max_session=timedelta(hours=8),
                )
            ]
        )

    return made("10.0.0.0/8"), made("10.0.0.0/13")


def _measure(store: Store, title: str, before: PolicySet, after: PolicySet) -> list[Row]:
    tried = [
        Trial(
            socket=Socket(
                socket_id=f"socket-{number}",
                dns_name=f"s{number}.example.com",
                socket_type=SocketType.HTTP,
                epoch=1,
            ),
            before=before,
            after=after,
        )
        for number in range(SOCKETS)
    ]
    started, processor = time.perf_counter(), time.process_time()
    outcome = None
    for outcome in replay(store, tried, since=BEGIN):
        _show(title, outcome.done, outcome.total)
    assert outcome is not None
    seconds, busy = time.perf_counter() - started, time.process_time() - processor
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    name = f"replay of {outcome.done} records, {title}"
    return [
        (name, seconds, "s", "", 0.0),
        (f"{name}, processor", busy, "s", "", 0.0),
        (f"{name}, memory of the process", memory, "MiB", "", 0.0),
    ]


def _show(title: str, done: int, total: int) -> None:
    """A bar on the terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        return
    filled = _BAR * done // max(total, 1)
    end = "\n" if done >= total else ""
    bar = "#" * filled + "." * (_BAR - filled)
    print(f"\r{title[:24]:24} [{bar}] {done:>9,} / {total:,}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
