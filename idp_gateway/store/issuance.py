"""Signing keys, and the record of what was decided and issued."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from idp_gateway.errors import Conflict
from idp_gateway.records import CertificateRecord, DecisionRecord, SigningKeyRecord
from idp_gateway.store.base import StorePart, columns_for, find_all, find_one, values_of
from idp_gateway.tables import DecisionMade, IssuedCertificate, SigningKey, table_of

KEYS = table_of(SigningKey)
CERTIFICATES = table_of(IssuedCertificate)
DECISIONS = table_of(DecisionMade)


class IssuanceStore(StorePart):
    """Tables ``signing_keys``, ``certificates`` and ``decisions``."""

    def signing_key(self, purpose: str, make: Callable[[], SigningKeyRecord]) -> SigningKeyRecord:
        """The key of a purpose, made now if there is none; all racing callers get the same one."""
        with self.database.reading() as connection:
            found = find_one(connection, SigningKeyRecord, KEYS, KEYS.c.purpose == purpose)
        if found is not None:
            return found
        made = make()
        try:
            with self.database.writing() as connection:
                connection.execute(insert(KEYS).values(values_of(made)))
        except IntegrityError:
            with self.database.reading() as connection:
                found = find_one(connection, SigningKeyRecord, KEYS, KEYS.c.purpose == purpose)
            if found is None:
                raise
            return found
        return made

    def record_certificate(self, certificate: CertificateRecord) -> None:
        """Keep an issuance; durable when this returns, and only then may the certificate leave.

        Raises:
            Conflict: the serial number was given out before.
        """
        try:
            with self.database.writing() as connection:
                connection.execute(insert(CERTIFICATES).values(values_of(certificate)))
        except IntegrityError as error:
            raise Conflict("this serial number was given out before") from error

    def find_certificate(self, serial: str) -> CertificateRecord | None:
        """The issuance with this serial number."""
        with self.database.reading() as connection:
            return find_one(
                connection, CertificateRecord, CERTIFICATES, CERTIFICATES.c.serial == serial
            )

    def certificates_of(self, socket_id: str) -> tuple[CertificateRecord, ...]:
        """Every certificate issued for a socket, oldest first."""
        with self.database.reading() as connection:
            return find_all(
                connection,
                CertificateRecord,
                CERTIFICATES,
                CERTIFICATES.c.socket_id == socket_id,
                order_by=[CERTIFICATES.c.issued_at],
            )

    def record_decision(self, decision: DecisionRecord) -> None:
        """Keep what was decided; durable when this returns."""
        with self.database.writing() as connection:
            connection.execute(insert(DECISIONS).values(values_of(decision)))

    def forget_audit(self, before: datetime) -> None:
        """Remove old decisions, and old certificates that are no longer good."""
        with self.database.writing() as connection:
            connection.execute(delete(DECISIONS).where(DECISIONS.c.at < before))
            connection.execute(
                delete(CERTIFICATES).where(
                    CERTIFICATES.c.issued_at < before, CERTIFICATES.c.not_after < before
                )
            )

    def find_decision(self, decision_id: str) -> DecisionRecord | None:
        """A decision by the id people are shown."""
        with self.database.reading() as connection:
            return find_one(
                connection, DecisionRecord, DECISIONS, DECISIONS.c.decision_id == decision_id
            )

    def decisions_page(
        self, socket_id: str, *, offset: int, limit: int
    ) -> tuple[DecisionRecord, ...]:
        """Some decisions about a socket, newest first."""
        query = (
            select(*columns_for(DecisionRecord, DECISIONS))
            .where(DECISIONS.c.socket_id == socket_id)
            .order_by(DECISIONS.c.at.desc(), DECISIONS.c.decision_id)
            .offset(offset)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return tuple(DecisionRecord(**row) for row in connection.execute(query).mappings())

    def certificates_page(
        self, socket_id: str, *, offset: int, limit: int
    ) -> tuple[CertificateRecord, ...]:
        """Some certificates issued for a socket, newest first."""
        query = (
            select(*columns_for(CertificateRecord, CERTIFICATES))
            .where(CERTIFICATES.c.socket_id == socket_id)
            .order_by(CERTIFICATES.c.issued_at.desc(), CERTIFICATES.c.serial)
            .offset(offset)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return tuple(CertificateRecord(**row) for row in connection.execute(query).mappings())
