"""Bodies that mean one thing, and are read in no time: JSON in which no key is given twice."""

import contextlib
import json
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from idp_gateway.errors import BodyTooLarge, InvalidInput

MAX_PARSED = 1024 * 1024
"""Of a body beside one member ``text``: nothing else is done while many small values are read, and
that takes a second for a few million bytes."""
_MAX_SHOWN = 64
_TEXT = re.compile(r'"text"\s*+:\s*+(?=")')


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


def check_quickly_read(body: bytes) -> None:
    """Make sure that it takes no long time to parse a body: it is short, or a text makes it long.

    Raises:
        BodyTooLarge: it is neither.
    """
    if len(body) > MAX_PARSED and _beside_text(body) > MAX_PARSED:
        raise BodyTooLarge(f"beside a text a body has at most {MAX_PARSED} bytes", field="text")


def _beside_text(body: bytes) -> int:
    """Characters of the body outside the value of the first ``"text":`` that it has."""
    try:
        text = body.decode()
        found = _TEXT.search(text)
        if found is None:
            return len(text)
        _, end = json.JSONDecoder().raw_decode(text, found.end())
    except ValueError:
        return len(body)
    return len(text) - (end - found.end())


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            shown = key.encode("ascii", "backslashreplace").decode("ascii")[:_MAX_SHOWN]
            raise InvalidInput("a key is given twice", field=shown, reason="key-given-twice")
        found[key] = value
    return found
