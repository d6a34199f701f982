"""Named lists of addresses and their history. A change of one bears on the sockets whose policies
name it.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from idp_gateway.errors import Conflict, NotFound, PrefixListInUse, QuotaExceeded
from idp_gateway.policy_records import (
    PolicyRecord,
    PrefixListChangeKind,
    PrefixListRecord,
    PrefixListVersionRecord,
)
from idp_gateway.store.base import StorePart, columns_for, find_all, find_one, in_parts, values_of
from idp_gateway.store.edge_limits import check_told, until_counted
from idp_gateway.store.histories import History
from idp_gateway.store.policies import STALE, Author
from idp_gateway.store.policy_limits import check_effective
from idp_gateway.store.rules import LISTS, POLICIES, sockets_borne_on, touch
from idp_gateway.store.tried_cases import TriedOn, check_still_so
from idp_gateway.tables import table_of
from idp_gateway.tables_of_lists import PrefixListVersion

VERSIONS = table_of(PrefixListVersion)

MAX_ENTRIES = 1_000
"""Entries that the history of an account's lists keeps."""
MAX_TEXT = 64 << 20
"""Characters of what they held that they do not hold any more."""


class PrefixListStore(StorePart):
    """Tables ``prefix_lists`` and ``prefix_list_versions``."""

    @until_counted
    def put_prefix_list(
        self,
        given: PrefixListRecord,
        *,
        based_on: int | None = None,
        limit: int | None = None,
        tried: TriedOn | None = None,
    ) -> PrefixListRecord:
        """Keep a list, new or in the place of the one before; the same addresses change nothing.

        ``tried``: the policies that name it, whose cases hold with it, and their other lists.

        Raises:
            QuotaExceeded: it is new, and the account has ``limit`` lists already.
            QuotaExceeded: all that the history of the account's lists may hold is of the last day,
                or policies name more networks with it than may bear on a socket.
            Conflict: ``based_on`` is not the version in force (0 for none yet), or other policies
                or lists are to be tried by now (``CASES_OLD``).
        """
        with self.database.changing_of(given.account_id) as connection:
            before = _find(connection, given.account_id, given.name)
            version = 0 if before is None else before.version
            if based_on is not None and based_on != version:
                raise Conflict(f"version {version} is in force by now", reason=STALE)
            if before is None:
                _keep_below(connection, given.account_id, limit)
                newest = _newest_version(connection, given.account_id, given.name)
                made = replace(given, version=newest + 1)
                connection.execute(insert(LISTS).values(_row(made)))
                _note(connection, made, PrefixListChangeKind.CREATED)
                return made
            if before.prefixes == given.prefixes:
                return before
            naming = _naming(connection, given.account_id, given.name)
            others = {name for policy in naming for name in policy.prefix_lists} - {given.name}
            check_still_so(connection, given.account_id, tried, names=others, policies=naming)
            after = replace(given, version=version + 1)
            where = _is(given.account_id, given.name)
            connection.execute(update(LISTS).where(where).values(_row(after)))
            _note(connection, after, PrefixListChangeKind.CHANGED)
            borne_on = sockets_borne_on(connection, given.account_id, naming)
            if len(after.prefixes) > len(before.prefixes):
                check_effective(connection, given.account_id, borne_on)
            if borne_on:
                check_told(connection, given.account_id, given.updated_at, before=before)
            touch(connection, borne_on, given.updated_at)
        return after

    def delete_prefix_list(self, account_id: str, name: str, author: Author) -> None:
        """Remove a list; its history stays.

        Raises:
            NotFound: the account has no such list.
            PrefixListInUse: a policy names it.
        """
        with self.database.changing_of(account_id) as connection:
            found = _find(connection, account_id, name)
            if found is None:
                raise NotFound("no such prefix list", reason="prefix-list-unknown")
            naming = _naming(connection, account_id, name)
            if naming:
                raise PrefixListInUse(
                    "policies name this list", policies=tuple(policy.name for policy in naming)
                )
            connection.execute(delete(LISTS).where(_is(account_id, name)))
            gone = replace(
                found,
                prefixes=(),
                summary={},
                updated_at=author.at,
                changed_by=author.email,
                why=author.why,
            )
            _note(connection, gone, PrefixListChangeKind.DELETED)

    def get_prefix_list(self, account_id: str, name: str) -> PrefixListRecord:
        """One of the account's lists.

        Raises:
            NotFound: there is none, or it is another account's.
        """
        with self.database.reading() as connection:
            found = _find(connection, account_id, name)
        if found is None:
            raise NotFound("no such prefix list", reason="prefix-list-unknown")
        return found

    def prefix_lists_of(self, account_id: str) -> tuple[PrefixListRecord, ...]:
        """The account's lists by name."""
        with self.database.reading() as connection:
            return find_all(
                connection,
                PrefixListRecord,
                LISTS,
                LISTS.c.account_id == account_id,
                order_by=[LISTS.c.name],
            )

    def prefix_list_history(
        self, account_id: str, name: str, *, offset: int, limit: int
    ) -> tuple[PrefixListVersionRecord, ...]:
        """What happened to a list, newest first; also to one that is deleted."""
        query = (
            select(*columns_for(PrefixListVersionRecord, VERSIONS))
            .where(VERSIONS.c.account_id == account_id, VERSIONS.c.name == name)
            .order_by(VERSIONS.c.entry_id.desc())
            .offset(offset)
            .limit(limit)
        )
        with self.database.reading() as connection:
            rows = connection.execute(query).mappings()
            return tuple(PrefixListVersionRecord(**row) for row in rows)

    def prefix_lists_at(
        self, account_id: str, names: Iterable[str], at: datetime
    ) -> tuple[PrefixListRecord, ...]:
        """Those of the account's lists that were there at a moment, as they were then."""
        found: list[PrefixListVersionRecord] = []
        with self.database.reading() as connection:
            for part in in_parts(names):
                newest = (
                    select(func.max(VERSIONS.c.entry_id))
                    .where(VERSIONS.c.account_id == account_id, VERSIONS.c.name.in_(part))
                    .where(VERSIONS.c.at <= at)
                    .group_by(VERSIONS.c.name)
                )
                found += find_all(
                    connection,
                    PrefixListVersionRecord,
                    VERSIONS,
                    VERSIONS.c.entry_id.in_(newest),
                    order_by=[VERSIONS.c.name],
                )
        return tuple(_as_then(one) for one in found if one.change != PrefixListChangeKind.DELETED)

    def forget_prefix_list_versions(self, before: datetime) -> None:
        """Remove versions superseded before a moment; what lists held then stays."""
        old = VERSIONS.c.at < before
        held_then = (
            select(func.max(VERSIONS.c.entry_id))
            .where(old)
            .group_by(VERSIONS.c.account_id, VERSIONS.c.name)
        )
        gone = VERSIONS.c.change == PrefixListChangeKind.DELETED
        with self.database.writing() as connection:
            connection.execute(delete(VERSIONS).where(old, VERSIONS.c.entry_id.not_in(held_then)))
            connection.execute(delete(VERSIONS).where(old, gone))


