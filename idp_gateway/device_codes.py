"""Device codes (RFC 8628): a program without a browser asks, a person elsewhere allows."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from idp_gateway.client_access import Audience
from idp_gateway.rates import counted_address, regulate
from idp_gateway.records import DeviceCodeRecord, DeviceState
from idp_gateway.sessions import new_secret, secret_digest
from idp_gateway.store import Store
from policy.types import Identity, IPAddress

DEVICE_CODE_LIFE = timedelta(minutes=10)
INTERVAL = timedelta(seconds=5)
"""How long a program waits between two questions."""
MAX_STARTS = 30
"""Device logins an address may start within ``DEVICE_CODE_LIFE``."""
MAX_GUESSES = 10
"""Wrong codes a person may type within ``DEVICE_CODE_LIFE``."""

_PATIENCE = timedelta(seconds=1)
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that no code is a word (RFC 8628 §6.1)."""
_LENGTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedDeviceLogin:
    """What the program is told."""

    device_code: str = field(repr=False)
    user_code: str
    """``XXXX-XXXX``, for people."""


def start_device_login(
    store: Store, audience: Audience, *, source_ip: IPAddress, now: datetime
) -> StartedDeviceLogin:
    """Begin a device login.

    Raises:
        TooManyAttempts: the address has begun too many.
    """
    key = f"device-start:{counted_address(source_ip)}"
    regulate(store, key, MAX_STARTS, DEVICE_CODE_LIFE, now)
    store.record_failure(key, now)
    device_code = new_secret()
    user_code = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    store.add_device_code(
        DeviceCodeRecord(
            device_code_hash=secret_digest(device_code),
            user_code=user_code,
            payload={"audience": str(audience), "source_ip": str(source_ip)},
            created_at=now,
            expires_at=now + DEVICE_CODE_LIFE,
        )
    )
    return StartedDeviceLogin(device_code=device_code, user_code=spaced(user_code))


def find_by_user_code(
    store: Store, text: str, *, identity: Identity, now: datetime
) -> DeviceCodeRecord | None:
    """The pending device login whose code somebody typed, in any case and spacing.

    Raises:
        TooManyAttempts: this person has guessed wrong too often.
    """
    # Not by session: a fresh login must not buy fresh guesses.
    key = f"device-guess:{secret_digest(f'{identity.issuer} {identity.subject}')}"
    regulate(store, key, MAX_GUESSES, DEVICE_CODE_LIFE, now)
    code = "".join(character for character in text.upper() if character in _LETTERS)
    record = store.find_device_code_by_user_code(code, now) if len(code) == _LENGTH else None
    if record is None or record.state is not DeviceState.PENDING:
        store.record_failure(key, now)
        return None
    return record


def polled_too_soon(record: DeviceCodeRecord, now: datetime) -> bool:
    """Whether a program asked again before its interval was over."""
    last = record.last_polled_at
    return last is not None and now - last < INTERVAL - _PATIENCE


def spaced(user_code: str) -> str:
    """A user code as people read it."""
    return f"{user_code[:4]}-{user_code[4:]}"
