"""An OpenID provider on loopback that answers exactly what a test tells it to, wrong or right."""

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey


@dataclass(slots=True)
class TamperingProvider:
    """Every part of its answers can be replaced before they are asked for."""

    issuer: str
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    metadata: dict[str, Any] = field(default_factory=dict)
    """Replaces members of the discovery document."""
    published: list[RSAKey | ECKey | OctKey] = field(default_factory=list)
    """Keys at the JWKS address; the signing key if empty."""
    claims: dict[str, Any] = field(default_factory=dict)
    """Claims of the ID token; those that are ``None`` are left out."""
    header: dict[str, Any] = field(default_factory=dict)
    token: str = ""
    """The whole ID token, if it is not to be signed here."""
    userinfo: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        } | self.metadata

    def id_token(self) -> str:
        if self.token:
            return self.token
        claims = {name: value for name, value in self.claims.items() if value is not None}
        header = {"alg": "RS256", "kid": "one"} | self.header
        return jws.serialize_compact(header, json.dumps(claims), self.key, algorithms=["RS256"])

    def answer(self, path: str) -> dict[str, Any]:
        """The document at ``path``."""
        self.requests.append(path)
        match path:
            case "/.well-known/openid-configuration":
                return self.discovery()
            case "/jwks":
                keys = self.published or [self.key]
                return {"keys": [key.as_dict(private=False) for key in keys]}
            case "/token":
                return {
                    "access_token": "an access token",
                    "token_type": "Bearer",
                    "id_token": self.id_token(),
                }
            case "/userinfo":
                return self.userinfo
        raise AssertionError(path)


def unsigned(claims: dict[str, Any]) -> str:
    """A token with ``alg: none`` (RFC 7519 §6)."""
    header = urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    body = urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{header}.{body}."


def good_claims(issuer: str, nonce: str, now: float | None = None) -> dict[str, Any]:
    """Claims that a gateway registered as ``mysocket`` accepts."""
    now = time.time() if now is None else now
    return {
        "iss": issuer,
        "aud": "mysocket",
        "sub": "248289761001",
        "iat": int(now),
        "exp": int(now) + 300,
        "nonce": nonce,
        "email": "alice@example.com",
        "email_verified": True,
        "name": "Alice Example",
    }


@contextmanager
def tampering_op() -> Iterator[TamperingProvider]:
    """Serve a provider from a thread until the block ends."""
    provider = TamperingProvider(issuer="")

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(provider.answer(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            provider.forms.append(form | {"authorization": self.headers.get("authorization", "")})
            self._send(provider.answer(self.path))

        def _send(self, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Tests print what matters themselves."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
