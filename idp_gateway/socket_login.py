"""How a login at the gateway becomes a session on a socket's own host.

The gateway cannot set a cookie for a socket, so it sends the browser there with a one-time code.
The code is worth something only on that host, within a minute, once, and in the browser that was
sent to log in: it came with a ``state`` whose cookie is on the socket's host.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from idp_gateway.cookies import STATE, names_with, set_cookie
from idp_gateway.cookies import clear_cookie as clear
from idp_gateway.errors import CodeInvalid
from idp_gateway.forms import SignatureRefused, Signer
from idp_gateway.records import OneTimeCodeRecord
from idp_gateway.sessions import new_secret, secret_digest
from idp_gateway.store import Store
from idp_gateway.targets import SocketTarget

CODE_LIFE = timedelta(seconds=60)
STATE_LIFE = timedelta(minutes=10)
MAX_STATES = 5

_PURPOSE = "socket-login"
_STATE_PURPOSE = "socket-state"
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_TAG_LENGTH = 8


def is_secret(text: str) -> bool:
    """Whether ``text`` has the form of our random values."""
    return _SECRET.fullmatch(text) is not None


def new_state(
    signer: Signer, host: str, cookies: Mapping[str, str], *, now: datetime
) -> tuple[str, tuple[str, ...]]:
    """A fresh state for a login that starts on ``host``, and the cookies that go with it."""
    state = new_secret()
    value = {"h": host, "s": secret_digest(state)}
    signed = signer.sign(_STATE_PURPOSE, value, until=now + STATE_LIFE)
    crowded = names_with(cookies, STATE)[: -(MAX_STATES - 1)]
    return state, (
        set_cookie(_cookie_name(state), signed, max_age=STATE_LIFE),
        *map(clear, crowded),
    )


def issue_code(
    store: Store,
    *,
    socket_id: str,
    epoch: int,
    session_id: str,
    target: SocketTarget,
    state: str,
    now: datetime,
) -> str:
    """A one-time code that turns the login session into a session on the target's host."""
    code = new_secret()
    store.add_one_time_code(
        OneTimeCodeRecord(
            code_hash=secret_digest(code),
            purpose=_PURPOSE,
            payload={
                "socket_id": socket_id,
                "epoch": epoch,
                "session_id": session_id,
                "host": target.host,
                "path": target.path,
                "state": secret_digest(state),
            },
            created_at=now,
            expires_at=now + CODE_LIFE,
        )
    )
    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeemedCode:
    """What a code was worth."""

    socket_id: str
    epoch: int
    """The socket's when the code was issued; what its owner changed since then voids the code."""
    session_id: str
    target: SocketTarget
    cookie_name: str
    """The state cookie that has done its work."""


def redeem_code(
    store: Store,
    signer: Signer,
    *,
    host: str,
    code: str,
    state: str,
    cookies: Mapping[str, str],
    now: datetime,
) -> RedeemedCode:
    """Use a code up, on the host it is for and in the browser it is for.

    Raises:
        CodeInvalid: unknown, used, too old, for another host, or begun in another browser.
    """
    invalid = CodeInvalid(
        "This login link was used before, is too old, or is not for this browser."
    )
    if not (is_secret(code) and is_secret(state)):
        raise invalid
    name = _cookie_name(state)
    try:
        value = signer.read(_STATE_PURPOSE, cookies.get(name, ""), now=now)
    except SignatureRefused as error:
        raise invalid from error
    payload = store.consume_one_time_code(secret_digest(code), _PURPOSE, now)
    if payload is None:
        raise invalid
    expected = secret_digest(state)
    same_browser = hmac.compare_digest(str(value.get("s")), expected)
    same_login = hmac.compare_digest(str(payload["state"]), expected)
    if not (same_browser and same_login) or {value.get("h"), payload["host"]} != {host}:
        raise invalid
    return RedeemedCode(
        socket_id=str(payload["socket_id"]),
        epoch=int(payload["epoch"]),
        session_id=str(payload["session_id"]),
        target=SocketTarget(host=host, path=str(payload["path"])),
        cookie_name=name,
    )


def _cookie_name(state: str) -> str:
    tag = "".join(character for character in state[:_TAG_LENGTH] if character.isalnum())
    return f"{STATE}{tag}"
