"""Addresses and kernel options of listening sockets."""

from typing import Any

_SOL_SOCKET, _SO_KEEPALIVE = 1, 9
_IPPROTO_TCP, _TCP_KEEPIDLE, _TCP_KEEPINTVL, _TCP_KEEPCNT = 6, 4, 5, 6


def address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def keepalive() -> list[dict[str, Any]]:
    """TCP keep-alive after a minute, given up after another (Linux numbers, RFC 1122 §4.2.3.6).

    Idle limits are long, so this is what frees the connection of a client that vanished.
    """
    options = (
        (_SOL_SOCKET, _SO_KEEPALIVE, 1),
        (_IPPROTO_TCP, _TCP_KEEPIDLE, 60),
        (_IPPROTO_TCP, _TCP_KEEPINTVL, 15),
        (_IPPROTO_TCP, _TCP_KEEPCNT, 4),
    )
    return [
        {"level": level, "name": name, "int_value": value, "state": "STATE_PREBIND"}
        for level, name, value in options
    ]
