"""Sockets and their tunnels. Every write here is a change the edges learn of."""

import random
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from idp_gateway.account_turns import MOST_SOCKETS_AT_ONCE
from idp_gateway.errors import Conflict, NameTaken, NotFound, PortsExhausted, QuotaExceeded
from idp_gateway.records import (
    CaGenerationRecord,
    ChangeKind,
    RevocationRecord,
    RevocationScope,
    SocketRecord,
    TunnelRecord,
)
from idp_gateway.store.base import StorePart, find_all, find_one, in_parts, note_change, values_of
from idp_gateway.store.edge_limits import check_told, until_counted
from idp_gateway.store.generations import add_user_ca, end_user_ca
from idp_gateway.store.quick import Lookup
from idp_gateway.store.rules import POLICIES
from idp_gateway.tables import Account, PublishedSocket, Revocation, SocketTunnel, table_of
from policy.types import Reason, SocketType

SOCKETS = table_of(PublishedSocket)
TUNNELS = table_of(SocketTunnel)
ACCOUNTS = table_of(Account)
REVOCATIONS = table_of(Revocation)

LOCAL_PORTS = range(1024, 65536)
"""What a tunnel's ``local_port`` is drawn from; nothing listens on these numbers."""

_BEARING = ("emails", "domains", "socket_type", "cloud_authentication_enabled")
"""With others, what edges are told of addresses is another."""
_FIXED = frozenset({"socket_id", "account_id", "epoch", "rules_version", "port", "created_at"})
_TRIES = 16


