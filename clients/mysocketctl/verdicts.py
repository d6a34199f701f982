"""Asking the gateway about certificates that were seen, however many and whatever a forger wrote.

Whoever has a stolen CA key chooses the key ids in the logs; none of them may keep the others from
being asked about.
"""

import json
from collections.abc import Iterator, Sequence

from clients.mysocketctl.api import GatewayApi, Json, object_list
from clients.mysocketctl.errors import GatewayRefused, ProtocolViolation
from clients.mysocketctl.sightings import Sighting

UNASKED = "unasked"
"""The verdict on a certificate the gateway takes no question about."""
UNDATED = "undated"

_AT_ONCE = 200
_MOST_BYTES = 48 * 1024
"""Of questions in one call; a gateway takes bodies of 64 KiB."""
_OF_THE_QUESTION = frozenset({400, 413, 422, 500})
"""What a gateway answers when something in the body is at fault."""


def verdicts(api: GatewayApi, sightings: Sequence[Sighting]) -> Iterator[str]:
    """One for each, in their order. Raises ClientError where nothing can be asked now."""
    for part in parts(sightings):
        yield from _ask(api, part)


def parts(sightings: Sequence[Sighting]) -> Iterator[Sequence[Sighting]]:
    """What can be asked in one call each."""
    start = size = 0
    for place, one in enumerate(sightings):
        # With every other character escaped; a call never takes more.
        more = len(json.dumps(one.question())) + 1
        if place > start and (size + more > _MOST_BYTES or place - start == _AT_ONCE):
            yield sightings[start:place]
            start, size = place, 0
        size += more
    if start < len(sightings):
        yield sightings[start:]


def _ask(api: GatewayApi, part: Sequence[Sighting]) -> list[str]:
    try:
        answers = _answers(api, part)
    except GatewayRefused as error:
        if error.status not in _OF_THE_QUESTION:
            raise
        if len(part) == 1:
            return [UNASKED]
        middle = len(part) // 2
        return _ask(api, part[:middle]) + _ask(api, part[middle:])
    return [_verdict(one, said) for one, said in zip(part, answers, strict=True)]


def _answers(api: GatewayApi, part: Sequence[Sighting]) -> list[dict[str, Json]]:
    answer = api.post("/ca/log/known", {"certificates": [one.question() for one in part]})
    found = object_list(answer.get("certificates") if isinstance(answer, dict) else None)
    if len(found) != len(part):
        raise ProtocolViolation("the gateway did not answer about every certificate")
    return found


def _verdict(one: Sighting, said: dict[str, Json]) -> str:
    verdict = str(said.get("verdict"))
    return UNDATED if verdict == "forgotten" and one.seen_at is None else verdict
