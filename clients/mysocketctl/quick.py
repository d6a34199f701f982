"""The fast path of ``client tls``: a kept certificate, the standard library and nothing else.

Connecting is what people wait for each time, so it must not load a command-line parser or X.509.
Whatever this module does not understand or cannot do is left to the full command, which reports
errors properly.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from clients.mysocketctl.errors import ClientError
from clients.mysocketctl.names import parse_host_name, parse_port
from clients.mysocketctl.settings import read_settings

_GLOBAL = {"--api": "api_url", "--ca-file": "ca_file"}
_LOCAL = {"--host": "host", "--port": "port"}


class QuickCall(NamedTuple):
    host: str
    port: int | None
    api_url: str | None
    ca_file: str | None


def parse_quick(arguments: Sequence[str]) -> QuickCall | None:
    """``[--api U] [--ca-file F] client tls --host H [--port N]``; ``None`` for anything else."""
    words = list(arguments)
    found: dict[str, str] = {}
    if not _take(words, _GLOBAL, found) or words[:2] != ["client", "tls"]:
        return None
    del words[:2]
    if not _take(words, _LOCAL, found) or words or "host" not in found:
        return None
    try:
        port = parse_port(found["port"]) if "port" in found else None
        host = parse_host_name(found["host"])
    except ClientError:
        return None
    return QuickCall(host, port, found.get("api_url"), found.get("ca_file"))


def _take(words: list[str], known: Mapping[str, str], found: dict[str, str]) -> bool:
    """Move leading options from ``words`` to ``found``; whether they could be understood."""
    while words and words[0].startswith("-"):
        option, equals, value = words.pop(0).partition("=")
        if option not in known or known[option] in found:
            return False
        if not equals:
            if not words:
                return False
            value = words.pop(0)
        found[known[option]] = value
    return True


class Leftover(NamedTuple):
    """What the full command needs to know of a fast path that was not taken to its end."""

    unsent: bytes = b""
    """Bytes of standard input already read."""
    refused: bool = False
    """Whether the edge refused the kept certificate."""


def run_quick(arguments: Sequence[str], environ: Mapping[str, str]) -> int | Leftover:
    """Connect with a kept certificate; the exit code, or why the full command has to do it."""
    call = parse_quick(arguments)
    if call is None or environ.get("MYSOCKET_DEBUG") == "TRUE":
        return Leftover()
    from clients.mysocketctl.files import HomeFiles, fresh_certificate  # noqa: PLC0415

    try:
        settings = read_settings(environ, api_url=call.api_url, ca_file=call.ca_file)
        cached = fresh_certificate(HomeFiles(settings.home), call.host)
    except ClientError:
        return Leftover()
    port = call.port or (cached.port if cached else None)
    if cached is None or port is None:
        return Leftover()
    return _connect(call.host, port, settings.ca_file, cached.certificate, cached.key)


def _connect(
    host: str, port: int, ca_file: str | None, certificate: Path, key: Path
) -> int | Leftover:
    from clients.mysocketctl.errors import CertificateRefused, ServerNotTrusted  # noqa: PLC0415
    from clients.mysocketctl.splice import Splice, StandardStreams  # noqa: PLC0415
    from clients.mysocketctl.tls import TlsChannel, client_context  # noqa: PLC0415

    try:
        context = client_context(ca_file, certificate=certificate, key=key, lazily=True)
        channel = TlsChannel(host, port, context)
        Splice(channel, StandardStreams()).run()
    except CertificateRefused as refusal:
        if refusal.unsent is None:
            return _fail(refusal)
        return Leftover(refusal.unsent, refused=True)
    except ServerNotTrusted:
        return Leftover()  # once more with every root of the system
    except KeyboardInterrupt:
        return 130
    except ClientError as error:
        return _fail(error)
    return 0


def _fail(error: ClientError) -> int:
    if str(error):
        os.write(2, f"mysocketctl: {error}\n".encode())
    return error.exit_code
