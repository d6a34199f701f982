"""When a request goes to another tunnel of its socket.

A tunnel's unix socket takes a connection, and with it a request, before anybody knows whether the
origin behind it does. So of a request that was sent and not answered nobody can tell whether it was
carried out, and it is not sent again unless it changes nothing (RFC 9110 §9.2.2).
"""

from typing import Any

_PREVIOUS = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
_NOTHING_SENT = "connect-failure,reset-before-request"
_MOST = 3
HOW_OFTEN = "retries"
"""Key of a cluster's metadata: ``how_often``."""
_SAFE_METHODS = "GET|HEAD|OPTIONS"


def where_nothing_was_sent() -> dict[str, Any]:
    """For requests of any method: no byte of them has left."""
    return _policy(_NOTHING_SENT, _MOST)


def where_nothing_changes() -> dict[str, Any]:
    """For requests that ``only_reading`` matches: also if a tunnel ended before it answered. With
    ``how_often``, so that each tunnel is asked once.
    """
    return _policy(f"{_NOTHING_SENT},reset", _MOST)


def how_often(tunnels: int) -> str:
    """How often such a request of a socket with so many tunnels is made again."""
    return str(min(max(tunnels - 1, 1), _MOST))


def only_reading() -> list[dict[str, Any]]:
    """What matches the headers of requests by safe methods (RFC 9110 §9.2.1) that open nothing."""
    methods = {"safe_regex": {"regex": _SAFE_METHODS}}
    return [
        {"name": ":method", "string_match": methods},
        {"name": "upgrade", "present_match": True, "invert_match": True},
    ]


def _policy(retry_on: str, most: int) -> dict[str, Any]:
    previous = {"@type": f"type.googleapis.com/{_PREVIOUS}"}
    return {
        "retry_on": retry_on,
        "num_retries": most,
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": previous}
        ],
        "host_selection_retry_max_attempts": 5,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.1s"},
    }
