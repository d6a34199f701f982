"""A gateway that is busy for a moment is asked again; one that is busy for longer is not."""

from pathlib import Path

import httpx
import pytest

from clients.mysocketctl import api
from clients.mysocketctl.api import GatewayApi
from clients.mysocketctl.errors import GatewayRefused
from clients.mysocketctl.settings import Settings

BUSY = {"detail": "Busy.", "reason": "too-many-attempts"}


class Answers:
    """A transport that refuses so many times."""

    def __init__(self, refusals: int, retry_after: str) -> None:
        self.refusals, self.retry_after, self.asked = refusals, retry_after, list[bytes]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.read())
        if len(self.asked) > self.refusals:
            return httpx.Response(200, json={"ok": True})
        return httpx.Response(429, json=BUSY, headers={"retry-after": self.retry_after})


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(api.time, "sleep", waited.append)
    return waited


def asking(answers: Answers) -> GatewayApi:
    made = GatewayApi(Settings("https://gateway.test", None, None, Path("/nowhere")))
    made._http = httpx.Client(transport=httpx.MockTransport(answers))
    return made


def test_what_was_refused_for_a_moment_is_asked_again(pauses: list[float]) -> None:
    answers = Answers(2, "1")
    with asking(answers) as gateway:
        assert gateway.post("/policies", {"name": "a"}) == {"ok": True}
    assert answers.asked == [b'{"name":"a"}'] * 3
    assert pauses == [1, 1]


def test_not_for_ever(pauses: list[float]) -> None:
    answers = Answers(99, "2")
    with asking(answers) as gateway, pytest.raises(GatewayRefused, match="Busy"):
        gateway.post("/policies", {})
    assert len(answers.asked) == 4
    assert sum(pauses) == 6


@pytest.mark.parametrize("retry_after", ["197", "", "soon", "-1", "1.5"])
def test_nobody_waits_for_minutes(retry_after: str, pauses: list[float]) -> None:
    answers = Answers(1, retry_after)
    with asking(answers) as gateway, pytest.raises(GatewayRefused):
        gateway.post("/policies", {})
    assert (len(answers.asked), pauses) == (1, [])
