"""The audit of requests, guests and approval rules: written in the transaction it tells of."""

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from idp_gateway.approving import Person
from idp_gateway.request_records import (
    AccessEventKind,
    AccessEventRecord,
    AccessRequestRecord,
    GuestRecord,
)
from idp_gateway.store.base import StorePart, columns_for, values_of
from idp_gateway.store.rules import SOCKETS
from idp_gateway.tables import table_of
from idp_gateway.tables_of_requests import AccessEvent

EVENTS = table_of(AccessEvent)


class AccessEventStore(StorePart):
    """Table ``access_events``."""

    def access_events_page(
        self,
        account_id: str,
        *,
        socket_id: str | None = None,
        concerns: str | None = None,
        offset: int,
        limit: int,
    ) -> tuple[AccessEventRecord, ...]:
        """Some of what happened about the account's sockets, deleted ones too, newest first."""
        query = select(*columns_for(AccessEventRecord, EVENTS)).where(
            EVENTS.c.account_id == account_id
        )
        if socket_id is not None:
            query = query.where(EVENTS.c.socket_id == socket_id)
        if concerns is not None:
            query = query.where(EVENTS.c.concerns == concerns)
        query = query.order_by(EVENTS.c.entry_id.desc()).offset(offset).limit(limit)
        with self.database.reading() as connection:
            return tuple(AccessEventRecord(**row) for row in connection.execute(query).mappings())


def note_request(
    connection: Connection,
    kind: AccessEventKind,
    request: AccessRequestRecord,
    person: Person,
    *,
    at: datetime,
    words: str,
    minutes: int | None = None,
) -> None:
    """Record what somebody did about a request, which is given as it is afterwards."""
    led = {AccessEventKind.APPROVED, AccessEventKind.REVOKED, AccessEventKind.CANCELLED}
    _note(
        connection,
        AccessEventRecord(
            account_id=request.account_id,
            socket_id=request.socket_id,
            dns_name=_name_of(connection, request.socket_id),
            concerns=request.request_id,
            kind=kind,
            at=at,
            email=person.label,
            issuer=person.issuer,
            subject=person.subject,
            about=request.email,
            words=words,
            minutes=minutes,
            policy_id=request.policy_id if kind in led and request.starts_at else None,
            decision_id=request.decision_id,
        ),
    )


def note_guest(
    connection: Connection,
    kind: AccessEventKind,
    guest: GuestRecord,
    person: Person,
    *,
    at: datetime,
    words: str = "",
) -> None:
    """Record what somebody did about an invitation."""
    _note(
        connection,
        AccessEventRecord(
            account_id=guest.account_id,
            socket_id=guest.socket_id,
            dns_name=_name_of(connection, guest.socket_id),
            concerns=guest.guest_id,
            kind=kind,
            at=at,
            email=person.label,
            issuer=person.issuer,
            subject=person.subject,
            about=guest.email,
            words=words,
            policy_id=guest.policy_id,
        ),
    )


def note_rules(
    connection: Connection,
    account_id: str,
    socket_id: str,
    person: Person,
    *,
    at: datetime,
    words: str,
) -> None:
    """Record that the approval rules have changed, and to what."""
    _note(
        connection,
        AccessEventRecord(
            account_id=account_id,
            socket_id=socket_id,
            dns_name=_name_of(connection, socket_id) if socket_id else "",
            concerns="",
            kind=AccessEventKind.RULES_CHANGED,
            at=at,
            email=person.label,
            issuer=person.issuer,
            subject=person.subject,
            about="",
            words=words,
        ),
    )


def forget_events(connection: Connection, before: datetime) -> None:
    """Remove what happened before a moment."""
    connection.execute(delete(EVENTS).where(EVENTS.c.at < before))


def _note(connection: Connection, event: AccessEventRecord) -> None:
    connection.execute(insert(EVENTS).values(values_of(event)))


def _name_of(connection: Connection, socket_id: str) -> str:
    query = select(SOCKETS.c.dns_name).where(SOCKETS.c.socket_id == socket_id)
    return connection.execute(query).scalar_one_or_none() or ""
