"""Keeps a long-running command logged in: the API token is renewed at half its life.

The gateway renews a token for as long as its login stands (``POST /login/refresh``); without this a
tunnel that reconnects after twelve hours would find itself logged out.
"""

import contextlib
import threading
import time
from collections.abc import Iterator

from clients.mysocketctl.api import GatewayApi, text_field
from clients.mysocketctl.errors import ClientError
from clients.mysocketctl.files import HomeFiles, read_small, write_private
from clients.mysocketctl.tokens import read_claims

LOOK_SECONDS = 60.0


class LoginRenewal:
    """The token of ``api`` and the kept one, renewed together."""

    def __init__(self, api: GatewayApi, files: HomeFiles, *, started: float) -> None:
        """``started``: Unix seconds at which the present token began to be used."""
        self._api, self._files = api, files
        self._since = started

    def renew_if_due(self, now: float) -> bool:
        """Renew the token if half its life is over; whether it was. Never raises ClientError."""
        token = self._api.api_token or ""
        try:
            if now < (self._since + read_claims(token).expires_at) / 2:
                return False
            renewed = text_field(self._api.post("/login/refresh", {}), "token")
            read_claims(renewed)
        except ClientError:
            return False  # the next look tries again; what fails for good shows at the next call
        self._api.api_token, self._since = renewed, now
        self._keep(token, renewed)
        return True

    def _keep(self, old: str, renewed: str) -> None:
        """Replace the kept token, unless somebody has logged in anew or out meanwhile."""
        kept = (read_small(self._files.api_token) or "").strip()
        if kept == old:
            write_private(self._files.api_token, renewed + "\n")


@contextlib.contextmanager
def kept_logged_in(api: GatewayApi, files: HomeFiles) -> Iterator[None]:
    """Renew in the background while the block runs."""
    renewal = LoginRenewal(api, files, started=time.time())
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK_SECONDS):
            renewal.renew_if_due(time.time())

    thread = threading.Thread(target=look, name="login-renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
