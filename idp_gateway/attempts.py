"""A sign-in at a provider, from the button to the answer.

What the answer is checked against lives in the database and works once; a signed cookie of its own
ties the attempt to the browser that began it, so an answer carried into another browser is worth
nothing. Every attempt has its own cookie, so several tabs work; the oldest gives way to the sixth.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from idp_gateway.cookies import ATTEMPT, clear_cookie, names_with, set_cookie
from idp_gateway.errors import InvalidInput
from idp_gateway.forms import SignatureRefused, Signer
from idp_gateway.providers.base import Attempt
from idp_gateway.records import LoginAttemptRecord
from idp_gateway.sessions import new_secret, secret_digest
from idp_gateway.store import Store
from idp_gateway.targets import ReturnTo

ATTEMPT_LIFE = timedelta(minutes=10)
MAX_ATTEMPTS = 5
"""Sign-ins one browser may have under way; more would overflow its cookies."""

_TAG_LENGTH = 8
_PURPOSE = "login-attempt"


class AttemptUnknown(InvalidInput):
    """An answer to no attempt of this browser: used up, too old, or begun elsewhere."""

    reason = "attempt-unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedAttempt:
    """An attempt with the cookies that tie it to the browser."""

    attempt: Attempt
    cookies: tuple[str, ...]


def start_attempt(
    store: Store,
    signer: Signer,
    *,
    provider: str,
    redirect_uri: str,
    return_to: ReturnTo,
    cookies: Mapping[str, str],
    now: datetime,
) -> StartedAttempt:
    """Begin a sign-in at ``provider``; ``cookies`` are those the browser has."""
    attempt = Attempt(
        state=new_secret(),
        nonce=new_secret(),
        code_verifier=new_secret(),
        redirect_uri=redirect_uri,
    )
    until = now + ATTEMPT_LIFE
    store.add_login_attempt(
        LoginAttemptRecord(
            attempt_id=secret_digest(attempt.state),
            provider=provider,
            nonce=attempt.nonce,
            code_verifier=attempt.code_verifier,
            return_to={"path": return_to.path},
            created_at=now,
            expires_at=until,
        )
    )
    signed = signer.sign(_PURPOSE, {"a": secret_digest(attempt.state)}, until=until)
    crowded = names_with(cookies, ATTEMPT)[: -(MAX_ATTEMPTS - 1)]
    return StartedAttempt(
        attempt=attempt,
        cookies=(
            set_cookie(_cookie_name(attempt.state), signed, max_age=ATTEMPT_LIFE),
            *map(clear_cookie, crowded),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedAttempt:
    """An attempt whose answer has come, to the right browser and for the first time."""

    attempt: Attempt
    return_to: ReturnTo
    cookie_name: str


def finish_attempt(
    store: Store,
    signer: Signer,
    *,
    provider: str,
    redirect_uri: str,
    state: str,
    cookies: Mapping[str, str],
    now: datetime,
) -> FinishedAttempt:
    """Use an attempt up.

    Raises:
        AttemptUnknown: this browser began no such attempt at this provider, or it is over.
    """
    unknown = AttemptUnknown(
        "This sign-in was finished before, took too long, or began in another browser."
    )
    name = _cookie_name(state)
    try:
        bound = signer.read(_PURPOSE, cookies.get(name, ""), now=now).get("a")
    except SignatureRefused as error:
        raise unknown from error
    attempt_id = secret_digest(state)
    if not hmac.compare_digest(str(bound), attempt_id):
        raise unknown
    record = store.consume_login_attempt(attempt_id, now)
    if record is None or record.provider != provider:
        raise unknown
    return FinishedAttempt(
        attempt=Attempt(
            state=state,
            nonce=record.nonce,
            code_verifier=record.code_verifier,
            redirect_uri=redirect_uri,
        ),
        return_to=ReturnTo.parse(str(record.return_to["path"])),
        cookie_name=name,
    )


def _cookie_name(state: str) -> str:
    tag = "".join(character for character in state[:_TAG_LENGTH] if character.isalnum())
    return f"{ATTEMPT}{tag}"
