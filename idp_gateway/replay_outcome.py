"""What a replay has found: who would gain, who would lose, how many, and what cannot be told.

The numbers are exact, also of people and requests that are too many to be listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from idp_gateway.store.replays import ASKED, AT, moment
from policy.types import Reason, Socket

MAX_CHANGED = 10_000
"""People and sockets that are listed as gaining, and as many as losing; more are counted only."""

_FIELD = {name: place for place, name in enumerate(ASKED)}


@dataclass(slots=True, kw_only=True)
class Change:
    """Somebody who would be let in, or kept out, where it was the other way round before."""

    email: str | None
    issuer: str
    subject: str
    service_account: str | None
    socket: Socket
    action: str
    count: int
    first_seen: Any
    last_seen: Any
    before: Reason
    after: Reason

    def to_json(self) -> dict[str, Any]:
        """As the API shows it; the reasons are those of the first request that changed."""
        return {
            "email": self.email,
            "issuer": self.issuer,
            "subject": self.subject,
            "service_account": self.service_account,
            "socket_id": self.socket.socket_id,
            "dnsname": self.socket.dns_name,
            "action": self.action,
            "count": self.count,
            "first_seen": moment(self.first_seen).isoformat(),
            "last_seen": moment(self.last_seen).isoformat(),
            "before": str(self.before),
            "after": str(self.after),
        }


@dataclass(slots=True)
class Side:
    """Those who gain, or those who lose."""

    requests: int = 0
    truncated: bool = False
    """Whether some are counted only."""
    changes: dict[tuple[Any, ...], Change] = field(default_factory=dict)
    _people: set[int] = field(default_factory=set)
    """Hashes of 64 bits, so that a million people take tens of megabytes."""

    @property
    def people(self) -> int:
        """People and programs; somebody with one address at two providers is one."""
        return len(self._people)

    def note(self, row: Sequence[Any], socket: Socket, before: Reason, after: Reason) -> None:
        """Count one request."""
        self.requests += 1
        email, issuer, subject, program, action = _said(row)
        self._people.add(hash((program, email) if program or email else (issuer, subject, None)))
        key = (email, issuer, subject, program, socket.socket_id, action)
        change = self.changes.get(key)
        if change is not None:
            change.count += 1
            change.last_seen = row[AT]
        elif len(self.changes) >= MAX_CHANGED:
            self.truncated = True
        else:
            self.changes[key] = Change(
                email=email,
                issuer=issuer,
                subject=subject,
                service_account=program,
                socket=socket,
                action=str(action),
                count=1,
                first_seen=row[AT],
                last_seen=row[AT],
                before=before,
                after=after,
            )

    def to_json(self) -> list[dict[str, Any]]:
        """Those listed, most frequent first."""
        ordered = sorted(self.changes.values(), key=lambda change: -change.count)
        return [change.to_json() for change in ordered]


def _said(row: Sequence[Any]) -> tuple[Any, ...]:
    names = ("email", "issuer", "subject", "service_account", "action")
    return tuple(row[_FIELD[name]] for name in names)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a replay has found so far."""

    total: int
    done: int = 0
    gain: Side = field(default_factory=Side)
    lose: Side = field(default_factory=Side)
    unreadable: int = 0
    """Records from before enough was recorded to ask again: whether those would gain or lose is not
    known."""

    def to_json(self) -> dict[str, Any]:
        """As the API shows it: ``gained`` and ``lost`` are requests."""
        return {
            "records": self.done,
            "changed": self.gain.requests + self.lose.requests,
            "gained": self.gain.requests,
            "lost": self.lose.requests,
            "people_gained": self.gain.people,
            "people_lost": self.lose.people,
            "unreadable": self.unreadable,
            "truncated": self.gain.truncated or self.lose.truncated,
            "gain": self.gain.to_json(),
            "lose": self.lose.to_json(),
        }
