"""Where the gateway is, whom to trust, and where this person's files are.

Standard library only, and little of it: the fast path of ``client tls`` reads this.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from clients.mysocketctl.errors import InvalidInput

DEFAULT_API = "https://gateway.localhost:8443"


class Settings(NamedTuple):
    """Read once at start from ``MYSOCKET_*`` and the global options, which win."""

    api_url: str
    """Base address of the gateway without a final slash; may hold a path prefix."""
    ca_file: str | None
    """PEM of roots to trust beside the system's."""
    ssh_server: str | None
    """``host[:port]`` that replaces the tunnel server named by the gateway."""
    home: Path
    login_way: str = "auto"
    """``browser``, ``device`` or ``auto``."""
    log_key: str | None = None
    """Public key of the gateway's transparency log; else the one first seen counts."""
    require_log_proof: bool = False
    """Whether a certificate is taken only with the proof that it is in the log."""


def read_settings(
    environ: Mapping[str, str],
    *,
    api_url: str | None = None,
    ca_file: str | None = None,
    require_log_proof: bool = False,
) -> Settings:
    """Settings from the environment. Raises InvalidInput."""
    ca = ca_file or environ.get("MYSOCKET_CA_FILE") or None
    if ca is not None and not os.access(ca, os.R_OK):
        raise InvalidInput(f"cannot read the CA file {ca}")
    way = environ.get("MYSOCKET_LOGIN") or "auto"
    if way not in {"auto", "browser", "device"}:
        raise InvalidInput("MYSOCKET_LOGIN must be auto, browser or device")
    return Settings(
        api_url=(api_url or environ.get("MYSOCKET_API") or DEFAULT_API).rstrip("/"),
        ca_file=ca,
        ssh_server=environ.get("MYSOCKET_SSH") or None,
        home=Path(environ.get("HOME") or "~").expanduser(),
        login_way=way,
        log_key=environ.get("MYSOCKET_LOG_KEY") or None,
        require_log_proof=require_log_proof or environ.get("MYSOCKET_REQUIRE_LOG_PROOF") == "TRUE",
    )
