"""Decisions of the last seconds that led to nothing, so that asking again fills no database.

A page with a hundred images asks a hundred times. Every request is decided on; but the same denial
of the same person from the same address is on record once, and the others name that record. Nobody
is told of a decision that allowed something and came to nothing, as the key was refused or too many
certificates were issued: of those, one in a while is on record.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from policy.types import AccessRequest, Action, Decision, Identity, IPAddress

Key = TypeVar("Key")
Value = TypeVar("Value")

REPEAT_WINDOW = timedelta(seconds=10)
"""How long a record stands for further denials like it."""
MAX_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Denial:
    """Everything a record says but its time; the identity differs from login to login."""

    identity: Identity
    socket_id: str
    epoch: int
    action: Action
    source_ip: IPAddress
    country: str | None
    asn: int | None
    client_proof: bool
    decision: Decision


@dataclass(frozen=True, slots=True)
class _Vain:
    """Who wanted what, and did not get it although they may."""

    issuer: str
    subject: str
    socket_id: str
    action: Action


class RecentDenials:
    """The decision ids of recent denials, and when others came to nothing; safe in any thread, of a
    bounded size.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[_Denial, tuple[str, datetime]] = OrderedDict()
        self._in_vain: OrderedDict[_Vain, datetime] = OrderedDict()

    def find(self, request: AccessRequest, decision: Decision) -> str | None:
        """The id of the record of a denial just like this one, if that is seconds old."""
        with self._lock:
            decision_id, at = self._known.get(_denial(request, decision), (None, request.at))
        return decision_id if timedelta(0) <= request.at - at < REPEAT_WINDOW else None

    def remember(self, request: AccessRequest, decision: Decision, decision_id: str) -> None:
        """A denial was put on record; allowing decisions are not for here."""
        if decision.allowed:
            return
        key = _denial(request, decision)
        with self._lock:
            _keep(self._known, key, (decision_id, request.at))

    def is_first_in_vain(self, request: AccessRequest) -> bool:
        """Whether an allowing decision that came to nothing is to be put on record: no other was
        lately, of that person for that socket. Asked by two at once, one of them is.
        """
        identity = request.identity
        key = _Vain(identity.issuer, identity.subject, request.socket.socket_id, request.action)
        with self._lock:
            at = self._in_vain.get(key)
            if at is not None and timedelta(0) <= request.at - at < REPEAT_WINDOW:
                return False
            _keep(self._in_vain, key, request.at)
        return True


def _keep(known: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > MAX_REMEMBERED:
        known.popitem(last=False)


def _denial(request: AccessRequest, decision: Decision) -> _Denial:
    return _Denial(
        identity=request.identity,
        socket_id=request.socket.socket_id,
        epoch=request.socket.epoch,
        action=request.action,
        source_ip=request.source_ip,
        country=request.country,
        asn=request.asn,
        client_proof=request.client_proof,
        decision=decision,
    )
