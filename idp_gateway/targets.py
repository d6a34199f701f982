"""Where a browser may be sent: parsed once, to a value that can only name our own places.

A return address is a registered socket's host and a path, or a path on the gateway. Never a URL:
whole classes of open redirects begin with taking one from a query (``/\\``, ``/%09/``, ``//``).
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Self
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from idp_gateway.errors import InvalidInput

MAX_PATH_LENGTH = 2048
"""Longest path with query that is remembered through a login, in characters."""

PRODUCT_PATH = "/.mysocket/"
"""Paths on every identity socket's host that the product keeps for itself."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_PATH = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")
"""One slash, then visible ASCII without a backslash, and no second slash beside the first."""


class TargetRefused(InvalidInput):
    """A host, path or redirect address that is not one we send anybody to."""

    reason = "target-refused"


def parse_host(text: str) -> str:
    """Read a host name that is already in its one canonical spelling.

    Raises:
        TargetRefused: upper case, a port, a trailing dot, an address, anything but LDH labels.
    """
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise TargetRefused("That is not a host name.", field="host")
    return text


def parse_authority(text: str) -> str:
    """The canonical host of a ``Host`` header or ``:authority``: lower case, without its port.

    Raises:
        TargetRefused: no host name, a trailing dot, user information, a port that is none.
    """
    host, separator, port = text.partition(":")
    if separator and not (_PORT.fullmatch(port) and int(port) < 65536):
        raise TargetRefused("That is not a host name with a port.", field="host")
    if not host.isascii():
        raise TargetRefused("That is not a host name.", field="host")
    return parse_host(host.lower())


def parse_path(text: str) -> str:
    """Read a path, query included, that begins with exactly one slash.

    Raises:
        TargetRefused: a second slash at the start, a backslash, blanks, controls, more than ASCII.
    """
    if len(text) > MAX_PATH_LENGTH or not _PATH.fullmatch(text):
        raise TargetRefused("That is not a path on a socket.", field="path")
    return text


def path_or_root(text: str) -> str:
    """The path to come back to after a login: ``text`` if it can be kept, else ``/``."""
    try:
        path = parse_path(text)
    except TargetRefused:
        return "/"
    return "/" if path.startswith(PRODUCT_PATH) else path


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketTarget:
    """A page of a socket; whether the socket exists is for the store to say."""

    host: str
    path: str

    @classmethod
    def parse(cls, host: str, path: str) -> Self:
        """Read both parts strictly.

        Raises:
            TargetRefused: either is not in its canonical form.
        """
        return cls(host=parse_host(host), path=path_or_root(parse_path(path)))


@dataclass(frozen=True, slots=True)
class ReturnTo:
    """A path on the gateway where a login goes on; made by the gateway, kept signed or stored."""

    path: str = "/"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a path that was kept.

        Raises:
            TargetRefused: see ``parse_path``.
        """
        if len(text) > 2 * MAX_PATH_LENGTH or not _PATH.fullmatch(text):
            raise TargetRefused("That is not a path on the gateway.", field="next")
        return cls(text)

    @classmethod
    def build(cls, path: str, /, **query: str) -> Self:
        """A path with its query, encoded."""
        return cls.parse(f"{path}?{urlencode(query)}" if query else path)

    def query(self) -> dict[str, str]:
        """The parameters of the path's query."""
        return dict(parse_qsl(self.path.partition("?")[2]))

    @property
    def destination(self) -> str:
        """What the login leads to, for the login page; empty for the start page."""
        words = {
            "/oauth/authorize": "mysocketctl",
            "/device": "your device",
            "/ask": "your request",
            "/guest": "your invitation",
            "/requests": "requests",
            "/sharing": "your sockets",
        }
        return words.get(self.path.partition("?")[0], "")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopbackAddress:
    """Where a program on the same computer listens for the answer (RFC 8252 §7.3)."""

    host: str
    """``127.0.0.1`` or ``[::1]``, literally."""
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``http://127.0.0.1:PORT/callback`` or ``http://[::1]:PORT/callback``.

        Raises:
            TargetRefused: any other spelling: names, user information, other paths, no port.
        """
        for host in ("127.0.0.1", "[::1]"):
            prefix, suffix = f"http://{host}:", "/callback"
            if text.startswith(prefix) and text.endswith(suffix):
                return cls(host=host, port=parse_port(text[len(prefix) : -len(suffix)]))
        raise TargetRefused(
            "The redirect address must be http://127.0.0.1:PORT/callback or its IPv6 form.",
            field="redirect_uri",
            reason="redirect-uri-refused",
        )

    def __str__(self) -> str:
        return f"http://{self.host}:{self.port}/callback"


def parse_port(text: str) -> int:
    """A port an ordinary program can listen on: plain digits, 1024 to 65535.

    Raises:
        TargetRefused: anything else.
    """
    if not _PORT.fullmatch(text) or not text.isascii() or not 1024 <= int(text) <= 65535:
        raise TargetRefused("The port must be a number from 1024 to 65535.", field="port")
    return int(text)


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL (RFC 6454 §4), the default port left out.

    Raises:
        TargetRefused: not an absolute ``http`` or ``https`` URL, or one with user information.
    """
    parts = _split(url)
    default = {"https": 443, "http": 80}[parts.scheme]
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = parts.port or default
    return f"{parts.scheme}://{host}" if port == default else f"{parts.scheme}://{host}:{port}"


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this computer: a loopback address, ``localhost`` or below it."""
    host = _split(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return (IPv6Address(host) if ":" in host else IPv4Address(host)).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TargetRefused("That is not a web address.") from error
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not plain or parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise TargetRefused("That is not a web address.")
    if parts.username is not None or parts.password is not None:
        raise TargetRefused("A web address with user information is refused.")
    return parts
