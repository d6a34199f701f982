"""Policies, their history, and the sockets they are attached to.

What a document says is not looked at here: callers say whether a change has another meaning, and
which lists the document names. Everything is by account; another account's policy is not there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from idp_gateway.errors import Conflict, InvalidInput, NotFound, PolicyNameTaken, QuotaExceeded
from idp_gateway.policy_records import PolicyChangeKind, PolicyRecord, PolicyVersionRecord
from idp_gateway.records import SocketRecord
from idp_gateway.store.base import StorePart, columns_for, find_all, find_one, in_parts, values_of
from idp_gateway.store.edge_limits import check_told, until_counted
from idp_gateway.store.policy_limits import (
    VERSIONS,
    adds_work,
    check_effective,
    check_history,
    check_org_wide,
    forget_versions,
)
from idp_gateway.store.rules import (
    ATTACHMENTS,
    POLICIES,
    SOCKETS,
    list_heads,
    rename,
    sockets_borne_on,
    touch,
)
from idp_gateway.store.tried_cases import TriedOn, check_still_so

STALE = "policy-version-old"
"""Reason of the conflict that a change based on another version than the newest is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who changes something, when, and in their words why."""

    email: str
    at: datetime
    why: str = ""


Attaching = Mapping[str, Mapping[str, bool]]
"""By policy id and then by socket id: whether the one is to be attached to the other."""


class PolicyStore(StorePart):
    """Tables ``policies``, ``policy_versions`` and ``policy_attachments``."""

    @until_counted
    def add_policy(
        self,
        policy: PolicyRecord,
        author: Author,
        *,
        limit: int | None = None,
        tried: TriedOn | None = None,
    ) -> PolicyRecord:
        """Keep a new policy, whose cases hold on the lists they were ``tried`` on.

        Raises:
            Conflict: the lists are others by now (``CASES_OLD``).
            PolicyNameTaken: the account has one of this name.
            QuotaExceeded: the account has ``limit`` policies already, too much history, or more
                deny rules than may bear on a socket.
            InvalidInput: it names a list the account does not have.
        """
        with self.database.changing_of(policy.account_id) as connection:
            _keep_below(connection, policy.account_id, limit)
            _check_name(connection, policy)
            _check_lists(connection, policy)
            _check_cases(connection, policy, tried)
            connection.execute(insert(POLICIES).values(values_of(policy)))
            _note(connection, policy, PolicyChangeKind.CREATED, author)
            borne_on = sockets_borne_on(connection, policy.account_id, [policy])
            if policy.org_wide:
                check_org_wide(connection, policy.account_id)
                check_effective(connection, policy.account_id, borne_on)
                check_told(connection, policy.account_id, author.at)
            touch(connection, borne_on, author.at)
        return policy

    @until_counted
    def change_policy(
        self,
        policy: PolicyRecord,
        change: PolicyChangeKind,
        author: Author,
        *,
        means_the_same: bool,
        tried: TriedOn | None = None,
    ) -> PolicyRecord:
        """Put a policy in the place of its version before; ``policy.version`` is that one's.

        ``means_the_same``: the document decides as the one before did.

        Raises:
            NotFound: the account has no such policy.
            Conflict: there is a newer version than ``policy.version``, or as ``add_policy``.
            PolicyNameTaken, InvalidInput: as ``add_policy``.
            QuotaExceeded: the history is full, or too many deny rules would bear on a socket.
        """
        with self.database.changing_of(policy.account_id) as connection:
            before = owned_policy(connection, policy.account_id, policy.policy_id)
            if before.version != policy.version:
                raise Conflict(f"version {before.version} is in force by now", reason=STALE)
            after = replace(policy, version=before.version + 1, updated_at=author.at)
            _check_name(connection, after)
            _check_lists(connection, after)
            _check_cases(connection, after, tried)
            connection.execute(
                update(POLICIES)
                .where(POLICIES.c.policy_id == after.policy_id)
                .values(values_of(after))
            )
            _note(connection, after, change, author)
            borne_on = sockets_borne_on(connection, after.account_id, [before])
            borne_on_now = sockets_borne_on(connection, after.account_id, [after])
            if after.org_wide and not before.org_wide:
                check_org_wide(connection, after.account_id)
            if adds_work(before, after):
                check_effective(connection, after.account_id, borne_on_now)
            if not means_the_same or borne_on_now - borne_on:
                # One that only now bears on all sockets had nothing to tell of most of them.
                known = before if borne_on_now <= borne_on else None
                check_told(connection, after.account_id, author.at, before=known)
            affected = borne_on ^ borne_on_now if means_the_same else borne_on | borne_on_now
            touch(connection, affected, author.at)
            if (before.name, before.document) != (after.name, after.document):
                rename(connection, borne_on_now - affected, author.at)
        return after

    def delete_policy(self, account_id: str, policy_id: str, author: Author) -> None:
        """Remove a policy from every socket and for good; its history stays.

        Raises:
            NotFound: the account has no such policy.
        """
        with self.database.changing_of(account_id) as connection:
            policy = owned_policy(connection, account_id, policy_id)
            borne_on = sockets_borne_on(connection, account_id, [policy])
            connection.execute(delete(ATTACHMENTS).where(ATTACHMENTS.c.policy_id == policy_id))
            connection.execute(delete(POLICIES).where(POLICIES.c.policy_id == policy_id))
            _note(connection, policy, PolicyChangeKind.DELETED, author)
            touch(connection, borne_on, author.at)

    def get_policy(self, account_id: str, policy_id: str) -> PolicyRecord:
        """One of the account's policies.

        Raises:
            NotFound: there is none, or it is another account's.
        """
        with self.database.reading() as connection:
            return owned_policy(connection, account_id, policy_id)

    def find_policy(self, account_id: str, name: str) -> PolicyRecord | None:
        """The account's policy of this name."""
        with self.database.reading() as connection:
            return find_one(
                connection,
                PolicyRecord,
                POLICIES,
                POLICIES.c.account_id == account_id,
                POLICIES.c.name == name,
            )

    def policies_page(
        self, account_id: str, *, offset: int = 0, limit: int | None = None
    ) -> tuple[PolicyRecord, ...]:
        """The account's policies by name, all or some of them."""
        query = (
            select(*columns_for(PolicyRecord, POLICIES))
            .where(POLICIES.c.account_id == account_id)
            .order_by(POLICIES.c.name)
            .offset(offset)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return tuple(PolicyRecord(**row) for row in connection.execute(query).mappings())

    def attached_sockets(
        self, account_id: str, policy_ids: Iterable[str]
    ) -> Mapping[str, tuple[str, ...]]:
        """Ids of the sockets each of the account's policies is attached to."""
        found: dict[str, list[str]] = {}
        with self.database.reading() as connection:
            for part in in_parts(policy_ids):
                query = (
                    select(ATTACHMENTS.c.policy_id, ATTACHMENTS.c.socket_id)
                    .join(POLICIES, POLICIES.c.policy_id == ATTACHMENTS.c.policy_id)
                    .where(POLICIES.c.account_id == account_id)
                    .where(ATTACHMENTS.c.policy_id.in_(part))
                    .order_by(ATTACHMENTS.c.socket_id)
                )
                for policy_id, socket_id in connection.execute(query):
                    found.setdefault(policy_id, []).append(socket_id)
        return {policy_id: tuple(socket_ids) for policy_id, socket_ids in found.items()}

    @until_counted
    def attach(self, account_id: str, attaching: Attaching, author: Author, *, limit: int) -> None:
        """Attach and detach, all of it or nothing. What is as asked for already is no change.

        Raises:
            NotFound: a socket or policy the account does not have.
            InvalidInput: a policy is to be attached to a socket that asks for no identity.
            QuotaExceeded: a socket would have more than ``limit`` policies, or too many deny rules.
        """
        with self.database.changing_of(account_id) as connection:
            named = {socket_id for wanted in attaching.values() for socket_id in wanted}
            sockets = _owned_sockets(connection, account_id, named)
            affected: set[str] = set()
            for policy_id, wanted in attaching.items():
                policy = owned_policy(connection, account_id, policy_id)
                affected |= _attach_one(connection, policy, sockets, wanted, author)
            _check_number(connection, sockets, limit)
            given = {one for wanted in attaching.values() for one, there in wanted.items() if there}
            if affected & given:
                check_effective(connection, account_id, affected & given)
                check_told(connection, account_id, author.at)
            touch(connection, affected, author.at)

    def policy_history(
        self, account_id: str, policy_id: str, *, offset: int, limit: int
    ) -> tuple[PolicyVersionRecord, ...]:
        """What happened to a policy, newest first; also to one that is deleted."""
        query = (
            select(*columns_for(PolicyVersionRecord, VERSIONS))
            .where(VERSIONS.c.account_id == account_id, VERSIONS.c.policy_id == policy_id)
            .order_by(VERSIONS.c.entry_id.desc())
            .offset(offset)
            .limit(limit)
        )
        with self.database.reading() as connection:
            rows = connection.execute(query).mappings()
            return tuple(PolicyVersionRecord(**row) for row in rows)

    def get_policy_version(
        self, account_id: str, policy_id: str, version: int
    ) -> PolicyVersionRecord:
        """A policy as it was from this version on.

        Raises:
            NotFound: the account has no such policy, or that no such version.
        """
        with self.database.reading() as connection:
            found = find_one(
                connection,
                PolicyVersionRecord,
                VERSIONS,
                VERSIONS.c.account_id == account_id,
                VERSIONS.c.policy_id == policy_id,
                VERSIONS.c.version == version,
                VERSIONS.c.document.is_not(None),
            )
        if found is None:
            raise NotFound("no such version of a policy", reason="policy-version-unknown")
        return found

    def policy_changes_until(
        self, account_id: str, at: datetime
    ) -> tuple[PolicyVersionRecord, ...]:
        """What the account's policies were at a moment, oldest first: of each that was there its
        newest version, and everything that happened to it beside.
        """
        until = (VERSIONS.c.account_id == account_id, VERSIONS.c.at <= at)
        gone = select(VERSIONS.c.policy_id).where(
            *until, VERSIONS.c.change == PolicyChangeKind.DELETED
        )
        newest = (
            select(func.max(VERSIONS.c.entry_id))
            .where(*until, VERSIONS.c.document.is_not(None))
            .group_by(VERSIONS.c.policy_id)
        )
        with self.database.reading() as connection:
            return find_all(
                connection,
                PolicyVersionRecord,
                VERSIONS,
                *until,
                VERSIONS.c.policy_id.not_in(gone),
                or_(VERSIONS.c.document.is_(None), VERSIONS.c.entry_id.in_(newest)),
                order_by=[VERSIONS.c.entry_id],
            )

    def forget_policy_versions(self, before: datetime) -> None:
        """Remove versions superseded before a moment; what was in force then stays."""
        with self.database.writing() as connection:
            forget_versions(connection, before)


def owned_policy(connection: Connection, account_id: str, policy_id: str) -> PolicyRecord:
    """The account's own policy, in a transaction under way.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    found = find_one(
        connection,
        PolicyRecord,
        POLICIES,
        POLICIES.c.policy_id == policy_id,
        POLICIES.c.account_id == account_id,
    )
    if found is None:
        raise NotFound("no such policy", reason="policy-unknown")
    return found


def _attach_one(
    connection: Connection,
    policy: PolicyRecord,
    sockets: Mapping[str, SocketRecord],
    wanted: Mapping[str, bool],
    author: Author,
) -> frozenset[str]:
    """Attach or detach one policy; the sockets that thereby get other rules."""
    query = select(ATTACHMENTS.c.socket_id).where(ATTACHMENTS.c.policy_id == policy.policy_id)
    attached = set(connection.execute(query).scalars())
    added = tuple(one for one, there in wanted.items() if there and one not in attached)
    removed = tuple(one for one, there in wanted.items() if not there and one in attached)
    if not all(sockets[one].cloud_authentication_enabled for one in added):
        raise InvalidInput(
            "a policy says who may come in, but this socket asks nobody who they are: set"
            " cloud_authentication_enabled first",
            field="actions",
            reason="policy-without-authentication",
        )
    if added:
        rows = [{"socket_id": one, "policy_id": policy.policy_id} for one in added]
        connection.execute(insert(ATTACHMENTS), rows)
        _note(connection, policy, PolicyChangeKind.ATTACHED, author, socket_ids=added)
    for part in in_parts(removed):
        these = ATTACHMENTS.c.socket_id.in_(part)
        connection.execute(
            delete(ATTACHMENTS).where(ATTACHMENTS.c.policy_id == policy.policy_id, these)
        )
    if removed:
        _note(connection, policy, PolicyChangeKind.DETACHED, author, socket_ids=removed)
    # An organisation-wide policy bears on the socket either way.
    return frozenset() if policy.org_wide else frozenset(added + removed)


def _owned_sockets(
    connection: Connection, account_id: str, socket_ids: Iterable[str]
) -> dict[str, SocketRecord]:
    wanted = frozenset(socket_ids)
    found = {
        socket.socket_id: socket
        for part in in_parts(wanted)
        for socket in find_all(
            connection,
            SocketRecord,
            SOCKETS,
            SOCKETS.c.account_id == account_id,
            SOCKETS.c.socket_id.in_(part),
        )
    }
    if len(found) < len(wanted):
        raise NotFound("no such socket", reason="socket-unknown")
    return found


def _check_number(connection: Connection, socket_ids: Iterable[str], limit: int) -> None:
    for part in in_parts(socket_ids):
        query = (
            select(ATTACHMENTS.c.socket_id)
            .where(ATTACHMENTS.c.socket_id.in_(part))
            .group_by(ATTACHMENTS.c.socket_id)
            .having(func.count() > limit)
        )
        if connection.execute(query).first() is not None:
            raise QuotaExceeded(f"no more than {limit} policies can be attached to a socket")


def _keep_below(connection: Connection, account_id: str, limit: int | None) -> None:
    if limit is None:
        return
    query = select(func.count()).where(POLICIES.c.account_id == account_id)
    if connection.execute(query).scalar_one() >= limit:
        raise QuotaExceeded(f"no more than {limit} policies are allowed here")


def _check_name(connection: Connection, policy: PolicyRecord) -> None:
    query = select(POLICIES.c.policy_id).where(
        POLICIES.c.account_id == policy.account_id,
        POLICIES.c.name == policy.name,
        POLICIES.c.policy_id != policy.policy_id,
    )
    if connection.execute(query).first() is not None:
        raise PolicyNameTaken("another policy has this name")


def _check_lists(connection: Connection, policy: PolicyRecord) -> None:
    known = list_heads(connection, policy.account_id, policy.prefix_lists)
    missing = sorted(set(policy.prefix_lists) - set(known))
    if missing:
        raise InvalidInput(
            f"there is no prefix list called {missing[0]}",
            field="policy_data",
            reason="prefix-list-unknown",
        )


def _check_cases(connection: Connection, policy: PolicyRecord, tried: TriedOn | None) -> None:
    check_still_so(connection, policy.account_id, tried, names=policy.prefix_lists)


def _note(
    connection: Connection,
    policy: PolicyRecord,
    change: PolicyChangeKind,
    author: Author,
    *,
    socket_ids: tuple[str, ...] = (),
) -> None:
    without_document = {
        PolicyChangeKind.ATTACHED,
        PolicyChangeKind.DETACHED,
        PolicyChangeKind.DELETED,
    }
    document = None if change in without_document else policy.document
    if change not in {PolicyChangeKind.DETACHED, PolicyChangeKind.DELETED}:
        check_history(connection, policy, author.at, document=document is not None)
    entry = PolicyVersionRecord(
        policy_id=policy.policy_id,
        account_id=policy.account_id,
        version=policy.version,
        change=change,
        name=policy.name,
        description=policy.description,
        document=document,
        org_wide=policy.org_wide,
        socket_ids=socket_ids,
        at=author.at,
        changed_by=author.email,
        why=author.why,
    )
    connection.execute(insert(VERSIONS).values(values_of(entry)))
