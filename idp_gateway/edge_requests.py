"""A request to a socket, as Envoy's ``ext_authz`` describes it; read once and strictly.

Envoy asks with the method, path and query of the request it holds, behind a prefix of ours, and
with the socket's name as host (``docs/internals.md``). Nothing else says what it is for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from fastapi import Request

from idp_gateway.composition import Gateway
from idp_gateway.cookies import read_cookies
from idp_gateway.dependencies import is_edge, source_address
from idp_gateway.errors import InvalidInput, NotAuthenticated
from idp_gateway.targets import parse_authority
from policy.types import IPAddress

PREFIX = "/internal/authorize"

_NAVIGATING = frozenset({"GET", "HEAD"})
_SAFE = _NAVIGATING | {"OPTIONS"}
"""Methods that change nothing (RFC 9110 §9.2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRequest:
    """What is asked of a socket, and by whom as far as the request itself says."""

    method: str
    host: str
    """Canonical: lower case, no port, no trailing dot."""
    path: str
    """As it was sent, still encoded, without its query."""
    query: str
    cookies: Mapping[str, str]
    """Our own, by name."""
    source_ip: IPAddress
    authorization: str
    navigation: bool
    """Whether a person's browser is opening a page and can be sent elsewhere."""
    websocket: bool
    origin: str | None
    fetch_site: str | None

    @classmethod
    def read(cls, request: Request, gateway: Gateway) -> Self:
        """Read a request of an edge.

        Raises:
            NotAuthenticated: it is not from an edge.
            InvalidInput: host, path or cookies are ambiguous or malformed.
        """
        if not is_edge(request, gateway):
            raise NotAuthenticated("this call is for edges", reason="edge-key-invalid")
        hosts = request.headers.getlist("host")
        if len(hosts) != 1:
            raise InvalidInput("a request has exactly one host", reason="host-ambiguous")
        headers = request.headers
        return cls(
            method=request.method,
            host=parse_authority(hosts[0]),
            path=_raw_path(request),
            query=request.scope["query_string"].decode("latin-1"),
            cookies=read_cookies(headers.getlist("cookie")),
            source_ip=source_address(request, gateway),
            authorization=headers.get("authorization", ""),
            navigation=is_navigation(request.method, headers),
            websocket=_is_websocket(headers),
            origin=headers.get("origin"),
            fetch_site=headers.get("sec-fetch-site"),
        )

    @property
    def reads_only(self) -> bool:
        """Whether another site's page may cause it without doing harm."""
        return self.method in _SAFE and not self.websocket

    @property
    def target(self) -> str:
        """Path and query as they were sent."""
        return f"{self.path}?{self.query}" if self.query else self.path


def is_navigation(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a request may be answered with a redirect to a login page.

    A script, an image or a WebSocket that is redirected ends in an error nobody understands, so
    whatever is not clearly a page being opened is answered with a status instead.
    """
    ranges = (part.partition(";")[0].strip() for part in headers.get("accept", "").split(","))
    return (
        method in _NAVIGATING
        and "text/html" in {media_range.lower() for media_range in ranges}
        and headers.get("sec-fetch-mode", "navigate") == "navigate"
        and headers.get("sec-fetch-dest", "document") == "document"
        and "x-requested-with" not in headers
        and not _is_websocket(headers)
    )


def _is_websocket(headers: Mapping[str, str]) -> bool:
    upgrade = headers.get("upgrade", "").lower()
    return "websocket" in (upgrade, headers.get("sec-fetch-mode", ""))


def _raw_path(request: Request) -> str:
    raw: bytes = request.scope["raw_path"].partition(b"?")[0]
    path = raw.decode("latin-1").removeprefix(PREFIX)
    if not path.startswith("/") or not path.isascii() or not path.isprintable():
        raise InvalidInput("the path is malformed", reason="path-malformed")
    return path
