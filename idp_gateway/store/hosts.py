"""Servers whose sshd was enrolled for a socket."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from idp_gateway.errors import Conflict, KeyRevoked, NotFound, QuotaExceeded
from idp_gateway.records import (
    CertificateKind,
    CertificateRecord,
    ChangeKind,
    HostRecord,
    RevocationRecord,
    RevocationScope,
)
from idp_gateway.store.base import StorePart, find_all, find_one, note_change, values_of
from idp_gateway.store.blocked import count_standing, is_standing, standing_of
from idp_gateway.store.issuance import CERTIFICATES
from idp_gateway.store.revocations import MAX_STANDING, block_key
from idp_gateway.store.sockets import SOCKETS
from idp_gateway.tables import Host, table_of
from policy.types import Reason

HOSTS = table_of(Host)

MAX_HOSTS = 1_000
"""Of one socket."""


class HostStore(StorePart):
    """Table ``hosts``."""

    def keep_host(self, account_id: str, wanted: HostRecord) -> HostRecord:
        """Keep an enrolment; a key that is enrolled for the socket already keeps its host id.

        Raises:
            NotFound: the socket is not the account's.
            QuotaExceeded: the socket has as many hosts as it may have, or revoked keys.
            KeyRevoked: the key is revoked on the socket.
            Conflict: a host of this id was removed meanwhile.
        """
        with self.database.writing() as connection:
            # Locked, so that of two enrolments of one key the second finds the first.
            _check_owner(connection, account_id, wanted.socket_id, lock=True)
            known = find_one(
                connection,
                HostRecord,
                HOSTS,
                HOSTS.c.socket_id == wanted.socket_id,
                HOSTS.c.fingerprint == wanted.fingerprint,
                HOSTS.c.removed_at.is_(None),
            )
            _check_blocked(connection, wanted)
            values = values_of(wanted)
            if known is not None:
                values["host_id"] = known.host_id
                same = HOSTS.c.host_id == known.host_id
                connection.execute(update(HOSTS).where(same).values(values))
                return HostRecord(**values)
            count = select(func.count()).where(
                HOSTS.c.socket_id == wanted.socket_id, HOSTS.c.removed_at.is_(None)
            )
            if connection.execute(count).scalar_one() >= MAX_HOSTS:
                raise QuotaExceeded(f"no more than {MAX_HOSTS} hosts belong to a socket")
            _check_not_removed(connection, wanted)
            connection.execute(insert(HOSTS).values(values))
        return wanted

    def find_enrolled(self, socket_id: str, fingerprint: str) -> HostRecord | None:
        """The socket's host with this key."""
        with self.database.reading() as connection:
            return find_one(
                connection,
                HostRecord,
                HOSTS,
                HOSTS.c.socket_id == socket_id,
                HOSTS.c.fingerprint == fingerprint,
                HOSTS.c.removed_at.is_(None),
            )

    def find_host(self, host_id: str) -> HostRecord | None:
        """Any account's host by its id, also one that was removed."""
        with self.database.reading() as connection:
            return find_one(connection, HostRecord, HOSTS, HOSTS.c.host_id == host_id)

    def hosts_of(self, account_id: str, socket_id: str) -> tuple[HostRecord, ...]:
        """The socket's hosts that were not removed, oldest first.

        Raises:
            NotFound: there is no such socket, or it is another account's.
        """
        with self.database.reading() as connection:
            _check_owner(connection, account_id, socket_id)
            return find_all(
                connection,
                HostRecord,
                HOSTS,
                HOSTS.c.socket_id == socket_id,
                HOSTS.c.removed_at.is_(None),
                order_by=[HOSTS.c.enrolled_at, HOSTS.c.host_id],
            )

    def note_sync(
        self, host_id: str, *, number: int, trusted_cas: Sequence[str], now: datetime
    ) -> None:
        """Keep what a host says it has installed."""
        self._change(host_id, synced_number=number, trusted_cas=tuple(trusted_cas), seen_at=now)

    def note_shown(self, host_id: str, *, serial: str, not_after: datetime) -> None:
        """Keep which certificate a host says it has installed."""
        self._change(host_id, serial=serial, not_after=not_after)

    def newest_host_certificate(self, socket_id: str, fingerprint: str) -> CertificateRecord | None:
        """The host certificate last issued for a key of a socket, whatever became of it."""
        query = (
            select(CERTIFICATES.c.serial)
            .where(
                CERTIFICATES.c.socket_id == socket_id,
                CERTIFICATES.c.kind == CertificateKind.SSH_HOST,
                CERTIFICATES.c.public_key_fingerprint == fingerprint,
            )
            .order_by(CERTIFICATES.c.issued_at.desc(), CERTIFICATES.c.log_index.desc())
            .limit(1)
        )
        with self.database.reading() as connection:
            return find_one(
                connection,
                CertificateRecord,
                CERTIFICATES,
                CERTIFICATES.c.serial == query.scalar_subquery(),
            )

    def remove_host(
        self, account_id: str, socket_id: str, host_id: str, *, by: str, now: datetime
    ) -> None:
        """Forget a host, and revoke its key: that ends its certificates, those on their way too.

        Raises:
            NotFound: no such socket of the account, or no such host of it.
        """
        with self.database.changing() as connection:
            # Locked, so that an enrolment of the host comes before or after.
            _check_owner(connection, account_id, socket_id, lock=True)
            found = find_one(
                connection,
                HostRecord,
                HOSTS,
                HOSTS.c.host_id == host_id,
                HOSTS.c.socket_id == socket_id,
                HOSTS.c.removed_at.is_(None),
            )
            if found is None:
                raise NotFound("no such host", reason="host-unknown")
            connection.execute(
                update(HOSTS).where(HOSTS.c.host_id == host_id).values(removed_at=now)
            )
            revocation = RevocationRecord(
                revocation_id=str(uuid.uuid4()),
                socket_id=socket_id,
                scope=RevocationScope.KEY,
                value=found.fingerprint,
                reason=f"host {found.name} was removed",
                created_by=by,
                created_at=now,
            )
            block_key(connection, revocation)
            # What hosts are told counts by the revision.
            note_change(connection, ChangeKind.SOCKET, [socket_id], now)

    def _change(self, host_id: str, **values: Any) -> None:
        with self.database.writing() as connection:
            connection.execute(update(HOSTS).where(HOSTS.c.host_id == host_id).values(**values))


def _check_owner(
    connection: Connection, account_id: str, socket_id: str, *, lock: bool = False
) -> None:
    query = select(SOCKETS.c.socket_id).where(
        SOCKETS.c.socket_id == socket_id, SOCKETS.c.account_id == account_id
    )
    if connection.execute(query.with_for_update() if lock else query).first() is None:
        raise NotFound("no such socket", reason=Reason.SOCKET_UNKNOWN)


def _check_blocked(connection: Connection, wanted: HostRecord) -> None:
    by_key = wanted.socket_id, RevocationScope.KEY
    if is_standing(connection, *by_key, wanted.fingerprint):
        raise KeyRevoked(
            "this host key was revoked for this socket; make a new one, or lift the revocation"
        )
    if count_standing(connection, standing_of(*by_key)) >= MAX_STANDING:
        raise QuotaExceeded(f"{MAX_STANDING} keys are revoked on this socket; lift some")


def _check_not_removed(connection: Connection, wanted: HostRecord) -> None:
    same = select(HOSTS.c.host_id).where(HOSTS.c.host_id == wanted.host_id)
    if connection.execute(same).first() is not None:
        raise Conflict("this host is being removed; enrol it again", reason="host-removed")
