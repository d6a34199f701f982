"""Bodies that mean one thing: JSON in which no key is given twice."""

import contextlib
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from idp_gateway.errors import InvalidInput

_MAX_SHOWN = 64


class EachKeyOnce(APIRoute):
    """Refuses a body with a key given twice, of which one would count and be hidden by the other.

    What is no JSON at all is left to the route.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_plain(request: Request) -> Response:
            body = await request.body()
            with contextlib.suppress(ValueError, RecursionError):
                json.loads(body, object_pairs_hook=_once)
            return await answer(request)

        return answer_plain


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            shown = key.encode("ascii", "backslashreplace").decode("ascii")[:_MAX_SHOWN]
            raise InvalidInput("a key is given twice", field=shown, reason="key-given-twice")
        found[key] = value
    return found
