"""``mysocketctl policy rollback`` to a version that says the same."""

from typing import Any

from tests.clients.conftest import Ctl
from tests.clients.test_policy import ID, asked, stored
from tests.support.wire_gateway import WireGateway

__all__ = ["asked"]


def test_a_rollback_that_changes_nothing_says_so(
    ctl: Ctl, asked: list[Any], gateway: WireGateway
) -> None:
    """No version is made then, so that the reason is kept nowhere."""
    gateway.more["POST", f"/policy/{ID}/rollback"] = lambda *_: (200, stored())
    same = ctl.run("policy", "rollback", "office", "--to", "1", "--why", "y")
    assert (same.returncode, same.stderr.startswith(b"nothing changed")) == (0, True)
    assert asked[-1][0] == "POST"