def _as_then(entry: PrefixListVersionRecord) -> PrefixListRecord:
    return PrefixListRecord(
        account_id=entry.account_id,
        name=entry.name,
        version=entry.version,
        prefixes=entry.prefixes,
        summary=entry.summary,
        source=entry.source,
        updated_at=entry.at,
        changed_by=entry.changed_by,
        why=entry.why,
    )


def _newest_version(connection: Connection, account_id: str, name: str) -> int:
    query = select(func.max(VERSIONS.c.version)).where(
        VERSIONS.c.account_id == account_id, VERSIONS.c.name == name
    )
    return connection.execute(query).scalar_one() or 0


def _check_history(connection: Connection, coming: PrefixListRecord) -> None:
    of_account = VERSIONS.c.account_id == coming.account_id
    there = select(LISTS.c.name).where(LISTS.c.account_id == coming.account_id)
    newest = (
        select(func.max(VERSIONS.c.entry_id))
        .where(of_account, VERSIONS.c.name.in_(there))
        .group_by(VERSIONS.c.name)
    )
    history = History(table=VERSIONS, where=[of_account], keep=VERSIONS.c.entry_id.in_(newest))
    history.make_room(connection, coming.updated_at, limit=MAX_ENTRIES)
    history.make_space(
        connection,
        coming.updated_at,
        column="prefixes",
        limit=MAX_TEXT,
        coming=len(json.dumps(coming.prefixes)),
    )


def _note(connection: Connection, found: PrefixListRecord, change: PrefixListChangeKind) -> None:
    if change is not PrefixListChangeKind.DELETED:
        _check_history(connection, found)
    entry = PrefixListVersionRecord(
        account_id=found.account_id,
        name=found.name,
        version=found.version,
        change=change,
        prefixes=found.prefixes,
        summary=found.summary,
        source=found.source,
        at=found.updated_at,
        changed_by=found.changed_by,
        why=found.why,
    )
    connection.execute(insert(VERSIONS).values(values_of(entry)))


def _row(found: PrefixListRecord) -> dict[str, Any]:
    return {**values_of(found), "networks": found.head.networks}


def _is(account_id: str, name: str) -> ColumnElement[bool]:
    return and_(LISTS.c.account_id == account_id, LISTS.c.name == name)


def _find(connection: Connection, account_id: str, name: str) -> PrefixListRecord | None:
    return find_one(connection, PrefixListRecord, LISTS, _is(account_id, name))


def _naming(connection: Connection, account_id: str, name: str) -> tuple[PolicyRecord, ...]:
    """The account's policies that look at the list."""
    policies = find_all(connection, PolicyRecord, POLICIES, POLICIES.c.account_id == account_id)
    return tuple(policy for policy in policies if name in policy.prefix_lists)


def _keep_below(connection: Connection, account_id: str, limit: int | None) -> None:
    if limit is None:
        return
    query = select(func.count()).where(LISTS.c.account_id == account_id)
    if connection.execute(query).scalar_one() >= limit:
        raise QuotaExceeded(f"no more than {limit} prefix lists are allowed here")
