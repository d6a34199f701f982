"""How requests for the gateway's own names go on to it: how long a body may be, and how long it may
take.

Everybody may send a short body. Envoy keeps it until it is whole, so that slow senders occupy Envoy
alone. Long bodies are not kept: 12 MiB for each of many connections of strangers would be all the
memory of a machine. They go on as they come, and the gateway asks who calls before it reads them
and refuses what is over its own limits. As a slow sender holds a connection to the gateway as long
as that lasts, they have a few connections for themselves, and nobody else waits for one of those.

Nor may anybody hold connections by not taking answers, as HTTP/2 lets clients do a hundred times
over: Envoy takes what the gateway usually says in one go and keeps it for them. Of a longer answer
something must be taken all the time.
"""

from typing import Any

from proxy.envoy.filters import keeps_no_body
from proxy.envoy.gateway_paths import internal_path, lasting_path, long_path
from proxy.envoy.names import GATEWAY_CLUSTER, LONG_CLUSTER
from proxy.envoy.settings import EnvoySettings

_WRITING = "POST|PUT|PATCH"


def gateway_routes(settings: EnvoySettings) -> list[dict[str, Any]]:
    """The routes, in the order in which they are tried."""
    long = _long_bodies(settings)
    return [
        {"match": _path(internal_path()), "direct_response": {"status": 404}},
        _streamed({**_path(lasting_path()), "headers": long}, _lasting(settings)),
        {
            "match": _path(lasting_path()),
            "route": {"cluster": GATEWAY_CLUSTER, **_lasting(settings)},
        },
        _streamed({**_path(long_path()), "headers": long}, _brief(settings)),
        {
            "match": {"prefix": "/"},
            "route": {
                "cluster": GATEWAY_CLUSTER,
                **_brief(settings),
                "max_stream_duration": {"max_stream_duration": _whole(settings)},
            },
        },
    ]


def _streamed(match: dict[str, Any], times: dict[str, Any]) -> dict[str, Any]:
    return {
        "match": match,
        "route": {"cluster": LONG_CLUSTER, **times},
        "typed_per_filter_config": keeps_no_body(),
    }


def _brief(settings: EnvoySettings) -> dict[str, Any]:
    return {
        "timeout": f"{settings.gateway_answer_timeout}s",
        "idle_timeout": f"{settings.gateway_stall_timeout}s",
    }


def _lasting(settings: EnvoySettings) -> dict[str, Any]:
    """No limit to the whole answer; the gateway has one. Of a replay a line comes all the time."""
    return {"timeout": "0s", "idle_timeout": f"{settings.gateway_idle_timeout}s"}


def _whole(settings: EnvoySettings) -> str:
    """The limit for all of one request may be set for the listener alone, where long bodies need
    more; so short ones have it together with their answers."""
    return f"{settings.gateway_request_timeout + settings.gateway_answer_timeout}s"


def _path(regex: str) -> dict[str, Any]:
    return {"safe_regex": {"regex": regex}}


def _long_bodies(settings: EnvoySettings) -> list[dict[str, Any]]:
    """Announced as longer than Envoy keeps, or not announced."""
    return [
        {"name": ":method", "string_match": {"safe_regex": {"regex": _WRITING}}},
        {
            "name": "content-length",
            "range_match": {"start": 0, "end": settings.gateway_body_bytes + 1},
            "invert_match": True,
            "treat_missing_header_as_empty": True,
        },
    ]
