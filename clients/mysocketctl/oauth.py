"""Login of this program through a browser: code with PKCE on loopback, or a device code.

RFC 8252 §7.3 (loopback redirect, any port), RFC 7636 (PKCE, S256), RFC 8628 (device), RFC 8707
(``resource`` names the socket the token is for; without it the token is for the API).
"""

import base64
import hashlib
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from clients.mysocketctl.api import GatewayApi, Json, number_field, text_field
from clients.mysocketctl.errors import GatewayRefused, LoginFailed
from clients.mysocketctl.loopback import CallbackListener
from clients.mysocketctl.names import printable

CLIENT_ID = "mysocketctl"
LOGIN_SECONDS = 300.0
"""How long a person may take in the browser."""
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """One login: for a socket (``resource``) or for the API (``None``)."""

    resource: str | None
    way: str = "auto"
    """``browser``, ``device``, or ``auto``: a browser if one can be opened here."""
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: T201


def log_in(api: GatewayApi, request: LoginRequest) -> str:
    """A token for ``request``. Raises LoginFailed and what the API raises."""
    if request.way == "device" or (request.way == "auto" and browser_command() is None):
        return _device_login(api, request)
    return _browser_login(api, request)


def browser_command() -> list[str] | None:
    """How to open a page on this machine; ``None`` without a display."""
    if preferred := os.environ.get("BROWSER", "").split(os.pathsep)[0]:
        return shlex.split(preferred)
    if sys.platform == "darwin":
        return ["open"]
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return ["xdg-open"] if shutil.which("xdg-open") else None
    return None


def _open_browser(url: str) -> None:
    command = browser_command()
    if command is None:
        return
    filled = [part.replace("%s", url) for part in command]
    try:
        subprocess.Popen(
            filled if filled != command else [*command, url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # ours may be a connection's bytes
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return  # the address has been printed


def _browser_login(api: GatewayApi, request: LoginRequest) -> str:
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    digest = hashlib.sha256(verifier.encode()).digest()
    with CallbackListener(state) as listener:
        query = {
            "client_id": CLIENT_ID,
            "redirect_uri": listener.redirect_uri,
            "response_type": "code",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "state": state,
        } | _resource(request)
        url = f"{api.base}/oauth/authorize?{urlencode(query)}"
        request.say(f"To log in, open this page: {url}")
        _open_browser(url)
        code = listener.wait(LOGIN_SECONDS)
        form = {
            "grant_type": "authorization_code",
            "client_id": CLIENT_ID,
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": listener.redirect_uri,
        }
    return text_field(_token_request(api, form | _resource(request)), "access_token")


def _device_login(api: GatewayApi, request: LoginRequest) -> str:
    offer = api.post_form(
        "/oauth/device_authorization", {"client_id": CLIENT_ID} | _resource(request)
    )
    page = offer.get("verification_uri_complete") if isinstance(offer, dict) else None
    page = page if isinstance(page, str) else text_field(offer, "verification_uri")
    code = printable(text_field(offer, "user_code"), 40)
    request.say(f"To log in, open this page on any device: {printable(page, 2000)}")
    request.say(f"It must show this code: {code}")
    return _poll_device(api, offer, request)


def _poll_device(api: GatewayApi, offer: Json, request: LoginRequest) -> str:
    form = {
        "grant_type": _DEVICE_GRANT,
        "client_id": CLIENT_ID,
        "device_code": text_field(offer, "device_code"),
    } | _resource(request)
    interval = offer.get("interval", 5)
    wait = float(min(max(1, interval if isinstance(interval, int) else 5), 60))
    ends = time.monotonic() + number_field(offer, "expires_in")
    while time.monotonic() < ends:
        time.sleep(wait)
        try:
            return text_field(api.post_form("/oauth/token", form), "access_token")
        except GatewayRefused as refusal:
            if refusal.reason == "slow_down":
                wait += 5  # RFC 8628 §3.5
            elif refusal.reason != "authorization_pending":
                raise LoginFailed(f"login refused: {refusal}") from refusal
    raise LoginFailed("nobody confirmed the code in time")


def _token_request(api: GatewayApi, form: dict[str, str]) -> Json:
    try:
        return api.post_form("/oauth/token", form)
    except GatewayRefused as refusal:
        raise LoginFailed(f"login refused: {refusal}") from refusal


def _resource(request: LoginRequest) -> dict[str, str]:
    return {"resource": request.resource} if request.resource else {"scope": "api"}
