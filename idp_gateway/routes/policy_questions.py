"""``/policies/explain`` and ``/policies/diff``: what would be decided; neither changes a thing."""

import json
import logging
from collections.abc import Iterator
from datetime import timedelta

from anyio import move_on_after
from anyio.lowlevel import checkpoint
from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from idp_gateway.callers import CallerDep, CallerFirst
from idp_gateway.capacity import Place
from idp_gateway.composition import Gateway
from idp_gateway.dependencies import GatewayDep, SourceAddress
from idp_gateway.errors import TooManyAttempts
from idp_gateway.policy_questions import diff_result, explain_visit, trials
from idp_gateway.replay import Trial, replay
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.policies import DiffForm, ExplainForm, ExplainReply
from idp_gateway.strict_json import EachKeyOnce


class _QuestionRoute(CallerFirst, EachKeyOnce):
    """Documents come as JSON here, which may be long."""


router = APIRouter(prefix="/policies", route_class=_QuestionRoute, tags=["policies"])
log = logging.getLogger(__name__)

RETRY_SECONDS = 10
MAX_WAIT_SECONDS = 20
"""How long a client may take nothing of what is sent."""
MAX_SECONDS = 600
"""How long a replay may take together with its answer."""
_PIECE = 64 * 1024
"""Characters sent at a time: about what is kept for a client that does not read."""


@router.post("/explain", responses=problems(400, 401, 404, 429))
def explain_policy(
    gateway: GatewayDep, caller: CallerDep, here: SourceAddress, form: ExplainForm
) -> ExplainReply:
    """What would be decided about somebody, by which rule, and what would have changed it."""
    return explain_visit(gateway, caller, form, here)


@router.post("/diff", responses=problems(400, 401, 404, 429), response_class=StreamingResponse)
def diff_policy(gateway: GatewayDep, caller: CallerDep, form: DiffForm) -> StreamingResponse:
    """Who of the last days would gain or lose access with another policy: lines of JSON.

    Lines of the type `progress` say how far it is; the last one is the `result` (or a `problem`).
    """
    place = gateway.capacity.replays.take(caller.account.account_id)
    if place is None:
        raise TooManyAttempts(
            "you or others are asking the past already; try again soon", retry_after=RETRY_SECONDS
        )
    try:
        tried = trials(gateway, caller, form)
    except Exception:
        place.leave()
        raise
    return _Lines(_lines(gateway, tried, place, days=form.days), place)


class _Lines(StreamingResponse):
    """Lines for a client that takes them: one that does not is given up."""

    def __init__(self, lines: Iterator[str], place: Place) -> None:
        super().__init__(lines, media_type="application/x-ndjson")
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def patiently(message: Message) -> None:
            with move_on_after(MAX_WAIT_SECONDS) as waiting:
                await send(message)
            if waiting.cancelled_caught:
                whole.cancel()
                await checkpoint()

        try:
            with move_on_after(MAX_SECONDS) as whole:
                await super().__call__(scope, receive, patiently)
        finally:
            self._place.leave()


def _lines(gateway: Gateway, tried: list[Trial], place: Place, *, days: float) -> Iterator[str]:
    try:
        until = gateway.clock()
        since = until - timedelta(days=days)
        outcome = None
        for outcome in replay(gateway.store, tried, since=since):
            progress = {"type": "progress", "done": outcome.done, "total": outcome.total}
            yield json.dumps(progress) + "\n"
        if outcome is not None:
            result = json.dumps(diff_result(outcome.to_json(), since, until)) + "\n"
            place.ran()
            *most, last = range(0, len(result), _PIECE)
            for begin in most:
                yield result[begin : begin + _PIECE]
            # All but this is taken; who has read the end may ask again at once.
            place.leave()
            yield result[last:]
    except Exception:
        log.exception("a replay ended half-way")
        yield json.dumps({"type": "problem", "reason": "internal-error"}) + "\n"
    finally:
        place.leave()
