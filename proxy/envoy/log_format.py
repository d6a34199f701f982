"""What Envoy writes about every request and connection: one JSON object a line, keys in order.

So ``at``, the socket's name, is where each line begins, and lines are told apart without reading
them (``request_log``). Queries stay out: they carry one-time codes and other people's secrets.
"""

from pathlib import Path
from typing import Any

from proxy.envoy.headers import literal
from proxy.envoy.names import IDENTITY_HEADERS, POLICY_NOTE, RBAC_FILTER
from proxy.state import EdgeSocket

_COMMON = {
    "started_at": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3f+00:00)%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "upstream": "%UPSTREAM_HOST%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "flags": "%RESPONSE_FLAGS%",
}


def http_log(path: Path) -> dict[str, Any]:
    """Log of the sockets' HTTP listener; the e-mail header can only be one that we set."""
    return _file(
        path,
        _COMMON
        | {
            "kind": "http",
            "at": "%REQUESTED_SERVER_NAME%",
            "email": f"%REQ({IDENTITY_HEADERS[0].upper()})%",
            "method": "%REQ(:METHOD)%",
            "path": "%PATH(NQ:PATH)%",
            "protocol": "%PROTOCOL%",
            "status": "%RESPONSE_CODE%",
            "user_agent": "%REQ(USER-AGENT):200%",
            "details": "%RESPONSE_CODE_DETAILS%",
            "policy": f"%DYNAMIC_METADATA({RBAC_FILTER}:{POLICY_NOTE})%",
        },
    )


def stream_log(path: Path, socket: EdgeSocket) -> dict[str, Any]:
    """Log of one TCP or TLS socket, at the listener: failed handshakes have no other place."""
    return _file(
        path,
        _COMMON
        | {
            "kind": "stream",
            "at": literal(socket.dns_name),
            "socket_id": literal(socket.socket_id),
            "email": "%DOWNSTREAM_PEER_EMAIL_SAN%",
            "identity": "%DOWNSTREAM_PEER_URI_SAN%",
            # Which certificate exactly, so that it can be looked for among those issued.
            "peer_issuer": "%DOWNSTREAM_PEER_ISSUER%",
            "peer_serial": "%DOWNSTREAM_PEER_SERIAL%",
            "peer_sha256": "%DOWNSTREAM_PEER_FINGERPRINT_256%",
            "details": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
            "chain": "%FILTER_CHAIN_NAME%",
        },
    )


def _file(path: Path, line: dict[str, str]) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    config = {"@type": kind, "path": str(path), "log_format": {"json_format": line}}
    return {"name": "envoy.access_loggers.file", "typed_config": config}