class SocketStore(StorePart):
    """Tables ``sockets`` and ``tunnels``."""

    @cached_property
    def _by_id(self) -> Lookup[SocketRecord]:
        return Lookup(self.database, SocketRecord, SOCKETS, "socket_id")

    @cached_property
    def _by_name(self) -> Lookup[SocketRecord]:
        return Lookup(self.database, SocketRecord, SOCKETS, "dns_name")

    @until_counted
    def add_socket(
        self,
        socket: SocketRecord,
        *,
        ports: range,
        tunnel_id: str | None = None,
        limit: int | None = None,
        user_ca: CaGenerationRecord | None = None,
    ) -> SocketRecord:
        """Keep a new socket; one whose type has an own port gets it here, out of ``ports``.

        With ``tunnel_id`` its first tunnel is made with it, with ``user_ca`` the first generation
        of its SSH user CA: all are kept, or none.

        Raises:
            NameTaken: try again with another name.
            PortsExhausted: every port is given away.
            QuotaExceeded: the account has ``limit`` sockets already, or policies for all of its
                sockets that name so many networks that edges cannot be told of one more.
        """
        values = values_of(socket)
        with self.database.reading() as connection:
            takes_long = _is_told(connection, socket)
        with self._changing(socket.account_id, takes_long=takes_long) as connection:
            mine = SOCKETS.c.account_id == socket.account_id
            _keep_below(limit, connection, SOCKETS, mine, "sockets of this account")
            if _exists(connection, SOCKETS, SOCKETS.c.dns_name == socket.dns_name):
                raise NameTaken(f"the name {socket.dns_name} is taken")
            if socket.socket_type.has_own_port and socket.port is None:
                values["port"] = _free_port(connection, SOCKETS.c.port, ports)
            _insert(connection, SOCKETS, values)
            if _is_told(connection, socket):
                check_told(connection, socket.account_id, socket.created_at)
            if user_ca is not None:
                add_user_ca(connection, user_ca)
            note_change(connection, ChangeKind.SOCKET, [socket.socket_id], socket.created_at)
            if tunnel_id is not None:
                _add_tunnel(connection, socket, tunnel_id, socket.created_at)
        return SocketRecord(**values)

    def _changing(self, account_id: str, *, takes_long: bool) -> AbstractContextManager[Connection]:
        """In the account's turn, if there is something to count."""
        if takes_long:
            return self.database.changing_of(account_id, most=MOST_SOCKETS_AT_ONCE)
        return self.database.changing()

    def sockets_of(self, account_id: str) -> tuple[SocketRecord, ...]:
        """The account's sockets, oldest first."""
        with self.database.reading() as connection:
            return find_all(
                connection,
                SocketRecord,
                SOCKETS,
                SOCKETS.c.account_id == account_id,
                order_by=[SOCKETS.c.created_at, SOCKETS.c.socket_id],
            )

    def get_socket(self, account_id: str, socket_id: str) -> SocketRecord:
        """One of the account's sockets.

        Raises:
            NotFound: there is none, or it is another account's.
        """
        with self.database.reading() as connection:
            return owned_socket(connection, account_id, socket_id)

    def identity_sockets(self) -> tuple[SocketRecord, ...]:
        """Every account's sockets that ask for an identity: for showing people what is open."""
        with self.database.reading() as connection:
            return find_all(
                connection,
                SocketRecord,
                SOCKETS,
                SOCKETS.c.cloud_authentication_enabled.is_(True),
                order_by=[SOCKETS.c.created_at, SOCKETS.c.socket_id],
            )

    def find_socket(self, socket_id: str) -> SocketRecord | None:
        """Any account's socket by its id: for decisions, not for owners."""
        return self._by_id.find(socket_id)

    def find_socket_by_dns_name(self, dns_name: str) -> SocketRecord | None:
        """Any account's socket by its public name (lower case)."""
        return self._by_name.find(dns_name)

    def sockets_called(self, name: str) -> tuple[SocketRecord, ...]:
        """Sockets of any account whose owner gave them this name."""
        with self.database.reading() as connection:
            return find_all(
                connection,
                SocketRecord,
                SOCKETS,
                SOCKETS.c.name == name,
                order_by=[SOCKETS.c.dns_name],
            )

    @until_counted
    def update_socket(
        self,
        account_id: str,
        socket_id: str,
        changes: Mapping[str, Any],
        *,
        bump_epoch: bool,
        ports: range,
        now: datetime,
    ) -> SocketRecord:
        """Change fields of a socket; a new epoch ends every grant given before.

        A change of ``socket_type`` gives a port out or takes it back as the new type needs.

        Raises:
            NotFound: there is none, or it is another account's.
            QuotaExceeded: edges would be told too much of the account's sockets.
        """
        unknown = changes.keys() & _FIXED
        if unknown:
            raise ValueError(f"these fields cannot be changed: {sorted(unknown)}")
        now_there = self.get_socket(account_id, socket_id)
        takes_long = _may_tell_more(now_there, replace(now_there, **changes))
        with self._changing(account_id, takes_long=takes_long) as connection:
            before = owned_socket(connection, account_id, socket_id)
            values = values_of(before) | dict(changes)
            values["epoch"] = before.epoch + (1 if bump_epoch else 0)
            bears = any(values[name] != getattr(before, name) for name in _BEARING)
            values["rules_version"] = before.rules_version + (1 if bears else 0)
            if not SocketType(values["socket_type"]).has_own_port:
                values["port"] = None
            elif before.port is None:
                values["port"] = _free_port(connection, SOCKETS.c.port, ports)
            connection.execute(
                update(SOCKETS).where(SOCKETS.c.socket_id == socket_id).values(values)
            )
            note_change(connection, ChangeKind.SOCKET, [socket_id], now)
            after = SocketRecord(**values)
            if _may_tell_more(before, after):
                check_told(connection, account_id, now)
        return after

    def delete_socket(self, account_id: str, socket_id: str, now: datetime) -> None:
        """Remove a socket with its tunnels and sessions; its SSH user CA ends.

        Everything issued for it is revoked with it, and revocations stay.

        Raises:
            NotFound: there is none, or it is another account's.
        """
        with self.database.changing() as connection:
            socket = owned_socket(connection, account_id, socket_id)
            query = select(TUNNELS.c.tunnel_id).where(TUNNELS.c.socket_id == socket_id)
            tunnel_ids = list(connection.execute(query).scalars())
            _revoke_all(connection, socket, now)
            connection.execute(delete(SOCKETS).where(SOCKETS.c.socket_id == socket_id))
            end_user_ca(connection, socket_id, now)
            note_change(connection, ChangeKind.TUNNEL, tunnel_ids, now)
            note_change(connection, ChangeKind.SOCKET, [socket_id], now)

    def add_tunnel(
        self,
        account_id: str,
        socket_id: str,
        *,
        tunnel_id: str,
        limit: int | None = None,
        now: datetime,
    ) -> TunnelRecord:
        """Give a socket of the account one more tunnel, with a local port no other of its has.

        Raises:
            NotFound: there is no such socket, or it is another account's.
            PortsExhausted: every number is given away.
            QuotaExceeded: the socket has ``limit`` tunnels already.
        """
        with self.database.changing() as connection:
            socket = owned_socket(connection, account_id, socket_id)
            mine = TUNNELS.c.socket_id == socket_id
            _keep_below(limit, connection, TUNNELS, mine, "tunnels of this socket")
            return _add_tunnel(connection, socket, tunnel_id, now)

    def tunnels_of(self, *socket_ids: str) -> tuple[TunnelRecord, ...]:
        """The tunnels of one or more sockets, oldest first."""
        with self.database.reading() as connection:
            found = [
                tunnel
                for part in in_parts(socket_ids)
                for tunnel in find_all(
                    connection, TunnelRecord, TUNNELS, TUNNELS.c.socket_id.in_(part)
                )
            ]
        return tuple(sorted(found, key=lambda tunnel: (tunnel.created_at, tunnel.tunnel_id)))

    def get_tunnel(self, account_id: str, socket_id: str, tunnel_id: str) -> TunnelRecord:
        """One tunnel of one of the account's sockets.

        Raises:
            NotFound: there is none, or it is another account's.
        """
        with self.database.reading() as connection:
            return _get_tunnel(connection, account_id, socket_id, tunnel_id)

    def delete_tunnel(self, account_id: str, socket_id: str, tunnel_id: str, now: datetime) -> None:
        """Remove a tunnel.

        Raises:
            NotFound: there is none, or it is another account's.
        """
        with self.database.changing() as connection:
            _get_tunnel(connection, account_id, socket_id, tunnel_id)
            connection.execute(delete(TUNNELS).where(TUNNELS.c.tunnel_id == tunnel_id))
            note_change(connection, ChangeKind.TUNNEL, [tunnel_id], now)


