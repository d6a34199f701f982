"""What a line of the request log says, as a typed record."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from proxy.envoy.names import CLOSED_CHAIN

_REFUSALS = ("ext_authz_denied", "rbac_access_denied", "jwt_authn_access_denied")
"""How Envoy's details begin where a filter of ours said no."""
NO_CHAIN = "name-or-address-refused"
"""Said of a connection no filter chain wanted: for another TLS server name, or from an address the
socket's rules keep out."""
_SERVED = "via_upstream"
"""Envoy's details of an answer that the origin gave, whatever it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRecord:
    """One finished HTTP request, or one finished connection to a TCP or TLS socket."""

    kind: Literal["http", "stream"]
    started_at: datetime
    host: str
    """The socket's DNS name; of HTTP as the client's TLS named it."""
    socket_id: str
    """The stream's socket; empty for HTTP."""
    upstream: str
    """Unix path of the tunnel that served it; empty if none did."""
    email: str
    """Who, if an identity was needed and found."""
    client: str
    """Address of the client, without port."""
    method: str = ""
    path: str = ""
    """Without its query."""
    protocol: str = ""
    status: int = 0
    """0 for streams, and for requests that ended before an answer."""
    user_agent: str = ""
    policy: str = ""
    """How an HTTP request was let in: ``identity``, ``public``, ``basic``, or ``ask`` (gateway)."""
    peer_issuer: str = ""
    """Issuer's name in the client certificate of a connection, if one was shown."""
    peer_serial: str = ""
    """Its serial number, hex."""
    peer_sha256: str = ""
    """SHA-256 of the whole certificate, hex."""
    bytes_received: int
    bytes_sent: int
    duration_ms: int
    flags: str = ""
    """Envoy's response flags, such as ``UH`` for no tunnel."""
    refused: str = ""
    """Why it was not let in: a failed handshake, or the filter that said no."""
    failed: str = ""
    """Why one that was let in got no answer of the origin, such as ``no_healthy_upstream``."""


def parse_record(line: bytes) -> FlowRecord:
    """Read one line of ``log_format``.

    Raises:
        ValueError: not such a line.
    """
    entry = json.loads(line.decode("utf-8", "replace"))
    if not isinstance(entry, dict) or entry.get("kind") not in {"http", "stream"}:
        raise ValueError("not an entry of the request log")
    refused, failed = _outcome(entry)
    return FlowRecord(
        kind=entry["kind"],
        started_at=datetime.fromisoformat(_word(entry, "started_at")).astimezone(UTC),
        host=_word(entry, "at"),
        socket_id=_word(entry, "socket_id"),
        upstream=_word(entry, "upstream"),
        email=_word(entry, "email"),
        client=_word(entry, "client"),
        method=_word(entry, "method"),
        path=_word(entry, "path"),
        protocol=_word(entry, "protocol"),
        status=_number(entry, "status"),
        user_agent=_word(entry, "user_agent"),
        policy=_word(entry, "policy"),
        peer_issuer=_word(entry, "peer_issuer"),
        peer_serial=_word(entry, "peer_serial"),
        peer_sha256=_word(entry, "peer_sha256"),
        bytes_received=_number(entry, "bytes_received"),
        bytes_sent=_number(entry, "bytes_sent"),
        duration_ms=_number(entry, "duration_ms"),
        flags=_word(entry, "flags"),
        refused=refused,
        failed=failed,
    )


def _outcome(entry: Mapping[str, Any]) -> tuple[str, str]:
    """(refused, failed). A stream that reached its origin was let in, however it ended."""
    details = _word(entry, "details")
    if entry["kind"] == "stream":
        closed = _word(entry, "chain") == CLOSED_CHAIN
        unwanted = closed or "NR" in _word(entry, "flags").split(",")
        refused = details or (NO_CHAIN if unwanted else "")
        return ("", "") if _word(entry, "upstream") else (refused, "")
    if details.startswith(_REFUSALS):
        return details, ""
    return "", "" if details == _SERVED else details


def _word(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) and value != "-" else ""


def _number(entry: Mapping[str, Any], name: str) -> int:
    value = entry.get(name)
    return int(value) if isinstance(value, int | float) else 0
