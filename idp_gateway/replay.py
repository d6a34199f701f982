"""Asks recorded requests again, under the policies in force and under others, and compares.

Requests that are alike are decided once; where a rule looks at the time, as long as the decision
says that it would stand. Memory is bounded, whatever is on record.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from operator import itemgetter
from typing import Any

from idp_gateway.access import what_if
from idp_gateway.replay_outcome import Outcome
from idp_gateway.store import Store
from idp_gateway.store.replays import ASKED, AT, AUTHENTICATED_AT, moment
from policy.addresses import EmailAddress
from policy.errors import AddressError
from policy.names import GroupName
from policy.policy_set import PolicySet
from policy.types import (
    AccessRequest,
    Action,
    Assurance,
    Decision,
    Identity,
    IPAddress,
    Reason,
    Socket,
    When,
)

MAX_REMEMBERED = 100_000
"""Requests that are not decided twice, of sockets that are decided on alike."""

_FIELD = {name: place for place, name in enumerate(ASKED)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One socket with its policies in force, and those to be tried."""

    socket: Socket
    before: PolicySet
    after: PolicySet


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two decisions on one request, and until when they stand for ones like it."""

    request: AccessRequest
    before: Decision
    after: Decision
    until: datetime | None

    @property
    def differ(self) -> bool:
        return self.before.effect is not self.after.effect


_Shared = dict[tuple[Any, ...], dict[tuple[Any, ...], _Pair | None]]
"""What is decided already, for sockets that are decided on alike whatever the time."""


def replay(store: Store, trials: Sequence[Trial], *, since: datetime) -> Iterator[Outcome]:
    """Ask everything recorded about these sockets again; yields the one outcome as it grows."""
    by_id = {trial.socket.socket_id: trial for trial in trials}
    counts = store.count_decisions(list(by_id), since)
    outcome = Outcome(total=sum(counts.values()))
    yield outcome
    shared: _Shared = {}
    for socket_id in counts:
        run = _Run(by_id[socket_id], outcome, shared)
        for rows in store.decisions_since(socket_id, since):
            run.ask(rows)
            yield outcome


class _Run:
    """The replay of one socket."""

    def __init__(self, trial: Trial, outcome: Outcome, shared: _Shared) -> None:
        self._trial = trial
        self._outcome = outcome
        self._timed_before = looks_at_time(trial.before)
        self._timed_after = looks_at_time(trial.after)
        places = {_FIELD[name] for name in looked_at(trial.before) | looked_at(trial.after)}
        self._known: dict[tuple[Any, ...], _Pair | None] = {}
        if self._timed_before or self._timed_after:
            # Times begin anew with each socket, so nothing is shared.
            sets = (trial.before, trial.after)
            if any(policy.max_session for found in sets for policy in found.policies):
                places.add(AUTHENTICATED_AT)
        else:
            alike = (id(trial.before), id(trial.after), trial.socket.socket_type)
            self._known = shared.setdefault((*alike, trial.socket.blocked), self._known)
        self._key = itemgetter(*sorted(places))

    def ask(self, rows: Sequence[Sequence[Any]]) -> None:
        """Decide on some rows, which are in the order of their times."""
        known, key_of, outcome = self._known, self._key, self._outcome
        for row in rows:
            key = key_of(row)
            pair = known.get(key, _UNKNOWN)
            if pair is _UNKNOWN or (pair and pair.until and moment(row[AT]) >= pair.until):
                if len(known) >= MAX_REMEMBERED:
                    known.clear()
                pair = known[key] = self._decide(row, pair if pair is not _UNKNOWN else None)
            if pair is None:
                outcome.unreadable += 1
            elif pair.differ:
                self._note(row, pair)
        outcome.done += len(rows)

    def _decide(self, row: Sequence[Any], old: _Pair | None) -> _Pair | None:
        """Decide on a row; of ``old`` what does not look at the time still stands."""
        trial = self._trial
        if old is not None:
            request: AccessRequest | None = replace(old.request, at=moment(row[AT]))
        else:
            request = request_of(row, trial.socket)
        if request is None:
            return None
        before = after = None
        if old is not None:
            before = None if self._timed_before else old.before
            after = None if self._timed_after else old.after
        before = before or what_if(trial.before, request)
        after = after or what_if(trial.after, request)
        ends = [
            end
            for end in (
                _stands_until(before, request, timed=self._timed_before),
                _stands_until(after, request, timed=self._timed_after),
            )
            if end is not None
        ]
        return _Pair(request, before, after, min(ends, default=None))

    def _note(self, row: Sequence[Any], pair: _Pair) -> None:
        side = self._outcome.gain if pair.after.allowed else self._outcome.lose
        side.note(row, self._trial.socket, pair.before.reasons[0], pair.after.reasons[0])


_UNKNOWN: Any = object()
_LASTING = frozenset(
    {Reason.NOT_ON_LIST, Reason.NO_POLICY, Reason.EMAIL_UNVERIFIED, Reason.PERSON_REVOKED}
)
"""Whom no policy names is not admitted at any other time either."""


def looks_at_time(policies: PolicySet) -> bool:
    """Whether the time can matter to a decision, or how long ago somebody logged in."""
    return any(
        policy.when != When()
        or policy.max_session is not None
        or any(rule.when is not None for rule in policy.denies)
        for policy in policies.policies
    )


def looked_at(policies: PolicySet) -> set[str]:
    """The columns that can matter to a decision, beside times."""
    found = {"email", "service_account", "assurance", "action"}
    for policy in policies.policies:
        whos = [policy.who, *(rule.who for rule in policy.denies if rule.who)]
        wheres = [policy.where, *(rule.where for rule in policy.denies if rule.where)]
        needs = {
            "issuer": any(who.subjects for who in whos),
            "groups": any(who.groups for who in whos),
            "source_ip": any(where.prefixes or where.prefix_lists for where in wheres),
            "country": any(where.countries or where.countries_not for where in wheres),
            "asn": any(where.asns or where.asns_not for where in wheres),
            "client_proof": policy.client_proof,
        }
        found |= {name for name, needed in needs.items() if needed}
    return found | {"subject", "provider"} if "issuer" in found else found


def _stands_until(decision: Decision, request: AccessRequest, *, timed: bool) -> datetime | None:
    """The first moment at which the decision may be another; none if there is none."""
    if not timed or (not decision.allowed and decision.reasons[0] in _LASTING):
        return None
    # Any other denial does not say when it ends: it is looked at anew every time.
    return decision.expires_at if decision.allowed else request.at


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
            email=_email(values["email"]),
            name="",
            assurance=Assurance(values["assurance"]),
            groups=_groups(values["groups"]),
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


@lru_cache(10_000)
def _email(text: str | None) -> EmailAddress | None:
    return None if text is None else EmailAddress.parse(text)


@lru_cache(10_000)
def _groups(text: str) -> frozenset[GroupName]:
    return frozenset(map(GroupName.parse, json.loads(text)))
