"""Login sessions and everything that is used once on the way to one."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import Table, delete, func, insert, or_, select, update

from idp_gateway.errors import NotFound
from idp_gateway.records import (
    DeviceCodeRecord,
    DeviceState,
    LoginAttemptRecord,
    LoginSessionRecord,
    OneTimeCodeRecord,
    SocketSessionRecord,
)
from idp_gateway.store.base import StorePart, columns_for, find_one, values_of
from idp_gateway.store.quick import Lookup
from idp_gateway.tables import (
    DeviceCode,
    LoginAttempt,
    LoginFailure,
    LoginSession,
    OneTimeCode,
    SocketSession,
    table_of,
)

SESSIONS = table_of(LoginSession)
ATTEMPTS = table_of(LoginAttempt)
SOCKET_SESSIONS = table_of(SocketSession)
CODES = table_of(OneTimeCode)
DEVICE_CODES = table_of(DeviceCode)
FAILURES = table_of(LoginFailure)

_KEEP_FAILURES = timedelta(days=1)


class LoginStore(StorePart):
    """Tables of sessions, login attempts, one-time and device codes, and failed logins."""

    @cached_property
    def _session_by_id(self) -> Lookup[LoginSessionRecord]:
        return Lookup(self.database, LoginSessionRecord, SESSIONS, "session_id")

    def add_login_session(self, session: LoginSessionRecord) -> None:
        """Keep a new login session."""
        self._insert(SESSIONS, session)

    def find_login_session(self, session_id: str) -> LoginSessionRecord | None:
        """The session, revoked or over as it may be: ask its ``stands``."""
        return self._session_by_id.find(session_id)

    def renew_login_session(self, session: LoginSessionRecord, *, renewed_id: str) -> bool:
        """Keep a session that continues ``renewed_id``; not if that was revoked meanwhile."""
        query = (
            select(SESSIONS.c.revoked_at)
            .where(SESSIONS.c.session_id == renewed_id)
            .with_for_update()
        )
        with self.database.writing() as connection:
            found = connection.execute(query).first()
            if found is None or found.revoked_at is not None:
                return False
            connection.execute(insert(SESSIONS).values(values_of(session)))
        return True

    def revoke_login_session(self, session_id: str, now: datetime) -> None:
        """End a session for good, with the one its login began with and every renewal of that.

        One that is unknown or revoked already stays as it is.
        """
        with self.database.writing() as connection:
            found = find_one(
                connection, LoginSessionRecord, SESSIONS, SESSIONS.c.session_id == session_id
            )
            if found is None:
                return
            same_login = or_(
                SESSIONS.c.session_id == found.first_id, SESSIONS.c.renews == found.first_id
            )
            # On PostgreSQL a renewal under way holds one of these; its row is seen by what follows.
            connection.execute(select(SESSIONS.c.session_id).where(same_login).with_for_update())
            connection.execute(
                update(SESSIONS)
                .where(same_login, SESSIONS.c.revoked_at.is_(None))
                .values(revoked_at=now)
            )

    def add_login_attempt(self, attempt: LoginAttemptRecord) -> None:
        """Keep what a provider's answer will be checked against."""
        self._insert(ATTEMPTS, attempt)

    def consume_login_attempt(self, attempt_id: str, now: datetime) -> LoginAttemptRecord | None:
        """Use an attempt up; ``None`` if it is unknown, used or too old."""
        query = (
            update(ATTEMPTS)
            .where(
                ATTEMPTS.c.attempt_id == attempt_id,
                ATTEMPTS.c.consumed_at.is_(None),
                ATTEMPTS.c.expires_at > now,
            )
            .values(consumed_at=now)
            .returning(*columns_for(LoginAttemptRecord, ATTEMPTS))
        )
        with self.database.writing() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else LoginAttemptRecord(**row)

    def add_socket_session(self, session: SocketSessionRecord) -> None:
        """Tie a socket to a login session."""
        self._insert(SOCKET_SESSIONS, session)

    def find_socket_session(self, socket_session_id: str) -> SocketSessionRecord | None:
        """What the ``sid`` of a session cookie stands for."""
        with self.database.reading() as connection:
            return find_one(
                connection,
                SocketSessionRecord,
                SOCKET_SESSIONS,
                SOCKET_SESSIONS.c.socket_session_id == socket_session_id,
            )

    def add_one_time_code(self, code: OneTimeCodeRecord) -> None:
        """Keep a code's hash and what it is worth."""
        self._insert(CODES, code)

    def consume_one_time_code(
        self, code_hash: str, purpose: str, now: datetime
    ) -> Mapping[str, Any] | None:
        """Use a code up; ``None`` if it is unknown, for another purpose, used or too old."""
        query = (
            update(CODES)
            .where(
                CODES.c.code_hash == code_hash,
                CODES.c.purpose == purpose,
                CODES.c.consumed_at.is_(None),
                CODES.c.expires_at > now,
            )
            .values(consumed_at=now)
            .returning(CODES.c.payload)
        )
        with self.database.writing() as connection:
            payload: Mapping[str, Any] | None = connection.execute(query).scalar_one_or_none()
        return payload

    def add_device_code(self, code: DeviceCodeRecord) -> None:
        """Keep a device authorisation that waits for a person."""
        self._insert(DEVICE_CODES, code)

    def find_device_code_by_user_code(
        self, user_code: str, now: datetime
    ) -> DeviceCodeRecord | None:
        """The authorisation a person typed the code of, unless it is over."""
        with self.database.reading() as connection:
            return find_one(
                connection,
                DeviceCodeRecord,
                DEVICE_CODES,
                DEVICE_CODES.c.user_code == user_code,
                DEVICE_CODES.c.expires_at > now,
            )

    def decide_device_code(
        self, user_code: str, *, approve: bool, session_id: str | None, now: datetime
    ) -> None:
        """Approve (with the login session that did) or deny a pending authorisation, once.

        Raises:
            NotFound: no pending authorisation has this code.
        """
        query = (
            update(DEVICE_CODES)
            .where(
                DEVICE_CODES.c.user_code == user_code,
                DEVICE_CODES.c.state == DeviceState.PENDING,
                DEVICE_CODES.c.expires_at > now,
            )
            .values(
                state=DeviceState.APPROVED if approve else DeviceState.DENIED,
                session_id=session_id,
            )
        )
        with self.database.writing() as connection:
            if connection.execute(query).rowcount == 0:
                raise NotFound("this code is unknown, used or too old")

    def poll_device_code(self, device_code_hash: str, now: datetime) -> DeviceCodeRecord | None:
        """Look once for the person's answer; an answer is given out once and then gone.

        The record is as it was before this look: its ``last_polled_at`` tells of the one before.
        """
        where = DEVICE_CODES.c.device_code_hash == device_code_hash
        with self.database.writing() as connection:
            found = find_one(
                connection,
                DeviceCodeRecord,
                DEVICE_CODES,
                where,
                DEVICE_CODES.c.expires_at > now,
            )
            if found is None:
                return None
            if found.state is DeviceState.PENDING:
                connection.execute(update(DEVICE_CODES).where(where).values(last_polled_at=now))
                return found
            # On PostgreSQL two polls may see the answer; only one deletes the row.
            gone = connection.execute(delete(DEVICE_CODES).where(where)).rowcount == 1
        return found if gone else None

    def record_failure(self, key: str, now: datetime) -> None:
        """Note a failed login under an account or an address."""
        with self.database.writing() as connection:
            connection.execute(insert(FAILURES).values(key=key, at=now))

    def failures_since(self, key: str, since: datetime) -> int:
        """How often logins failed under ``key`` after ``since``."""
        query = (
            select(func.count())
            .select_from(FAILURES)
            .where(FAILURES.c.key == key, FAILURES.c.at > since)
        )
        with self.database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def forget_failures(self, key: str) -> None:
        """A login succeeded: its failures no longer count."""
        with self.database.writing() as connection:
            connection.execute(delete(FAILURES).where(FAILURES.c.key == key))

    def delete_expired(self, now: datetime) -> None:
        """Remove what can no longer be used."""
        with self.database.writing() as connection:
            for table in (ATTEMPTS, CODES, DEVICE_CODES, SOCKET_SESSIONS, SESSIONS):
                connection.execute(delete(table).where(table.c.expires_at < now))
            connection.execute(delete(FAILURES).where(FAILURES.c.at < now - _KEEP_FAILURES))

    def _insert(self, table: Table, record: object) -> None:
        with self.database.writing() as connection:
            connection.execute(insert(table).values(values_of(record)))
