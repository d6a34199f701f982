"""The product's cookies: read strictly, written host-only.

Every name begins with ``__Host-mysocket``. Browsers take a ``__Host-`` cookie only over TLS, for
the one host and for ``Path=/``, so a neighbour below the same domain cannot plant one (RFC 6265bis
§4.1.3.2). Whoever sends one of them twice is refused: which of the two counts is a question that
must never come up.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Literal

from idp_gateway.errors import InvalidInput

PREFIX = "__Host-mysocket"
SESSION = PREFIX
"""On a socket's host: the session JWT that Envoy verifies."""
STATE = f"{PREFIX}-state-"
"""On a socket's host, one for each login: the name goes on with a part of the state."""
LOGIN = f"{PREFIX}-login"
"""On the gateway: the secret of the login session."""
ATTEMPT = f"{PREFIX}-attempt-"
"""On the gateway, one for each sign-in at a provider: the name goes on with a part of the state."""
FORM = f"{PREFIX}-form"
"""On the gateway: what ties a form to the browser it was made for."""

MAX_HEADER_LENGTH = 16 * 1024
"""Longest sum of our own cookies, in characters."""

_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")


class CookieRefused(InvalidInput):
    """The request carries one of our cookies twice, or more cookies than anybody needs."""

    reason = "cookie-ambiguous"


def read_cookies(headers: Iterable[str]) -> dict[str, str]:
    """Our own cookies among ``headers`` (values of every ``Cookie`` header); others are left out.

    Raises:
        CookieRefused: a name of ours appears twice, in any spelling of case, or it is all too long.
    """
    ours: dict[str, str] = {}
    length = 0
    for pair in (pair for line in headers for pair in line.split(";")):
        name, separator, value = pair.strip(" \t").partition("=")
        if not name.lower().startswith(PREFIX.lower()):
            continue  # a neighbour below the same domain may have set it, and as long as he likes
        length += len(pair)
        if length > MAX_HEADER_LENGTH:
            raise CookieRefused("The request has too many cookies.", reason="cookies-too-large")
        if name in ours or not separator:
            raise CookieRefused(f"The cookie {PREFIX} must appear once.")
        if not name.startswith(PREFIX) or not _VALUE.fullmatch(value):
            raise CookieRefused("A cookie of ours is misspelt.")
        ours[name] = value
    return ours


def set_cookie(
    name: str, value: str, *, max_age: timedelta, same_site: Literal["Lax", "Strict"] = "Lax"
) -> str:
    """The ``Set-Cookie`` value of one host-only cookie that scripts cannot read."""
    seconds = max(int(max_age.total_seconds()), 0)
    return f"{name}={value}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite={same_site}"


def clear_cookie(name: str) -> str:
    """The ``Set-Cookie`` value that removes a cookie."""
    return set_cookie(name, "", max_age=timedelta(0))


def names_with(cookies: Mapping[str, str], prefix: str) -> list[str]:
    """Names of the cookies of one kind, in the order the browser sent them (oldest first)."""
    return [name for name in cookies if name.startswith(prefix)]
