"""How long a body may be: the edge lets through what the gateway takes, and nothing else."""

import re
from collections.abc import Iterator

import pytest
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute

from idp_gateway.app import API_PREFIXES, API_ROUTERS, PAGE_ROUTERS
from idp_gateway.bounds import MAX_BODY_BYTES, limit_of
from idp_gateway.callers import CallerFirst
from proxy.envoy.gateway_paths import internal_path, lasting_path, long_path
from tests.support.envoy_inputs import SETTINGS


def routes() -> Iterator[tuple[str, APIRoute]]:
    """Every route with a path as a client would send it."""
    served = [(prefix, router) for prefix in API_PREFIXES for router in API_ROUTERS]
    for prefix, router in [*served, *(("", router) for router in PAGE_ROUTERS)]:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            path = prefix + re.sub(r"\{[^}]*\}", "some-1.example", route.path)
            if not re.fullmatch(internal_path(), path):
                yield path, route


def test_what_everybody_may_send_is_the_same_to_both() -> None:
    assert SETTINGS.gateway_body_bytes == MAX_BODY_BYTES


@pytest.mark.parametrize(("path", "route"), [one for one in routes() if one[1].body_field])
def test_long_bodies_pass_the_edge_to_whoever_takes_them_and_asks_who_calls(
    path: str, route: APIRoute
) -> None:
    long = re.fullmatch(long_path(), path) is not None
    assert long is (limit_of(path) > MAX_BODY_BYTES)
    assert not long or isinstance(route, CallerFirst)


@pytest.mark.parametrize(
    "path", ["/policy", "/policiesx", "/prefix-lists", "/x/policies", "/api/v1", "/api/v2/policy/1"]
)
def test_no_other_path_takes_more(path: str) -> None:
    assert re.fullmatch(long_path(), path) is None


def test_answers_that_come_line_by_line_have_time() -> None:
    lasting = {path for path, _ in routes() if re.fullmatch(lasting_path(), path)}
    streamed = {path for path, route in routes() if route.response_class is StreamingResponse}
    assert lasting == streamed == {f"{prefix}/policies/diff" for prefix in API_PREFIXES}
