"""Guests: one address, one socket, one window. A link lets nobody in; who claimed it is let in."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from idp_gateway.approving import Person
from idp_gateway.errors import Forbidden, InvalidInput, NotFound, QuotaExceeded
from idp_gateway.request_records import AccessEventKind, GuestRecord, GuestState
from idp_gateway.store.access_events import note_guest
from idp_gateway.store.base import StorePart, columns_for, find_all, find_one, in_parts, values_of
from idp_gateway.store.edge_limits import check_admitting, until_counted
from idp_gateway.store.rules import renew, touch
from idp_gateway.store.sockets import owned_socket
from idp_gateway.tables import table_of
from idp_gateway.tables_of_requests import Guest

GUESTS = table_of(Guest)

UNKNOWN = "invitation-unknown"
REFUSED = "invitation-for-another"


class GuestStore(StorePart):
    """Table ``guests``."""

    def add_guest(self, guest: GuestRecord, person: Person, *, limit: int) -> GuestRecord:
        """Keep an invitation.

        Raises:
            NotFound: the socket is not the account's.
            InvalidInput: the socket asks nobody who they are.
            QuotaExceeded: the socket has ``limit`` that are not over.
        """
        now = guest.created_at
        with self.database.changing() as connection:
            socket = owned_socket(connection, guest.account_id, guest.socket_id)
            if not socket.cloud_authentication_enabled:
                raise InvalidInput(
                    "this socket asks nobody who they are: set cloud_authentication_enabled first",
                    field="socket_id",
                    reason="policy-without-authentication",
                )
            query = select(func.count()).where(
                GUESTS.c.socket_id == guest.socket_id,
                GUESTS.c.ends_at > now,
                GUESTS.c.revoked_at.is_(None),
            )
            if connection.execute(query).scalar_one() >= limit:
                raise QuotaExceeded(f"no more than {limit} guests of a socket are allowed")
            connection.execute(insert(GUESTS).values(values_of(guest)))
            note_guest(connection, AccessEventKind.INVITED, guest, person, at=now, words=guest.note)
        return guest

    @until_counted
    def claim_guest(self, code_hash: str, person: Person, now: datetime) -> GuestRecord:
        """Pin an invitation to the first identity that comes with its link and has its address.

        Whoever claimed it may come again; it changes nothing.

        Raises:
            NotFound: no such invitation, or it is over or revoked.
            Forbidden: it is for another address, or somebody else has claimed it.
            Conflict: with somebody let in from anywhere, the socket would be closed for everybody,
                or is not known to stay open.
            QuotaExceeded: edges would be told too much of the account's sockets.
        """
        found = _claimable(self.find_guest(code_hash), person, now)
        if found.claimed_at is not None:
            return found
        with self.database.changing_of(f"claiming:{found.account_id}") as connection:
            one = find_one(connection, GuestRecord, GUESTS, GUESTS.c.code_hash == code_hash)
            found = _claimable(one, person, now)
            if found.claimed_at is not None:
                return found
            claimed = replace(
                found,
                claimed_at=now,
                issuer=person.issuer,
                subject=person.subject,
                provider=person.provider,
            )
            check_admitting(connection, found.account_id, found.socket_id, now)
            _write(connection, claimed)
            renew(connection, [found.socket_id], now)
            note_guest(connection, AccessEventKind.CLAIMED, claimed, person, at=now)
        return claimed

    def revoke_guest(
        self, account_id: str, guest_id: str, person: Person, now: datetime
    ) -> GuestRecord:
        """Let a guest in no longer; grants end with it. One that is over stays as it is.

        Raises:
            NotFound: the account has no such guest.
        """
        with self.database.changing() as connection:
            found = find_one(
                connection,
                GuestRecord,
                GUESTS,
                GUESTS.c.guest_id == guest_id,
                GUESTS.c.account_id == account_id,
            )
            if found is None:
                raise NotFound("no such guest", reason="guest-unknown")
            state = found.state_at(now)
            if state not in {GuestState.INVITED, GuestState.CLAIMED}:
                return found
            revoked = replace(found, revoked_at=now)
            _write(connection, revoked)
            if state is GuestState.CLAIMED:
                touch(connection, [found.socket_id], now)
            note_guest(connection, AccessEventKind.UNINVITED, revoked, person, at=now)
        return revoked

    def guests_of(
        self, account_id: str, socket_id: str, *, offset: int = 0, limit: int
    ) -> tuple[GuestRecord, ...]:
        """Some of the guests of one of the account's sockets, newest first.

        Raises:
            NotFound: there is no such socket, or it is another account's.
        """
        with self.database.reading() as connection:
            owned_socket(connection, account_id, socket_id)
            query = (
                select(*columns_for(GuestRecord, GUESTS))
                .where(GUESTS.c.socket_id == socket_id)
                .order_by(GUESTS.c.created_at.desc(), GUESTS.c.guest_id)
                .offset(offset)
                .limit(limit)
            )
            return tuple(GuestRecord(**row) for row in connection.execute(query).mappings())

    def find_guest(self, code_hash: str) -> GuestRecord | None:
        """The invitation a link leads to."""
        with self.database.reading() as connection:
            return find_one(connection, GuestRecord, GUESTS, GUESTS.c.code_hash == code_hash)

    def guests_admitted_on(
        self, socket_ids: Iterable[str], now: datetime
    ) -> tuple[GuestRecord, ...]:
        """Claimed invitations of these sockets that are not over."""
        with self.database.reading() as connection:
            return tuple(
                guest
                for part in in_parts(socket_ids)
                for guest in find_all(
                    connection,
                    GuestRecord,
                    GUESTS,
                    GUESTS.c.socket_id.in_(part),
                    GUESTS.c.claimed_at.is_not(None),
                    GUESTS.c.revoked_at.is_(None),
                    GUESTS.c.ends_at > now,
                )
            )


def forget_guests(connection: Connection, before: datetime) -> None:
    """Remove those that were over before a moment."""
    over = or_(GUESTS.c.ends_at < before, GUESTS.c.revoked_at < before)
    connection.execute(delete(GUESTS).where(over))


def _write(connection: Connection, guest: GuestRecord) -> None:
    connection.execute(
        update(GUESTS).where(GUESTS.c.guest_id == guest.guest_id).values(values_of(guest))
    )


def _claimable(found: GuestRecord | None, person: Person, now: datetime) -> GuestRecord:
    """The invitation, if this person may claim it or has done so."""
    running = {GuestState.INVITED, GuestState.CLAIMED}
    if found is None or found.state_at(now) not in running:
        raise NotFound("this invitation does not exist or is over", reason=UNKNOWN)
    claimant = (found.issuer, found.subject)
    if found.claimed_at is not None and claimant != (person.issuer, person.subject):
        raise _for_another()
    if found.claimed_at is None and person.email != found.email:
        raise _for_another()
    return found


def _for_another() -> Forbidden:
    return Forbidden("this invitation is for somebody else", reason=REFUSED)
