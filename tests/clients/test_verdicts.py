"""What is asked in one call, and what becomes of questions a gateway does not take."""

import json
from typing import cast

import httpx
import pytest

from clients.mysocketctl.api import GatewayApi, Json
from clients.mysocketctl.errors import GatewayRefused
from clients.mysocketctl.sightings import MAX_KEY_ID, Sighting
from clients.mysocketctl.verdicts import UNASKED, parts, verdicts
from idp_gateway.bounds import MAX_BODY_BYTES
from idp_gateway.schemas.ca_log import MAX_QUESTIONS

FINGERPRINT = "SHA256:" + "A" * 43


def seen(serial: int, key_id: str) -> Sighting:
    return Sighting(
        kind="ssh",
        serial=str(serial),
        ca=FINGERPRINT,
        key_fingerprint=FINGERPRINT,
        key_id=key_id,
        seen_at="2026-11-23T12:00:00.000000+00:00",
    )


@pytest.mark.parametrize(
    "key_id", ["", "a" * 95, "x" * MAX_KEY_ID, "\0" * MAX_KEY_ID, "\U0001f511" * 1024]
)
def test_every_call_is_one_that_the_gateway_takes(key_id: str) -> None:
    sightings = [seen(2**63 + n, key_id) for n in range(2 * MAX_QUESTIONS + 1)]
    cut = list(parts(sightings))
    assert [one for part in cut for one in part] == sightings
    for part in cut:
        assert 1 <= len(part) <= MAX_QUESTIONS
        body = {"certificates": [one.question() for one in part]}
        assert len(httpx.Request("POST", "http://x", json=body).content) <= MAX_BODY_BYTES
        assert len(json.dumps(body)) <= MAX_BODY_BYTES


def test_nothing_is_asked_about_nothing() -> None:
    assert list(parts([])) == []


class Gateway:
    """Answers every question but those with one serial."""

    def __init__(self, status: int) -> None:
        self.status = status

    def post(self, path: str, body: Json) -> Json:
        assert path == "/ca/log/known"
        if any(one["serial"] == "13" for one in body["certificates"]):
            raise GatewayRefused("no", status=self.status, reason="no")
        return {"certificates": [{"verdict": "issued"} for _ in body["certificates"]]}


@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_a_question_that_is_not_taken_keeps_no_other_from_its_answer(status: int) -> None:
    said = list(verdicts(cast("GatewayApi", Gateway(status)), [seen(n, "a") for n in range(30)]))
    assert said == ["issued"] * 13 + [UNASKED] + ["issued"] * 16


def test_a_gateway_that_wants_a_login_is_not_asked_again() -> None:
    with pytest.raises(GatewayRefused):
        list(verdicts(cast("GatewayApi", Gateway(401)), [seen(13, "a"), seen(14, "a")]))
