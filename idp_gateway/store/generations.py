"""Generations of CA keys; every move from one state to another is a compare-and-set.

Moves happen inside ``Database.changing``: one at a time over all gateways, and each gives out a
revision of the edges' feed, so that whoever follows it learns of new and retired keys.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from idp_gateway.errors import Conflict
from idp_gateway.records import CaGenerationRecord, CaState, ChangeKind, HostRecord
from idp_gateway.store.base import CHANGES, StorePart, find_all, find_one, note_change, values_of
from idp_gateway.store.issuance import CERTIFICATES
from idp_gateway.tables import CaGeneration, Host, PublishedSocket, table_of

GENERATIONS = table_of(CaGeneration)
HOSTS = table_of(Host)
SOCKETS = table_of(PublishedSocket)

KEY_TAKEN = "ca-key-taken"
"""Reason of the ``Conflict`` that another CA came to have a key first."""

USER_CA = "ssh-user:"
"""What the id of a socket's SSH user CA begins with; the socket's id follows."""

_UNFINISHED = (CaState.PREPARED, CaState.PUBLISHED, CaState.DRAINING)
_SIGNING = (CaState.PREPARED, CaState.PUBLISHED, CaState.ACTIVE)
_ENDED = (CaState.RETIRED, CaState.WITHDRAWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One generation's step from the state it must be in to another."""

    generation: int
    was: CaState
    becomes: CaState
    draining_until: datetime | None = None


class GenerationStore(StorePart):
    """Table ``ca_generations``, and what of hosts and certificates a rotation looks at."""

    def generations(self, ca_id: str) -> tuple[CaGenerationRecord, ...]:
        """Every generation of a CA, oldest first."""
        with self.database.reading() as connection:
            return _of(connection, ca_id)

    def active_generation(self, ca_id: str) -> CaGenerationRecord | None:
        """The generation that signs."""
        with self.database.reading() as connection:
            return find_one(
                connection,
                CaGenerationRecord,
                GENERATIONS,
                GENERATIONS.c.ca_id == ca_id,
                GENERATIONS.c.state == CaState.ACTIVE,
            )

    def signing_generations(self) -> tuple[CaGenerationRecord, ...]:
        """The generations that sign, and those that are to."""
        with self.database.reading() as connection:
            return find_all(
                connection,
                CaGenerationRecord,
                GENERATIONS,
                GENERATIONS.c.state.in_(_SIGNING),
                order_by=[GENERATIONS.c.ca_id, GENERATIONS.c.generation],
            )

    def unfinished_rotations(self) -> tuple[str, ...]:
        """Ids of the CAs with a generation on its way in or out."""
        query = select(GENERATIONS.c.ca_id).where(GENERATIONS.c.state.in_(_UNFINISHED)).distinct()
        with self.database.reading() as connection:
            return tuple(sorted(connection.execute(query).scalars()))

    def key_references(self) -> frozenset[str]:
        """Where the keys of all generations are or were, as their signers name the places."""
        query = select(GENERATIONS.c.key_reference).where(GENERATIONS.c.key_reference != "")
        with self.database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def generations_by_signer(self, signer: str) -> tuple[CaGenerationRecord, ...]:
        """Every generation whose private half one signer has."""
        with self.database.reading() as connection:
            return find_all(
                connection, CaGenerationRecord, GENERATIONS, GENERATIONS.c.signer == signer
            )

    def add_first_generation(self, record: CaGenerationRecord) -> CaGenerationRecord:
        """Keep the first key of a CA; all racing callers get the one that was kept.

        Raises:
            Conflict: another CA has this key.
        """
        try:
            with self.database.changing() as connection:
                connection.execute(insert(GENERATIONS).values(values_of(record)))
                _tell(connection, record.ca_id, record.created_at)
        except IntegrityError as error:
            found = self.active_generation(record.ca_id)
            if found is None:
                raise _key_taken() from error
            return found
        return record

    def add_next_generation(self, record: CaGenerationRecord) -> None:
        """Keep a prepared key that follows the newest of its CA.

        Raises:
            Conflict: somebody else prepared one, or a rotation of this CA is not over.
        """
        with self.database.changing() as connection:
            known = _of(connection, record.ca_id)
            newest = known[-1].generation if known else 0
            if newest + 1 != record.generation or _unfinished(known):
                raise _lost_race(record.ca_id)
            _insert(connection, record)

    def move_generations(self, ca_id: str, moves: Sequence[Move], now: datetime) -> int:
        """Make all moves or none; the feed's revision that tells of them.

        Private halves kept here are dropped as their generations end.

        Raises:
            Conflict: a generation is not in the state a move starts from.
        """
        with self.database.changing() as connection:
            for move in moves:
                _make(connection, ca_id, move, now)
            _name_active(connection, ca_id)
            revision = _tell(connection, ca_id, now)
            published = [m.generation for m in moves if m.becomes is CaState.PUBLISHED]
            connection.execute(
                update(GENERATIONS)
                .where(GENERATIONS.c.ca_id == ca_id, GENERATIONS.c.generation.in_(published))
                .values(published_revision=revision)
            )
            return revision

    def adopt_generation(self, record: CaGenerationRecord) -> None:
        """Replace the row of a key that was kept in an older way."""
        with self.database.changing() as connection:
            connection.execute(
                update(GENERATIONS)
                .where(
                    GENERATIONS.c.ca_id == record.ca_id,
                    GENERATIONS.c.generation == record.generation,
                )
                .values(values_of(record))
            )

    def last_end_under(self, key_id: str) -> datetime | None:
        """When the last certificate ends that this CA key is known to have signed."""
        query = select(func.max(CERTIFICATES.c.not_after)).where(
            CERTIFICATES.c.ca_key_id == key_id, CERTIFICATES.c.kind != "x509-server"
        )
        with self.database.reading() as connection:
            return connection.execute(query).scalar()

    def hosts_to_acknowledge(self, socket_id: str) -> tuple[HostRecord, ...]:
        """The servers enrolled for a socket."""
        with self.database.reading() as connection:
            return find_all(
                connection,
                HostRecord,
                HOSTS,
                HOSTS.c.socket_id == socket_id,
                HOSTS.c.removed_at.is_(None),
                order_by=[HOSTS.c.name],
            )

    def hosts_certified_by(self, key_id: str, now: datetime) -> tuple[HostRecord, ...]:
        """Servers that last showed a host certificate, still good, of this CA key."""
        signed = exists().where(
            CERTIFICATES.c.serial == HOSTS.c.serial, CERTIFICATES.c.ca_key_id == key_id
        )
        with self.database.reading() as connection:
            return find_all(
                connection,
                HostRecord,
                HOSTS,
                HOSTS.c.removed_at.is_(None),
                HOSTS.c.not_after > now,
                signed,
                order_by=[HOSTS.c.name],
            )


