"""Which certificates are revoked, asked of the certificates: when was each first named, if ever.

Whoever begins with revocations asks about thousands of sockets that have no certificate left. Here
every certificate that is still good is looked up in the index of revocations, once for each way to
be revoked, whatever order of joins a database would choose.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    and_,
    case,
    cast,
    func,
    or_,
    select,
    true,
)

from idp_gateway.records import CertificateKind, RevocationScope
from idp_gateway.store.issuance import CERTIFICATES
from idp_gateway.tables import Revocation, table_of

REVOCATIONS = table_of(Revocation)

_IS_SOCKET = REVOCATIONS.c.scope == RevocationScope.SOCKET
# Only the values of this scope are numbers: nothing else may be read as one.
_ENDED_EPOCH = case((_IS_SOCKET, cast(REVOCATIONS.c.value, BigInteger)))
# Clocks of gateways differ, and are set; epochs only grow, and whoever signs reads the epoch first.
_BEFORE_IT_WAS_LIFTED = or_(
    REVOCATIONS.c.lifted_at.is_(None),
    CERTIFICATES.c.epoch <= REVOCATIONS.c.ended_epoch,
    # Of one that an earlier version lifted nothing else is known.
    and_(REVOCATIONS.c.ended_epoch.is_(None), CERTIFICATES.c.issued_at <= REVOCATIONS.c.lifted_at),
)
_WAYS: dict[RevocationScope, tuple[ColumnElement[bool], ...]] = {
    RevocationScope.PERSON: (
        REVOCATIONS.c.value == CERTIFICATES.c.subject,
        _BEFORE_IT_WAS_LIFTED,
    ),
    RevocationScope.KEY: (
        REVOCATIONS.c.value == CERTIFICATES.c.public_key_fingerprint,
        _BEFORE_IT_WAS_LIFTED,
    ),
    RevocationScope.SERIAL: (REVOCATIONS.c.value == CERTIFICATES.c.serial,),
    RevocationScope.SOCKET: (CERTIFICATES.c.epoch <= _ENDED_EPOCH,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedCertificate:
    """A certificate that would still be good, were it not revoked."""

    serial: str
    kind: CertificateKind
    ca_key_id: str
    not_after: datetime
    at: datetime
    """When it was revoked."""


def revoked_among(
    connection: Connection,
    *only: ColumnElement[bool],
    socket_id: str | None = None,
    by: ColumnElement[bool] | None = None,
    most: int | None = None,
) -> list[RevokedCertificate]:
    """Certificates of one socket or all, among ``only``, that are revoked, each once; by these
    revocations, or any. Of more than ``most`` some.
    """
    ways: Collection[RevocationScope] = _WAYS
    if socket_id is not None:
        only += (CERTIFICATES.c.socket_id == socket_id,)
        ways = _ways_on(connection, socket_id)
    if not ways:
        return []
    query = _query(only, true() if by is None else by, ways)
    return [
        RevokedCertificate(
            serial=serial, kind=kind, ca_key_id=ca_key_id, not_after=not_after, at=_earliest(at)
        )
        for serial, kind, ca_key_id, not_after, *at in connection.execute(query.limit(most))
    ]


def _ways_on(connection: Connection, socket_id: str) -> list[RevocationScope]:
    """What nothing was revoked by need not be looked up for each certificate."""
    query = select(REVOCATIONS.c.scope).where(REVOCATIONS.c.socket_id == socket_id).distinct()
    return sorted(connection.execute(query).scalars())


def _query(
    only: Iterable[ColumnElement[bool]],
    by: ColumnElement[bool],
    ways: Iterable[RevocationScope],
) -> Select[Any]:
    first = [_first_by(scope, by).label(f"by_{scope}") for scope in ways]
    columns = (
        CERTIFICATES.c.serial,
        CERTIFICATES.c.kind,
        CERTIFICATES.c.ca_key_id,
        CERTIFICATES.c.not_after,
    )
    asked = select(*columns, *first).where(*only)
    found = asked.subquery()
    return select(found).where(or_(*(found.c[one.name].is_not(None) for one in first)))


def _first_by(scope: RevocationScope, by: ColumnElement[bool]) -> ScalarSelect[Any]:
    return (
        select(func.min(REVOCATIONS.c.created_at))
        .where(
            REVOCATIONS.c.socket_id == CERTIFICATES.c.socket_id,
            REVOCATIONS.c.scope == scope,
            *_WAYS[scope],
            by,
        )
        .correlate(CERTIFICATES)
        .scalar_subquery()
    )


def _earliest(times: Iterable[datetime | None]) -> datetime:
    return min(at for at in times if at is not None)
