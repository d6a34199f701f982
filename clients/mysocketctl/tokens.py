"""Tokens as their bearer sees them: the claims are read without verifying anything.

The bearer cannot verify and need not: the gateway does, at each use. Claims only serve to know
when to log in again and what to call files.
"""

import base64
import json
import time
from dataclasses import dataclass

from clients.mysocketctl.api import Json
from clients.mysocketctl.errors import NotLoggedIn, ProtocolViolation
from clients.mysocketctl.files import HomeFiles, read_small
from clients.mysocketctl.names import printable

_MARGIN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedClaims:
    user_id: str
    email: str
    expires_at: float
    """Unix seconds."""
    socket_port: int | None

    @property
    def user_name(self) -> str:
        """SSH login of the tunnel server: the account's id without dashes."""
        return self.user_id.replace("-", "")

    def is_fresh(self, now: float) -> bool:
        return self.expires_at - _MARGIN > now


def read_claims(token: str) -> UnverifiedClaims:
    """The claims of a compact JWS (RFC 7515 §3.1). Raises ProtocolViolation."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return UnverifiedClaims(
            user_id=printable(str(claims.get("user_id", ""))),
            email=printable(str(claims.get("user_email", ""))),
            expires_at=float(claims["exp"]),
            socket_port=_port(claims.get("socket_port")),
        )
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProtocolViolation("that token is no JWT with an expiry") from error


def _port(value: Json) -> int | None:
    return value if isinstance(value, int) and 1 <= value <= 65535 else None


def kept_api_token(files: HomeFiles) -> str:
    """The API token in the token file: its first line that is one, as in the original.

    Raises NotLoggedIn, also when it has expired by this machine's clock.
    """
    for line in (read_small(files.api_token) or "").splitlines():
        try:
            claims = read_claims(line.strip())
        except ProtocolViolation:
            continue
        if not claims.is_fresh(time.time()):
            raise NotLoggedIn("the login has expired; run: mysocketctl login")
        return line.strip()
    raise NotLoggedIn


def kept_client_token(files: HomeFiles, dns_name: str) -> str | None:
    """The client token kept for a socket, if it has not expired."""
    token = (read_small(files.client_token(dns_name)) or "").strip()
    try:
        return token if token and read_claims(token).is_fresh(time.time()) else None
    except ProtocolViolation:
        return None