def add_user_ca(connection: Connection, record: CaGenerationRecord) -> None:
    """Keep the first key of a socket's CA in the transaction that makes the socket."""
    _insert(connection, record)


def end_user_ca(connection: Connection, socket_id: str, now: datetime) -> None:
    """Retire every generation of a socket that goes; what it signed stays explainable."""
    connection.execute(
        update(GENERATIONS)
        .where(GENERATIONS.c.ca_id == f"{USER_CA}{socket_id}", GENERATIONS.c.state.not_in(_ENDED))
        .values(state=CaState.RETIRED, private_sealed=None, retired_at=now)
    )


def _of(connection: Connection, ca_id: str) -> tuple[CaGenerationRecord, ...]:
    return find_all(
        connection,
        CaGenerationRecord,
        GENERATIONS,
        GENERATIONS.c.ca_id == ca_id,
        order_by=[GENERATIONS.c.generation],
    )


def _insert(connection: Connection, record: CaGenerationRecord) -> None:
    try:
        connection.execute(insert(GENERATIONS).values(values_of(record)))
    except IntegrityError as error:
        raise _key_taken() from error


def _unfinished(known: Iterable[CaGenerationRecord]) -> bool:
    return any(record.state in _UNFINISHED for record in known)


def _make(connection: Connection, ca_id: str, move: Move, now: datetime) -> None:
    values: dict[str, Any] = {"state": move.becomes, "draining_until": move.draining_until}
    if move.becomes is CaState.PUBLISHED:
        values["published_at"] = now
    elif move.becomes is CaState.ACTIVE:
        values["activated_at"] = now
    elif move.becomes in _ENDED:
        values |= {"retired_at": now, "private_sealed": None}
        del values["draining_until"]
    moved = connection.execute(
        update(GENERATIONS)
        .where(
            GENERATIONS.c.ca_id == ca_id,
            GENERATIONS.c.generation == move.generation,
            GENERATIONS.c.state == move.was,
        )
        .values(values)
    )
    if moved.rowcount != 1:
        raise _lost_race(ca_id)


def _name_active(connection: Connection, ca_id: str) -> None:
    """A socket's row names the key that signs, for its owner to see."""
    if not ca_id.startswith(USER_CA):
        return
    active = select(GENERATIONS.c.public).where(
        GENERATIONS.c.ca_id == ca_id, GENERATIONS.c.state == CaState.ACTIVE
    )
    connection.execute(
        update(SOCKETS)
        .where(SOCKETS.c.socket_id == ca_id.removeprefix(USER_CA))
        .values(ssh_ca_public=active.scalar_subquery())
    )


def _tell(connection: Connection, ca_id: str, now: datetime) -> int:
    """Give out a revision: a socket's own CA is the socket's change, another is one of trust."""
    if ca_id.startswith(USER_CA):
        note_change(connection, ChangeKind.SOCKET, [ca_id.removeprefix(USER_CA)], now)
    else:
        note_change(connection, ChangeKind.TRUST, [ca_id], now)
    return int(connection.execute(select(func.max(CHANGES.c.revision))).scalar_one())


def _lost_race(ca_id: str) -> Conflict:
    return Conflict(f"somebody else is rotating {ca_id}", reason="rotation-under-way")


def _key_taken() -> Conflict:
    return Conflict("another CA took this key first; try again", reason=KEY_TAKEN)
