"""Authorization codes for programs (RFC 6749 §4.1) under PKCE (RFC 7636): once, for a minute."""

import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]

from idp_gateway.client_access import Audience
from idp_gateway.errors import CodeInvalid
from idp_gateway.records import OneTimeCodeRecord
from idp_gateway.sessions import new_secret, secret_digest
from idp_gateway.store import Store

CODE_LIFE = timedelta(seconds=60)

_PURPOSE = "oauth-code"
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTerms:
    """What a code is bound to."""

    audience: Audience
    session_id: str
    redirect_uri: str
    challenge: str = field(repr=False)


def is_challenge(text: str) -> bool:
    """Whether ``text`` has the form of an S256 challenge."""
    return _CHALLENGE.fullmatch(text) is not None


def issue_code(store: Store, terms: CodeTerms, *, now: datetime) -> str:
    """A code that is worth a token to whoever knows the verifier behind the challenge."""
    code = new_secret()
    store.add_one_time_code(
        OneTimeCodeRecord(
            code_hash=secret_digest(code),
            purpose=_PURPOSE,
            payload={
                "audience": str(terms.audience),
                "session_id": terms.session_id,
                "redirect_uri": terms.redirect_uri,
                "challenge": terms.challenge,
            },
            created_at=now,
            expires_at=now + CODE_LIFE,
        )
    )
    return code


def redeem_code(
    store: Store, code: str, *, redirect_uri: str, verifier: str, now: datetime
) -> CodeTerms:
    """Use a code up. A wrong verifier or address uses it up too.

    Raises:
        CodeInvalid: unknown, used, too old, or not this program's.
    """
    payload = store.consume_one_time_code(secret_digest(code), _PURPOSE, now)
    if payload is None or not _VERIFIER.fullmatch(verifier):
        raise CodeInvalid("This code is unknown, used or too old.")
    challenge = str(create_s256_code_challenge(verifier))
    proved = hmac.compare_digest(challenge, str(payload["challenge"]))
    if not proved or redirect_uri != payload["redirect_uri"]:
        raise CodeInvalid("This code was made for another program.")
    return CodeTerms(
        audience=Audience.of(str(payload["audience"])),
        session_id=str(payload["session_id"]),
        redirect_uri=redirect_uri,
        challenge=challenge,
    )
