"""An HTTP client that visits the product's names on this machine and trusts its authority only."""

import re
import ssl
from html import unescape
from pathlib import Path
from typing import Self

import httpx


class _Loopback(httpx.BaseTransport):
    """Connects every name to 127.0.0.1 and tells the server the name it was asked for."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        # A connection is for the name it was opened for, though all lead to one address.
        self._transports: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The same request, to loopback, with SNI and Host as they were."""
        name = request.url.host
        transport = self._transports.setdefault(name, httpx.HTTPTransport(verify=self._context))
        return transport.handle_request(
            httpx.Request(
                request.method,
                request.url.copy_with(host="127.0.0.1"),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions | {"sni_hostname": name},
            )
        )

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()


class Visitor(httpx.Client):
    """Cookies are kept, redirects are not followed, the certificate is verified."""

    @classmethod
    def trusting(cls, authority: Path, **options: str) -> Self:
        """A visitor who trusts ``authority`` (PEM) and nothing else; ``options`` as for httpx."""
        context = ssl.create_default_context(cafile=str(authority))
        return cls(transport=_Loopback(context), timeout=15, trust_env=False, **options)


def sign_in(visitor: Visitor, address: str, *, email: str, password: str) -> httpx.Response:
    """Open ``address`` as a browser does and fill in the gateway's form; the last page."""
    navigation = {"accept": "text/html", "sec-fetch-mode": "navigate"}
    shown = visitor.get(address, headers=navigation, follow_redirects=True)
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', shown.text))
    return visitor.post(
        shown.url.join("/login/local"),
        data={k: unescape(v) for k, v in hidden.items()} | {"email": email, "password": password},
        headers=navigation | {"origin": f"https://{shown.url.netloc.decode()}"},
        follow_redirects=True,
    )
