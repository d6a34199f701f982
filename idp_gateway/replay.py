"""Asks recorded requests again, under the policies in force and under others, and compares.

Requests that are alike are decided once; where a rule looks at the time, once for all moments at
which the same windows are open. Memory is bounded, whatever is on record.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, NamedTuple

from idp_gateway.access import what_if
from idp_gateway.replay_kinds import RowKinds, email_of, groups_of
from idp_gateway.replay_outcome import Outcome
from idp_gateway.replay_times import Times
from idp_gateway.store import Store
from idp_gateway.store.replays import ASKED, AT, AUTHENTICATED_AT, moment
from policy.addresses import EmailAddress
from policy.errors import AddressError
from policy.policy_set import PolicySet
from policy.types import (
    AccessRequest,
    Action,
    Assurance,
    Identity,
    IPAddress,
    Reason,
    Socket,
)

MAX_REMEMBERED = 100_000
"""Requests that are not decided twice, of sockets that are decided on alike."""
MAX_STOPPED, MAX_STOPPED_SIZE = 64, 2_000
"""Sets of policies that are made ready for moments that are alike, and entries of each: making
ready more would take longer, and more memory, than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One socket with its policies in force, and those to be tried."""

    socket: Socket
    before: PolicySet
    after: PolicySet


class _Answer(NamedTuple):
    """What was decided; without what only a grant needs, which may be large."""

    allowed: bool
    reason: Reason


_Pair = tuple[_Answer, _Answer]
_Key = tuple[Any, ...]


def replay(store: Store, trials: Sequence[Trial], *, since: datetime) -> Iterator[Outcome]:
    """Ask everything recorded about these sockets again; yields the one outcome as it grows."""
    by_id = {trial.socket.socket_id: trial for trial in trials}
    counts = store.count_decisions(list(by_id), since)
    outcome = Outcome(total=sum(counts.values()))
    yield outcome
    for alike in _alike([by_id[socket_id] for socket_id in counts]):
        run = _Run(alike[0], outcome)
        for trial in alike:
            for rows in store.decisions_since(trial.socket.socket_id, since):
                run.ask(trial.socket, rows)
                yield outcome


def _alike(trials: Sequence[Trial]) -> list[list[Trial]]:
    """The trials in groups of which every one would be decided on as the others."""
    groups: dict[_Key, list[Trial]] = defaultdict(list)
    for trial in trials:
        socket = trial.socket
        key = id(trial.before), id(trial.after), socket.socket_type, socket.blocked
        groups[key].append(trial)
    return list(groups.values())


class _Run:
    """The replay of sockets that are decided on alike."""

    def __init__(self, trial: Trial, outcome: Outcome) -> None:
        self._outcome = outcome
        blocked = trial.socket.blocked
        self._before, self._after = (
            _Policies(trial.before, blocked),
            _Policies(trial.after, blocked),
        )
        self._timed = self._before.times.matter or self._after.times.matter
        self._kind = RowKinds((trial.before, trial.after), blocked).of
        self._known: dict[_Key, _Pair | None] = {}

    def ask(self, socket: Socket, rows: Sequence[Sequence[Any]]) -> None:
        """Decide on some rows about one of the sockets."""
        known, kind_of, outcome = self._known, self._kind, self._outcome
        before, after = self._before.times, self._after.times
        logins = before.logins_matter or after.logins_matter
        moments: tuple[Any, ...] = ()
        for row in rows:
            if self._timed:
                at = moment(row[AT])
                login = row[AUTHENTICATED_AT] if logins else None
                age = None if login is None else at - moment(login)
                moments = before.kind(at, age), after.kind(at, age)
            key = (kind_of(row), moments)
            pair = known.get(key, _UNKNOWN)
            if pair is _UNKNOWN:
                if len(known) >= MAX_REMEMBERED:
                    known.clear()
                pair = known[key] = self._decide(row, socket, moments)
            if pair is None:
                outcome.unreadable += 1
            elif pair[0].allowed is not pair[1].allowed:
                side = outcome.gain if pair[1].allowed else outcome.lose
                side.note(row, socket, pair[0].reason, pair[1].reason)
        outcome.done += len(rows)

    def _decide(self, row: Sequence[Any], socket: Socket, moments: _Key) -> _Pair | None:
        request = request_of(row, socket)
        if request is None:
            return None
        before, after = moments or (None, None)
        return self._before.answer(row, request, before), self._after.answer(row, request, after)


class _Policies:
    """One side of a trial. What does not change on the other need not be decided again."""

    def __init__(self, policies: PolicySet, blocked: frozenset[EmailAddress]) -> None:
        self.times = Times(policies)
        self._policies = policies
        self._kind = RowKinds((policies,), blocked).of
        self._known: dict[_Key, _Answer] = {}
        self._stopped: dict[int, PolicySet] = {}
        self._small = self.times.matter and policies.size <= MAX_STOPPED_SIZE

    def answer(self, row: Sequence[Any], request: AccessRequest, kind: Any) -> _Answer:
        """The decision on ``request``, made of ``row``, at a moment of that kind."""
        key = (self._kind(row), kind)
        answer = self._known.get(key)
        if answer is None:
            decision = what_if(self._at(kind), request)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            answer = self._known[key] = _Answer(decision.allowed, decision.reasons[0])
        return answer

    def _at(self, kind: Any) -> PolicySet:
        """The policies to ask at moments of that kind."""
        if not self._small:
            return self._policies
        opened = kind[0]
        if opened not in self._stopped and len(self._stopped) < MAX_STOPPED:
            self._stopped[opened] = self.times.stopped(self._policies, opened)
        return self._stopped.get(opened, self._policies)


_UNKNOWN: Any = object()


def request_of(row: Sequence[Any], socket: Socket) -> AccessRequest | None:
    """The request a row tells of; none if it was recorded before that could be told."""
    values: Mapping[str, Any] = dict(zip(ASKED, row, strict=False))
    if values["assurance"] is None or row[AUTHENTICATED_AT] is None:
        return None
    try:
        identity = Identity(
            issuer=values["issuer"],
            subject=values["subject"],
            provider=values["provider"] or "",
            email=email_of(values["email"]),
            name="",
            assurance=Assurance(values["assurance"]),
            groups=groups_of(values["groups"]),
            service_account=values["service_account"],
            authenticated_at=moment(row[AUTHENTICATED_AT]),
        )
        return AccessRequest(
            identity=identity,
            socket=socket,
            action=Action(values["action"]),
            source_ip=_address(values["source_ip"]),
            country=values["country"],
            asn=values["asn"],
            client_proof=bool(values["client_proof"]),
            at=moment(row[AT]),
        )
    except (AddressError, ValueError):
        return None


@lru_cache(10_000)
def _address(text: str) -> IPAddress:
    return ip_address(text)
