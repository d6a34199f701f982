"""Host names and where they lead. Standard library only: the fast path imports this."""

from clients.mysocketctl.errors import InvalidInput

DUMMY_SUFFIX = ".mysocket-dummy"
"""Tells the inner connection from the outer in the original's ``ssh_config``."""

_LABEL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def parse_host_name(text: str) -> str:
    """``text`` in lower case, without a final dot and the dummy suffix (RFC 1123 §2.1).

    The result is safe as a file name and in a URL path. Raises InvalidInput.
    """
    name = text.strip().lower().removesuffix(DUMMY_SUFFIX).removesuffix(".")
    if not 1 <= len(name) <= 253 or not all(_is_label(label) for label in name.split(".")):
        raise InvalidInput(f"not a host name: {printable(text)!r}")
    return name


def _is_label(label: str) -> bool:
    return (
        1 <= len(label) <= 63 and not label.startswith("-") and _LABEL_CHARACTERS.issuperset(label)
    )


def parse_port(text: str) -> int:
    """A TCP port from 1 to 65535. Raises InvalidInput."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    raise InvalidInput(f"not a port (1 to 65535): {printable(text)!r}")


def parse_server(text: str, *, default_port: int) -> tuple[str, int]:
    """``host`` or ``host:port``. Raises InvalidInput."""
    host, colon, port = text.strip().rpartition(":")
    if not colon:
        return parse_host_name(text), default_port
    return parse_host_name(host), parse_port(port)


def is_loopback_name(host: str) -> bool:
    """Whether ``host`` is ``localhost`` or below it (RFC 6761 §6.3)."""
    return host == "localhost" or host.endswith(".localhost")


def dial_address(host: str) -> str:
    """What to hand to the resolver: names below ``localhost`` are loopback without asking it.

    The C library resolves ``localhost`` itself but not the names below it.
    """
    return "127.0.0.1" if is_loopback_name(host) else host


def printable(text: str, limit: int = 400) -> str:
    """``text`` on one line without control characters: no server drives the terminal."""
    line = " ".join(text.split())
    return "".join(c for c in line if c.isprintable())[:limit]
