"""Named lists of addresses. A change of one bears on the sockets whose policies name it."""

from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from idp_gateway.errors import Conflict, NotFound, PrefixListInUse, QuotaExceeded
from idp_gateway.policy_records import PolicyRecord, PrefixListRecord
from idp_gateway.store.base import StorePart, find_all, find_one, values_of
from idp_gateway.store.policies import STALE
from idp_gateway.store.rules import LISTS, POLICIES, sockets_borne_on, touch


class PrefixListStore(StorePart):
    """Table ``prefix_lists``."""

    def put_prefix_list(
        self,
        given: PrefixListRecord,
        *,
        based_on: int | None = None,
        limit: int | None = None,
    ) -> PrefixListRecord:
        """Keep a list, new or in the place of the one before; the same addresses change nothing.

        Raises:
            QuotaExceeded: it is new, and the account has ``limit`` lists already.
            Conflict: ``based_on`` is not the version in force (0 for none yet).
        """
        with self.database.changing() as connection:
            before = _find(connection, given.account_id, given.name)
            version = 0 if before is None else before.version
            if based_on is not None and based_on != version:
                raise Conflict(f"version {version} is in force by now", reason=STALE)
            if before is None:
                _keep_below(connection, given.account_id, limit)
                connection.execute(insert(LISTS).values(values_of(replace(given, version=1))))
                return replace(given, version=1)
            if before.prefixes == given.prefixes:
                return before
            after = replace(given, version=version + 1)
            where = _is(given.account_id, given.name)
            connection.execute(update(LISTS).where(where).values(values_of(after)))
            naming = _naming(connection, given.account_id, given.name)
            borne_on = sockets_borne_on(connection, given.account_id, naming)
            touch(connection, borne_on, given.updated_at)
        return after

    def delete_prefix_list(self, account_id: str, name: str) -> None:
        """Remove a list.

        Raises:
            NotFound: the account has no such list.
            PrefixListInUse: a policy names it.
        """
        with self.database.changing() as connection:
            if _find(connection, account_id, name) is None:
                raise NotFound("no such prefix list", reason="prefix-list-unknown")
            naming = _naming(connection, account_id, name)
            if naming:
                raise PrefixListInUse(
                    "policies name this list", policies=tuple(policy.name for policy in naming)
                )
            connection.execute(delete(LISTS).where(_is(account_id, name)))

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
