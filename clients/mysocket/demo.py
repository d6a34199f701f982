"""The demonstration origin: a page that shows who the visitor is, by the edge's headers.

``python -m clients.mysocket.demo FD`` serves HTTP on the listening socket it inherits. It only ever
hears from the tunnel, so the headers are the edge's; an origin that others can reach verifies the
assertion with the keys at ``/.well-known/jwks.json`` of the gateway.
"""

import base64
import json
import socket
import sys
from collections.abc import Mapping
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Who you are</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 42rem; padding: 0 1rem;
  color: #1b2733; background: #f6f8fa }}
main {{ background: #fff; border: 1px solid #d8e0e7; border-radius: 12px; padding: 2rem }}
h1 {{ margin: 0 0 .25rem; font-size: 1.6rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .3rem .6rem .3rem 0; vertical-align: top;
  border-top: 1px solid #e6ecf1; overflow-wrap: anywhere }}
th {{ white-space: nowrap; font-weight: 600; color: #4d6173 }} p.note {{ color: #4d6173 }}
</style></head><body><main> <h1>Hello, <span id="name">{name}</span></h1> <p>You are <strong
id="email">{email}</strong>. This page runs on a machine without an open port.</p> <h2>What the
edge vouches for</h2> <table id="claims">{rows}</table> <p class="note">The claims are those of
the signed header <code>X-Auth-Assertion</code>.</p> </main></body></html>
"""


def claims_of(assertion: str | None) -> Mapping[str, Any]:
    """The claims of a compact JWS, unverified; empty if there are none."""
    try:
        payload = (assertion or "").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def page(headers: Mapping[str, str]) -> bytes:
    """The page for one visitor."""
    email = headers.get("X-Auth-Email")
    claims = claims_of(headers.get("X-Auth-Assertion"))
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
        for name, value in sorted(claims.items())
    )
    return _PAGE.format(
        name=escape(headers.get("X-Auth-Name") or email or "stranger"),
        email=escape(email or "nobody the edge knows"),
        rows=rows or "<tr><td>no assertion came with this request</td></tr>",
    ).encode()


class WhoYouAre(BaseHTTPRequestHandler):
    """Answers every path with the page."""

    protocol_version = "HTTP/1.1"
    server_version = "mysocket-demo"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        body = page(dict(self.headers.items()) | _known(self))
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.send_header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the library's naming


def _known(request: BaseHTTPRequestHandler) -> dict[str, str]:
    names = ("X-Auth-Email", "X-Auth-Name", "X-Auth-Assertion")
    return {name: request.headers[name] for name in names if name in request.headers}


def serve(listening: socket.socket) -> None:
    """Serve until the process is ended."""
    server = ThreadingHTTPServer(listening.getsockname()[:2], WhoYouAre, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.serve_forever()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