def _insert(connection: Connection, table: Table, values: Mapping[str, Any]) -> None:
    try:
        connection.execute(insert(table).values(values))
    except IntegrityError as error:
        raise Conflict("this contradicts what is stored") from error


def _exists(connection: Connection, table: Table, where: ColumnElement[bool]) -> bool:
    return connection.execute(select(1).select_from(table).where(where)).first() is not None


def _may_tell_more(before: SocketRecord, after: SocketRecord) -> bool:
    """Whether edges may be told more networks: it has a port now, or its own lists, which let
    people in from anywhere.
    """
    own_port = SocketType(after.socket_type).has_own_port
    opened = bool(after.emails or after.domains) and not (before.emails or before.domains)
    return own_port and (opened or not SocketType(before.socket_type).has_own_port)


def owned_socket(connection: Connection, account_id: str, socket_id: str) -> SocketRecord:
    """The account's own socket, in a transaction under way.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    found = find_one(
        connection,
        SocketRecord,
        SOCKETS,
        SOCKETS.c.socket_id == socket_id,
        SOCKETS.c.account_id == account_id,
    )
    if found is None:
        raise NotFound("no such socket", reason=Reason.SOCKET_UNKNOWN)
    return found


def _revoke_all(connection: Connection, socket: SocketRecord, now: datetime) -> None:
    owner = select(ACCOUNTS.c.email).where(ACCOUNTS.c.account_id == socket.account_id)
    revocation = RevocationRecord(
        revocation_id=str(uuid.uuid4()),
        socket_id=socket.socket_id,
        scope=RevocationScope.SOCKET,
        value=str(socket.epoch),
        reason="the socket was deleted",
        created_by=connection.execute(owner).scalar_one(),
        created_at=now,
    )
    connection.execute(insert(REVOCATIONS).values(values_of(revocation)))


def _get_tunnel(
    connection: Connection, account_id: str, socket_id: str, tunnel_id: str
) -> TunnelRecord:
    owned_socket(connection, account_id, socket_id)
    found = find_one(
        connection,
        TunnelRecord,
        TUNNELS,
        TUNNELS.c.tunnel_id == tunnel_id,
        TUNNELS.c.socket_id == socket_id,
    )
    if found is None:
        raise NotFound("no such tunnel", reason="tunnel-unknown")
    return found


def _keep_below(
    limit: int | None,
    connection: Connection,
    table: Table,
    where: ColumnElement[bool],
    what: str,
) -> None:
    if limit is None:
        return
    count = connection.execute(select(func.count()).select_from(table).where(where)).scalar_one()
    if count >= limit:
        raise QuotaExceeded(f"no more than {limit} {what} are allowed here")


def _add_tunnel(
    connection: Connection, socket: SocketRecord, tunnel_id: str, now: datetime
) -> TunnelRecord:
    # A tunnel is told by its owner's login and its port: other accounts may use the same numbers.
    owned = select(SOCKETS.c.socket_id).where(SOCKETS.c.account_id == socket.account_id)
    tunnel = TunnelRecord(
        tunnel_id=tunnel_id,
        socket_id=socket.socket_id,
        local_port=_free_port(
            connection, TUNNELS.c.local_port, LOCAL_PORTS, TUNNELS.c.socket_id.in_(owned)
        ),
        created_at=now,
    )
    _insert(connection, TUNNELS, values_of(tunnel))
    note_change(connection, ChangeKind.TUNNEL, [tunnel_id], now)
    return tunnel


def _free_port(
    connection: Connection, column: ColumnElement[Any], ports: range, *among: ColumnElement[bool]
) -> int:
    """A port no row ``among`` these has, at random so that one just given back rests a while."""
    draw = random.SystemRandom()
    for _ in range(2):
        candidates = draw.sample(ports, min(_TRIES, len(ports)))
        query = select(column).where(column.in_(candidates), *among)
        free = set(candidates) - set(connection.execute(query).scalars())
        if free:
            return draw.choice(sorted(free))
    query = select(column).where(column.is_not(None), *among)
    taken = set(connection.execute(query).scalars())
    left = [port for port in ports if port not in taken]
    if not left:
        raise PortsExhausted("every port is given away")
    return draw.choice(left)


def _is_told(connection: Connection, socket: SocketRecord) -> bool:
    """Whether edges are told rules about addresses of a new socket: those that bear on all."""
    wide = POLICIES.c.account_id == socket.account_id, POLICIES.c.org_wide.is_(True)
    return socket.socket_type.has_own_port and _exists(connection, POLICIES, and_(*wide))
