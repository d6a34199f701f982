"""How fast recorded decisions are asked again: ``python -m bench.replay [RECORDS]``.

A database is filled with decisions as the gateway records them, at all hours (people, addresses and
sockets repeat as they do in life), and replayed on one core under other policies: one that looks at
no time, and ten that all name everybody, each with working hours of its own in zones that change
their clocks. Both sides have them, so most requests are denied on one side or both.
"""

import argparse
import contextlib
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

from idp_gateway.records import DecisionRecord
from idp_gateway.replay import Trial, replay
from idp_gateway.store import Database, Store
from idp_gateway.store.issuance import DECISIONS
from idp_gateway.store.migrate import upgrade
from idp_gateway.store.quick import Insertion
from policy.addresses import DomainName, EmailAddress
from policy.policy_set import PolicySet
from policy.types import Action, Assurance, Effect, Policy, Socket, SocketType, Weekday, When, Who

RECORDS = 1_000_000
PEOPLE = 2_000
SOCKETS = 50
TIMED_POLICIES = 10
BEGIN = datetime(2026, 3, 10, tzinfo=UTC)
"""Clocks are put forward in Europe within the month that follows."""
_ZONES = ("Europe/Amsterdam", "Europe/London", "Europe/Athens", "UTC", "America/New_York")
_STAFF = Who(domains=frozenset({DomainName.parse("corp.example.com")}))
_AT_ONCE = 10_000
_BAR = 40


Row = tuple[str, float, str, str, float]


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
        database = Database(f"sqlite:///{Path(directory) / 'replay.db'}")
        with contextlib.closing(database):
            _fill(database, records)
            return [
                row
                for title, timed in (
                    ("no rule looks at the time", False),
                    ("ten policies with working hours", True),
                )
                for row in _measure(Store(database), title, timed=timed)
            ]


def _fill(database: Database, records: int) -> None:
    with database.writing() as connection:
        upgrade(connection)
    insertion = Insertion(DecisionRecord, DECISIONS, database.engine.dialect)
    made = _decisions(records)
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


def _anywhere(draw: random.Random) -> str:
    return f"198.51.100.{draw.randrange(250)}"


def _untimed() -> tuple[PolicySet, PolicySet]:
    some = [EmailAddress.parse(f"person{one}@corp.example.com") for one in range(0, PEOPLE, 2)]
    before = PolicySet.build([Policy(policy_id="staff", who=_STAFF)])
    return before, PolicySet.build([Policy(policy_id="staff", who=Who(emails=frozenset(some)))])


def _timed(minute: int) -> PolicySet:
    """Ten policies with working hours that begin so many minutes after the hour."""
    days = frozenset(Weekday) - {Weekday.SATURDAY, Weekday.SUNDAY}
    return PolicySet.build(
        Policy(
            policy_id=f"hours-{number}",
            who=_STAFF,
            when=When(
                day_starts=time_of_day(7 + number % 3, minute + number),
                day_ends=time_of_day(17, minute + number),
                weekdays=days,
                zone=_ZONES[number % len(_ZONES)],
            ),
        )
        for number in range(TIMED_POLICIES)
    )


def _measure(store: Store, title: str, *, timed: bool) -> list[Row]:
    before, after = (_timed(0), _timed(15)) if timed else _untimed()
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
