"""``/policies/explain`` and ``/policies/diff``: what would be decided; neither changes a thing."""

import json
import logging
from collections.abc import Iterator
from datetime import timedelta

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from idp_gateway.callers import CallerDep
from idp_gateway.composition import Gateway
from idp_gateway.dependencies import GatewayDep, SourceAddress
from idp_gateway.errors import TooManyAttempts
from idp_gateway.policy_questions import diff_result, explain_visit, trials
from idp_gateway.replay import Trial, replay
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.policies import DiffForm, ExplainForm, ExplainReply

router = APIRouter(prefix="/policies", tags=["policies"])
log = logging.getLogger(__name__)

RETRY_SECONDS = 10


@router.post("/explain", responses=problems(400, 401, 404))
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
    lines = _lines(gateway, trials(gateway, caller, form), days=form.days)
    # The first line takes the place among those that run: there may be none.
    first = next(lines)
    return StreamingResponse(_from(first, lines), media_type="application/x-ndjson")


def _from(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _lines(gateway: Gateway, tried: list[Trial], *, days: float) -> Iterator[str]:
    if not gateway.capacity.replays.acquire(blocking=False):
        raise TooManyAttempts(
            "others are asking the past already; try again soon", retry_after=RETRY_SECONDS
        )
    try:
        until = gateway.clock()
        since = until - timedelta(days=days)
        outcome = None
        for outcome in replay(gateway.store, tried, since=since):
            progress = {"type": "progress", "done": outcome.done, "total": outcome.total}
            yield json.dumps(progress) + "\n"
        if outcome is not None:
            yield json.dumps(diff_result(outcome.to_json(), since, until)) + "\n"
    except Exception:
        log.exception("a replay ended half-way")
        yield json.dumps({"type": "problem", "reason": "internal-error"}) + "\n"
    finally:
        gateway.capacity.replays.release()
