"""Revocations, and which certificates that are still good they name.

A revocation ends its socket's epoch in the same transaction, so that every grant made before ends
at once, and writes nothing else but its own row: that takes as long whatever else stands. What
stands and what was lifted is one row each, kept for the record; who is blocked (``store.blocked``)
and what a revocation means for certificates is looked up from them each time, so an issuance that
raced with it is found too.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from idp_gateway.errors import Conflict, NotFound, QuotaExceeded
from idp_gateway.records import (
    CertificateKind,
    ChangeKind,
    RevocationRecord,
    RevocationScope,
    SocketRecord,
)
from idp_gateway.store.base import StorePart, columns_for, find_one, note_change, values_of
from idp_gateway.store.blocked import BLOCKING, count_standing, standing_of
from idp_gateway.store.issuance import CERTIFICATES
from idp_gateway.store.named import REVOCATIONS, RevokedCertificate, revoked_among
from idp_gateway.store.sockets import SOCKETS, owned_socket

MAX_STANDING = 10_000
"""Revocations of one socket and scope that are not lifted; those of certificates do not count for
ever, and those of a whole socket not at all."""
MAX_KEPT = 20
"""Revocations of one person, key or whole socket that are kept, lifted ones too: a later one names
what those before it did, and every one costs a look-up for each certificate."""
MAX_LISTED = 100_000
"""Certificates the revocation list of one socket may name."""

# The epoch is text in the row, and databases differ in reading it.
_HIGHEST_EPOCH = (func.length(REVOCATIONS.c.value).desc(), REVOCATIONS.c.value.desc())
_REVOCABLE = (CertificateKind.SSH_USER, CertificateKind.X509_CLIENT, CertificateKind.SSH_HOST)
_LONGEST_CERTIFICATE = timedelta(days=32)
"""After this no certificate that was revoked is good: ``MAX_HOST_LIFE`` and a day."""


class RevocationStore(StorePart):
    """Table ``revocations``."""

    def add_revocation(self, account_id: str, wanted: RevocationRecord) -> RevocationRecord:
        """Keep a revocation; one that stands already is not made twice.

        For a whole socket the record's value becomes the epoch that ends.

        Raises:
            NotFound: the socket is not the account's, or has no such certificate.
            QuotaExceeded: as many of this scope stand as may stand; never for a whole socket.
        """
        with self.database.changing() as connection:
            socket = owned_socket(connection, account_id, wanted.socket_id)
            if wanted.scope is RevocationScope.SERIAL:
                _check_certificate(connection, wanted)
            standing = _standing(connection, wanted)
            if standing is not None:
                return standing
            record = _kept(connection, socket, wanted)
            _end_epoch(connection, socket, wanted.created_at)
        return record

    def lift_revocation(
        self, account_id: str, socket_id: str, revocation_id: str, now: datetime
    ) -> RevocationRecord:
        """Readmit a person or a key; certificates revoked before stay revoked.

        If no epoch ended when it was made, this one does: what is given out from now on differs
        from what was before by that alone.

        Raises:
            NotFound: no such socket of the account, or no such revocation of it.
            Conflict: it names certificates only, which nothing brings back.
        """
        with self.database.changing() as connection:
            socket = owned_socket(connection, account_id, socket_id)
            found = _get_revocation(connection, socket_id, revocation_id)
            if found.scope not in BLOCKING:
                raise Conflict(
                    "a certificate that was revoked stays revoked", reason="revocation-final"
                )
            if found.lifted_at is not None:
                return found
            values: dict[str, Any] = {"lifted_at": now}
            if found.ended_epoch is None:
                values["ended_epoch"] = socket.epoch
                _end_epoch(connection, socket, now)
            connection.execute(
                update(REVOCATIONS)
                .where(REVOCATIONS.c.revocation_id == revocation_id)
                .values(values)
            )
            return _get_revocation(connection, socket_id, revocation_id)

    def revocations_of(
        self, account_id: str, socket_id: str, *, offset: int = 0, limit: int | None = None
    ) -> tuple[RevocationRecord, ...]:
        """Some or all of the socket's revocations, newest first, lifted ones too.

        Raises:
            NotFound: there is no such socket, or it is another account's.
        """
        with self.database.reading() as connection:
            owned_socket(connection, account_id, socket_id)
            query = (
                select(*columns_for(RevocationRecord, REVOCATIONS))
                .where(REVOCATIONS.c.socket_id == socket_id)
                .order_by(REVOCATIONS.c.created_at.desc(), REVOCATIONS.c.revocation_id)
                .offset(offset)
                .limit(limit)
            )
            rows = connection.execute(query).mappings()
            return tuple(RevocationRecord(**row) for row in rows)

    def live_revoked(
        self,
        now: datetime,
        *,
        kinds: Sequence[CertificateKind],
        socket_id: str | None = None,
        ca_key_id: str | None = None,
        serial: str | None = None,
    ) -> tuple[RevokedCertificate, ...]:
        """Certificates of these kinds that are revoked and have not expired; of one socket, or all,
        and of one CA key, or this very one.

        Ordered by serial.

        Raises:
            QuotaExceeded: of one socket more than one list may name; its CA has to be replaced
                instead.
        """
        # What all share has no bound: one who revokes much would keep it from all the others.
        most = None if socket_id is None else MAX_LISTED
        only = [CERTIFICATES.c.not_after > now, CERTIFICATES.c.kind.in_(kinds)]
        if socket_id is None:
            # Of all others none is revoked, and an index finds what these have that is still good.
            revoking = select(REVOCATIONS.c.socket_id).distinct()
            only.append(CERTIFICATES.c.socket_id.in_(revoking))
        if ca_key_id is not None:
            only.append(CERTIFICATES.c.ca_key_id == ca_key_id)
        if serial is not None:
            only.append(CERTIFICATES.c.serial == serial)
        with self.database.reading() as connection:
            found = revoked_among(
                connection, *only, socket_id=socket_id, most=None if most is None else most + 1
            )
        if most is not None and len(found) > most:
            raise QuotaExceeded(
                f"more than {MAX_LISTED} certificates are revoked; rotate the CA instead",
                reason="too-many-revoked",
            )
        return tuple(sorted(found, key=attrgetter("serial")))

    def count_revoked_by(self, record: RevocationRecord, now: datetime) -> int:
        """How many certificates one revocation names that have not expired.

        Of more than a list may name it says no more than that.
        """
        only = (CERTIFICATES.c.not_after > now, CERTIFICATES.c.kind.in_(_REVOCABLE))
        by = REVOCATIONS.c.revocation_id == record.revocation_id
        with self.database.reading() as connection:
            found = revoked_among(
                connection, *only, socket_id=record.socket_id, by=by, most=MAX_LISTED + 1
            )
        return len(found)

    def forget_revocations(self, now: datetime) -> None:
        """Remove those of sockets that are gone, once nothing they name can still be good."""
        kept = select(SOCKETS.c.socket_id)
        with self.database.writing() as connection:
            connection.execute(
                delete(REVOCATIONS).where(
                    REVOCATIONS.c.created_at < now - _LONGEST_CERTIFICATE,
                    REVOCATIONS.c.socket_id.not_in(kept),
                )
            )

    def a_certificate_by(self, ca_key_id: str) -> str | None:
        """The body of one certificate that a CA key signed."""
        query = select(CERTIFICATES.c.body).where(CERTIFICATES.c.ca_key_id == ca_key_id).limit(1)
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()


def _end_epoch(connection: Connection, socket: SocketRecord, now: datetime) -> None:
    connection.execute(
        update(SOCKETS)
        .where(SOCKETS.c.socket_id == socket.socket_id)
        .values(epoch=socket.epoch + 1)
    )
    note_change(connection, ChangeKind.SOCKET, [socket.socket_id], now)


def _get_revocation(connection: Connection, socket_id: str, revocation_id: str) -> RevocationRecord:
    found = find_one(
        connection,
        RevocationRecord,
        REVOCATIONS,
        REVOCATIONS.c.revocation_id == revocation_id,
        REVOCATIONS.c.socket_id == socket_id,
    )
    if found is None:
        raise NotFound("no such revocation", reason="revocation-unknown")
    return found


def _check_certificate(connection: Connection, wanted: RevocationRecord) -> None:
    query = select(CERTIFICATES.c.serial).where(
        CERTIFICATES.c.serial == wanted.value,
        CERTIFICATES.c.socket_id == wanted.socket_id,
        CERTIFICATES.c.kind.in_(_REVOCABLE),
    )
    if connection.execute(query).first() is None:
        raise NotFound(
            "no certificate with this serial was issued for this socket",
            reason="certificate-unknown",
        )


def _standing(connection: Connection, wanted: RevocationRecord) -> RevocationRecord | None:
    if wanted.scope is RevocationScope.SOCKET:
        return None
    return find_one(
        connection,
        RevocationRecord,
        REVOCATIONS,
        standing_of(wanted.socket_id, wanted.scope),
        REVOCATIONS.c.value == wanted.value,
    )


def _kept(
    connection: Connection, socket: SocketRecord, wanted: RevocationRecord
) -> RevocationRecord:
    _check_room(connection, wanted)
    values = values_of(wanted) | {"ended_epoch": socket.epoch}
    if wanted.scope is RevocationScope.SOCKET:
        values["value"] = str(socket.epoch)
    connection.execute(insert(REVOCATIONS).values(values))
    _forget_superseded(connection, wanted)
    return RevocationRecord(**values)


def _forget_superseded(connection: Connection, wanted: RevocationRecord) -> None:
    """Remove the oldest of those that name nothing the newest does not."""
    alike = [REVOCATIONS.c.socket_id == wanted.socket_id, REVOCATIONS.c.scope == wanted.scope]
    newest: tuple[ColumnElement[Any], ...] = (REVOCATIONS.c.created_at.desc(),)
    if wanted.scope is RevocationScope.SOCKET:
        newest = _HIGHEST_EPOCH
    else:
        alike += [REVOCATIONS.c.value == wanted.value, REVOCATIONS.c.lifted_at.is_not(None)]
    query = select(REVOCATIONS.c.revocation_id).where(*alike).order_by(*newest).limit(MAX_KEPT)
    kept = connection.execute(query).scalars().all()
    connection.execute(delete(REVOCATIONS).where(*alike, REVOCATIONS.c.revocation_id.not_in(kept)))


def _check_room(connection: Connection, wanted: RevocationRecord) -> None:
    # Each scope has room of its own, so that none keeps another from being revoked by; and what
    # ends everything has to go through however much was revoked before.
    if wanted.scope is RevocationScope.SOCKET:
        return
    counted = [standing_of(wanted.socket_id, wanted.scope)]
    if wanted.scope is RevocationScope.SERIAL:
        counted.append(REVOCATIONS.c.created_at > wanted.created_at - _LONGEST_CERTIFICATE)
    if count_standing(connection, *counted) >= MAX_STANDING:
        raise QuotaExceeded(
            f"no more than {MAX_STANDING} revocations by {wanted.scope} may stand on a socket; "
            "lift some, or revoke everything"
        )


def block_key(connection: Connection, wanted: RevocationRecord) -> None:
    """Revoke a key of a socket, however many stand, unless it is already; ends no epoch.

    For keys of hosts that are removed: of those there are no more than were enrolled. Nobody else
    has to come back for it, until it is lifted.
    """
    if _standing(connection, wanted) is not None:
        return
    connection.execute(insert(REVOCATIONS).values(values_of(wanted)))
