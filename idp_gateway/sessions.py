"""Login sessions: what a browser's cookie stands for, and how one begins and ends.

The cookie is 256 random bits; the database holds its SHA-256, so a stolen database opens nothing.
Every login makes a new session and ends the one the browser had (session fixation); ending one ends
the renewals of every socket session made under it.
"""

import hashlib
import logging
import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from idp_gateway.cookies import LOGIN
from idp_gateway.errors import LoginFailed, TokenInvalid
from idp_gateway.records import AccountRecord, LoginSessionRecord
from idp_gateway.settings import Settings
from idp_gateway.store import Store
from policy.types import Identity

_log = logging.getLogger(__name__)


def new_secret() -> str:
    """256 random bits as 43 characters of base64url."""
    return secrets.token_urlsafe(32)


def secret_digest(secret: str) -> str:
    """What the database keeps of a random secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8")).hexdigest()


def begin_session(
    store: Store,
    identity: Identity,
    *,
    life: timedelta,
    now: datetime,
    account: AccountRecord | None = None,
) -> tuple[str, LoginSessionRecord]:
    """Start a login session; the first value is for the cookie and kept nowhere else.

    ``account`` is the local account whose password was checked, as it was then.

    Raises:
        LoginFailed: its password was replaced while it was being checked.
    """
    secret = new_secret()
    record = LoginSessionRecord(
        session_id=secret_digest(secret),
        issuer=identity.issuer,
        subject=identity.subject,
        email=str(identity.email) if identity.email is not None else None,
        name=identity.name,
        assurance=identity.assurance,
        provider=identity.provider,
        groups=tuple(sorted(map(str, identity.groups))),
        authenticated_at=identity.authenticated_at,
        expires_at=now + life,
    )
    note_identity(store, identity, now=now)
    store.add_login_session(record)
    if account is not None and not _unchanged(store, account):
        # Handing an account over ends the logins it finds; this one came a moment later.
        store.revoke_login_session(record.session_id, now)
        raise LoginFailed("e-mail address and password do not belong together")
    return secret, record


def _unchanged(store: Store, account: AccountRecord) -> bool:
    known = store.find_account(account.account_id)
    return known is not None and known.password_hash == account.password_hash


def renew_session(
    store: Store, session: LoginSessionRecord, *, until: datetime
) -> LoginSessionRecord:
    """Go on with a login: another session of the same person that ends when the login is ended.

    Raises:
        TokenInvalid: the login was ended meanwhile.
    """
    renewed = replace(
        session,
        session_id=secret_digest(new_secret()),
        expires_at=until,
        renews=session.first_id,
    )
    if not store.renew_login_session(renewed, renewed_id=session.session_id):
        raise TokenInvalid("this login has ended; log in again", reason="login-ended")
    return renewed


def find_session(
    store: Store, cookies: dict[str, str], *, now: datetime
) -> LoginSessionRecord | None:
    """The login session of a request's cookies, if it still stands."""
    secret = cookies.get(LOGIN, "")
    if not secret:
        return None
    record = store.find_login_session(secret_digest(secret))
    return record if record is not None and record.stands(now) else None


def note_identity(store: Store, identity: Identity, *, now: datetime) -> None:
    """Remember that somebody was seen; say so when an address has become somebody else's.

    A lapsed domain that is registered again brings back old addresses under new subjects: nothing
    but this notices (identities are keyed by issuer and subject, never by e-mail).
    """
    email = str(identity.email) if identity.email is not None else None
    key = (identity.issuer, identity.subject)
    if email is not None and store.find_identity(*key) is None:
        known = store.identities_with_email(email)
        if any(record.issuer == identity.issuer for record in known):
            _log.warning("e-mail-changed-hands", extra={"issuer": identity.issuer, "email": email})
    store.upsert_identity(
        issuer=identity.issuer, subject=identity.subject, email=email, name=identity.name, now=now
    )


def login_life(settings: Settings) -> timedelta:
    """How long a login lasts."""
    return timedelta(hours=settings.login_session_hours)
