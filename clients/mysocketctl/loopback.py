"""The one-request web server that a browser login comes back to (RFC 8252 §7.3)."""

import secrets
import time
from html import escape
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

from clients.mysocketctl.errors import LoginFailed
from clients.mysocketctl.names import printable

_PATH = "/callback"
_PAGE = """<!doctype html><meta charset="utf-8"><title>mysocketctl</title>
<body style="font:1rem system-ui;margin:4rem auto;max-width:36rem"><h1>{title}</h1><p>{text}</p>"""


class CallbackListener:
    """Waits on 127.0.0.1 for ``code`` with our ``state``; anything else is answered and ignored."""

    def __init__(self, state: str) -> None:
        self._state = state
        self._code: str | None = None
        self._error: str | None = None
        self._server = HTTPServer(("127.0.0.1", 0), self._request_class())
        self.redirect_uri = f"http://127.0.0.1:{self._server.server_port}{_PATH}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.server_close()

    def wait(self, seconds: float) -> str:
        """The code. Raises LoginFailed if the login was refused or nobody came."""
        ends = time.monotonic() + seconds
        while self._code is None and self._error is None:
            left = ends - time.monotonic()
            if left <= 0:
                raise LoginFailed("nobody logged in in time")
            self._server.timeout = left
            self._server.handle_request()
        if self._code is None:
            raise LoginFailed(f"login refused: {self._error}")
        return self._code

    def accept(self, target: str) -> tuple[int, str, str]:
        """Take in a request target; status, title and text of the answer."""
        try:
            parts = urlsplit(target)
            query = parse_qs(parts.query, max_num_fields=20)
        except ValueError:
            return 404, "Not found", "Nothing waits for this here."
        state = query.get("state", [""])
        # A page elsewhere can make the browser call here, but cannot know the state.
        if parts.path != _PATH or not secrets.compare_digest(
            state[0].encode(), self._state.encode()
        ):
            return 404, "Not found", "Nothing waits for this here."
        if code := query.get("code"):
            self._code = code[0]
            return 200, "Logged in", "You can close this page and go back to the terminal."
        said = query.get("error_description") or query.get("error") or ["no code came back"]
        self._error = printable(said[0])
        return 403, "Not logged in", self._error

    def _request_class(self) -> type[BaseHTTPRequestHandler]:
        listener = self

        class Callback(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                status, title, text = listener.accept(self.path)
                page = _PAGE.format(title=escape(title), text=escape(text)).encode()
                self.send_response(status)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(page)))
                self.send_header("cache-control", "no-store")
                self.send_header("referrer-policy", "no-referrer")
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """The code is in the request line: nothing is logged."""

        return Callback
