"""People and requests for the tests of asking and answering."""

import dataclasses
import itertools
from datetime import datetime, timedelta
from typing import Any

from idp_gateway.approving import Person
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.request_records import AccessRequestRecord, ApprovalRulesRecord, GuestRecord
from idp_gateway.store import Store
from idp_gateway.store.access_requests import AskingLimits
from policy.types import Action
from tests.support.rows import NOW

LIMITS = AskingLimits()
_numbers = itertools.count(1)


def person(name: str, **changes: Any) -> Person:
    """Somebody an OpenID provider vouches for."""
    plain = Person(
        issuer="https://idp.test",
        subject=f"subject of {name}",
        provider="okta",
        name=name,
        email=f"{name}@corp.test",
        account_id=None,
    )
    return dataclasses.replace(plain, **changes)


def owner_person(owner: AccountRecord) -> Person:
    """The owner, signed in with their local account."""
    return person(
        "owner",
        issuer="https://gateway.test",
        subject=owner.account_id,
        provider="local",
        email=owner.email,
        account_id=owner.account_id,
        account_email=owner.email,
    )


def request_of(asker: Person, socket: SocketRecord, **changes: Any) -> AccessRequestRecord:
    """A request as it is before it is kept."""
    assert asker.email is not None
    plain = AccessRequestRecord(
        request_id=f"request-{next(_numbers)}",
        account_id=socket.account_id,
        socket_id=socket.socket_id,
        action=Action.HTTP,
        decision_id="decision",
        issuer=asker.issuer,
        subject=asker.subject,
        provider=asker.provider,
        email=asker.email,
        name=asker.name,
        asker_account_id=asker.account_id,
        reason="on call",
        minutes=60,
        needed=1,
        created_at=NOW,
        over_at=NOW + timedelta(days=7),
    )
    return dataclasses.replace(plain, **changes)


def ask(
    store: Store, asker: Person, socket: SocketRecord, *, limits: AskingLimits = LIMITS, **more: Any
) -> AccessRequestRecord:
    """Keep a request."""
    at: datetime = more.get("created_at", NOW)
    more = {"over_at": at + timedelta(days=7)} | more
    return store.add_access_request(request_of(asker, socket, **more), asker, limits)


def rule(
    store: Store, owner: AccountRecord, *approvers: str, socket_id: str = "", **fields: Any
) -> None:
    """Set the approval rules of a socket or account."""
    wanted = ApprovalRulesRecord(
        account_id=owner.account_id, socket_id=socket_id, approvers=approvers, **fields
    )
    store.set_approval_rules(wanted, owner_person(owner), why="", now=NOW)


def guest_of(socket: SocketRecord, **changes: Any) -> GuestRecord:
    """An invitation of ann@corp.test for an hour."""
    plain = GuestRecord(
        guest_id=f"guest-{next(_numbers)}",
        account_id=socket.account_id,
        socket_id=socket.socket_id,
        email="ann@corp.test",
        code_hash=f"hash-{next(_numbers)}",
        starts_at=NOW,
        ends_at=NOW + timedelta(hours=1),
        note="auditor",
        created_by="owner",
        created_at=NOW,
    )
    return dataclasses.replace(plain, **changes)
