"""The web server a browser login comes back to."""

import pytest

from clients.mysocketctl.errors import LoginFailed
from clients.mysocketctl.loopback import CallbackListener


@pytest.mark.parametrize(
    "target",
    [
        "/callback?code=evil",
        "/callback?code=evil&state=other",
        "/callback?code=evil&state=",
        "/other?code=evil&state=expected",
        "/callback?error=access_denied&state=other",
        "http://[?code=evil",
    ],
)
def test_what_is_not_our_login_is_ignored(target: str) -> None:
    with CallbackListener("expected") as listener:
        assert listener.accept(target)[0] == 404
        with pytest.raises(LoginFailed, match="in time"):
            listener.wait(0)


def test_code_with_our_state_is_taken() -> None:
    with CallbackListener("expected") as listener:
        assert listener.accept("/callback?code=good&state=expected")[0] == 200
        assert listener.wait(0) == "good"
        assert listener.redirect_uri.startswith("http://127.0.0.1:")


def test_refusal_says_why() -> None:
    with CallbackListener("expected") as listener:
        listener.accept("/callback?error=x&error_description=no%0Aentry&state=expected")
        with pytest.raises(LoginFailed, match="login refused: no entry"):
            listener.wait(0)
