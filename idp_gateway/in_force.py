"""Routes that change what edges serve: they answer when it is served, or say that it is not yet."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from idp_gateway.store.database import DatabaseFailure, words_of

log = logging.getLogger(__name__)

IN_FORCE_HEADER = "x-mysocket-in-force"
"""``true`` if every edge serves the change, ``false`` if one may still serve what was before."""

_READING = frozenset({"GET", "HEAD"})


class ChangeRoute(APIRoute):
    """Waits for the edges after a change, without holding a thread, and says how that went."""

    of_own_sockets: ClassVar[bool] = True
    """Whether the caller's own sockets alone are changed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_in_force(request: Request) -> Response:
            if request.method in _READING:
                return await answer(request)
            gateway = request.app.state.gateway
            before = await asyncio.to_thread(gateway.store.revision)
            response = await answer(request)
            whose = getattr(request.state, "account_id", None) if self.of_own_sockets else None
            try:
                in_force = await gateway.feed.serving.settled(account_id=whose, after=before)
            except DatabaseFailure as error:
                # The change is made: that it is not known who serves it is no reason to refuse it.
                log.warning("it is not known whether edges serve a change: %s", words_of(error))
                in_force = False
            response.headers[IN_FORCE_HEADER] = "true" if in_force else "false"
            return response

        return answer_in_force


class OthersChangeRoute(ChangeRoute):
    """As ``ChangeRoute``, where sockets may be another account's: what changed meanwhile counts."""

    of_own_sockets = False
