"""Accounts of people who own sockets, and every identity that was ever seen."""

from datetime import datetime

from sqlalchemy import Connection, insert, update
from sqlalchemy.exc import IntegrityError

from idp_gateway.errors import EmailTaken, NotFound
from idp_gateway.records import AccountRecord, ChangeKind, IdentityRecord
from idp_gateway.store.base import StorePart, find_all, find_one, note_change, values_of
from idp_gateway.tables import Account, KnownIdentity, LoginSession, table_of

ACCOUNTS = table_of(Account)
IDENTITIES = table_of(KnownIdentity)
SESSIONS = table_of(LoginSession)


class AccountStore(StorePart):
    """Tables ``accounts`` and ``identities``."""

    def add_account(self, account: AccountRecord) -> None:
        """Keep a new account.

        Raises:
            EmailTaken: the address has an account already.
        """
        try:
            with self.database.changing() as connection:
                connection.execute(insert(ACCOUNTS).values(values_of(account)))
                note_change(
                    connection, ChangeKind.TUNNEL_USER, [account.account_id], account.created_at
                )
        except IntegrityError as error:
            raise EmailTaken("this e-mail address has an account already") from error

    def find_account(self, account_id: str) -> AccountRecord | None:
        """The account with this id (with dashes)."""
        with self.database.reading() as connection:
            return find_one(
                connection, AccountRecord, ACCOUNTS, ACCOUNTS.c.account_id == account_id
            )

    def find_account_by_email(self, email: str) -> AccountRecord | None:
        """The account with this address, given as ``str(EmailAddress)``."""
        with self.database.reading() as connection:
            return find_one(connection, AccountRecord, ACCOUNTS, ACCOUNTS.c.email == email)

    def accounts(self) -> tuple[AccountRecord, ...]:
        """Every account, oldest first."""
        with self.database.reading() as connection:
            return find_all(connection, AccountRecord, ACCOUNTS, order_by=[ACCOUNTS.c.created_at])

    def hand_over_account(
        self, account_id: str, *, password_hash: str, name: str | None, issuer: str, now: datetime
    ) -> AccountRecord:
        """An operator gives the account to the owner of its e-mail address, who now counts as such.

        Whoever made the account may be somebody else: its password is replaced, its tunnel key
        removed and every login of it ended: sessions of the local ``issuer``, and at the tunnel
        server, where certificates of an earlier generation are void.
        """
        renamed = {"name": name} if name is not None else {}
        with self.database.changing() as connection:
            account = _update_account(
                connection,
                account_id,
                password_hash=password_hash,
                ssh_key="",
                email_verified=True,
                verified_at=now,
                generation=ACCOUNTS.c.generation + 1,
                **renamed,
            )
            connection.execute(
                update(SESSIONS)
                .where(SESSIONS.c.issuer == issuer, SESSIONS.c.subject == account_id)
                .where(SESSIONS.c.revoked_at.is_(None))
                .values(revoked_at=now)
            )
            note_change(connection, ChangeKind.TUNNEL_USER, [account_id], now)
            return account

    def set_account_password(self, account_id: str, password_hash: str) -> AccountRecord:
        """Replace the account's password hash."""
        return self._set_account(account_id, password_hash=password_hash)

    def set_account_ssh_key(self, account_id: str, ssh_key: str, now: datetime) -> AccountRecord:
        """Replace the public key the account's tunnels log in with; empty for none."""
        with self.database.changing() as connection:
            account = _update_account(connection, account_id, ssh_key=ssh_key)
            note_change(connection, ChangeKind.TUNNEL_USER, [account_id], now)
            return account

    def _set_account(self, account_id: str, **values: object) -> AccountRecord:
        with self.database.writing() as connection:
            return _update_account(connection, account_id, **values)

    def upsert_identity(
        self,
        *,
        issuer: str,
        subject: str,
        email: str | None,
        name: str,
        account_id: str | None = None,
        now: datetime,
    ) -> IdentityRecord:
        """Note that somebody was seen; the first time stays, so does a known account."""
        key = (IDENTITIES.c.issuer == issuer, IDENTITIES.c.subject == subject)
        with self.database.writing() as connection:
            known = find_one(connection, IdentityRecord, IDENTITIES, *key)
            record = IdentityRecord(
                issuer=issuer,
                subject=subject,
                email=email,
                name=name,
                account_id=account_id or (known.account_id if known else None),
                first_seen=known.first_seen if known else now,
                last_seen=now,
            )
            if known is None:
                connection.execute(insert(IDENTITIES).values(values_of(record)))
            else:
                connection.execute(update(IDENTITIES).where(*key).values(values_of(record)))
        return record

    def find_identity(self, issuer: str, subject: str) -> IdentityRecord | None:
        """What is known of somebody a provider vouched for."""
        with self.database.reading() as connection:
            return find_one(
                connection,
                IdentityRecord,
                IDENTITIES,
                IDENTITIES.c.issuer == issuer,
                IDENTITIES.c.subject == subject,
            )

    def identities_with_email(self, email: str) -> tuple[IdentityRecord, ...]:
        """Everybody ever seen under an address, in that order: more than one is a warning."""
        with self.database.reading() as connection:
            return find_all(
                connection,
                IdentityRecord,
                IDENTITIES,
                IDENTITIES.c.email == email,
                order_by=[IDENTITIES.c.first_seen],
            )


def _update_account(connection: Connection, account_id: str, **values: object) -> AccountRecord:
    row = (
        connection.execute(
            update(ACCOUNTS)
            .where(ACCOUNTS.c.account_id == account_id)
            .values(**values)
            .returning(*ACCOUNTS.c)
        )
        .mappings()
        .first()
    )
    if row is None:
        raise NotFound("no such account")
    return AccountRecord(**row)
