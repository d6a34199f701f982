"""Local accounts: a name, an e-mail address, a password hash and a key for tunnels.

Passwords are kept as argon2id hashes (RFC 9106). An unknown account costs a guesser as much time as
a known one, and counts the same; guesses are regulated per account and per address.
"""

import uuid
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ca.errors import SubjectKeyError
from ca.subject_keys import parse_ssh_public_key
from idp_gateway.errors import KeyRefused, LoginFailed
from idp_gateway.rates import counted_address, regulate
from idp_gateway.records import AccountRecord
from idp_gateway.store import Store
from policy.types import IPAddress

FAILURE_WINDOW = timedelta(minutes=15)
"""How long a failed login counts."""
MAX_FAILURES_PER_ACCOUNT = 10
"""On one account from one address, so that one guesser does not lock its owner out elsewhere."""
MAX_FAILURES_EVERYWHERE = 100
"""On one account from all addresses together: guessers may have many. Whoever has ten addresses to
spend can therefore still keep an account's owner from logging in anew; sessions go on."""
MAX_FAILURES_PER_ADDRESS = 30
"""Higher than per account: an office shares one address."""
SIGNUPS_WINDOW = timedelta(hours=1)
MAX_SIGNUPS_PER_ADDRESS = 20

_MEMORY_KIB = 32 * 1024


def hash_password(password: str) -> str:
    """The argon2id hash of ``password`` in the PHC string format, salted."""
    return _hasher().hash(password)


def check_password(password: str, password_hash: str | None) -> bool:
    """Whether ``password`` belongs to the hash; without a hash, the same work and ``False``."""
    if not password_hash:
        _hasher().hash(password)
        return False
    try:
        return _hasher().verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def register(
    store: Store,
    *,
    name: str,
    email: str,
    password: str,
    ssh_key: str = "",
    email_verified: bool = False,
    now: datetime,
) -> AccountRecord:
    """Add an account; its e-mail admits to no socket until somebody vouches for it.

    ``email`` is the canonical spelling of an ``EmailAddress``.

    Raises:
        KeyRefused: ``ssh_key`` is neither empty nor one acceptable public key.
        EmailTaken: another account has the address.
    """
    account = AccountRecord(
        account_id=str(uuid.uuid4()),
        email=email,
        email_verified=email_verified,
        name=name,
        password_hash=hash_password(password),
        ssh_key=vetted_key_line(ssh_key),
        created_at=now,
        verified_at=now if email_verified else None,
    )
    store.add_account(account)
    return account


def vetted_key_line(text: str) -> str:
    """The canonical ``authorized_keys`` line of ``text``, or nothing for nothing.

    Raises:
        KeyRefused: not one public key, or one that is not safe to accept.
    """
    if not text.strip():
        return ""
    try:
        return parse_ssh_public_key(text.strip()).line
    except SubjectKeyError as error:
        raise KeyRefused(str(error), field="sshkey", reason=error.reason) from error


def authenticate(
    store: Store, *, email: str, password: str, source_ip: IPAddress, now: datetime
) -> AccountRecord:
    """The account that e-mail address and password belong to.

    Raises:
        TooManyAttempts: too many failures of late, on the account or from the address; the
            password was not looked at.
        LoginFailed: they do not belong together; which is wrong is not said.
    """
    address = counted_address(source_ip)
    address_key = f"login-address:{address}"
    limits = {
        f"login-account:{email} {address}": MAX_FAILURES_PER_ACCOUNT,
        f"login-account:{email}": MAX_FAILURES_EVERYWHERE,
    }
    regulate(store, address_key, MAX_FAILURES_PER_ADDRESS, FAILURE_WINDOW, now)
    for key, limit in limits.items():
        regulate(store, key, limit, FAILURE_WINDOW, now)
        # Counted before it is looked at: guesses made side by side must not all slip through.
        store.record_failure(key, now)
        regulate(store, key, limit + 1, FAILURE_WINDOW, now)
    account = store.find_account_by_email(email)
    if check_password(password, account.password_hash if account else None) and account:
        for key in limits:
            store.forget_failures(key)
        return account
    store.record_failure(address_key, now)
    raise LoginFailed("e-mail address and password do not belong together")


def regulate_signups(store: Store, source_ip: IPAddress, now: datetime) -> None:
    """Count one attempt to create an account from ``source_ip``.

    Raises:
        TooManyAttempts: the address has made too many within the hour.
    """
    key = f"signup-address:{counted_address(source_ip)}"
    regulate(store, key, MAX_SIGNUPS_PER_ADDRESS, SIGNUPS_WINDOW, now)
    store.record_failure(key, now)


def _hasher() -> PasswordHasher:
    return PasswordHasher(time_cost=3, memory_cost=_MEMORY_KIB, parallelism=1)
