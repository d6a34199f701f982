"""A command that runs for days stays logged in, and leaves other logins alone."""

import time
from pathlib import Path

from clients.mysocketctl.api import GatewayApi
from clients.mysocketctl.files import HomeFiles
from clients.mysocketctl.renewal import LoginRenewal
from clients.mysocketctl.settings import read_settings
from tests.support.wire_gateway import WireGateway, api_token


def _api(gateway: WireGateway, home: Path, token: str) -> tuple[GatewayApi, HomeFiles]:
    settings = read_settings(
        {
            "HOME": str(home),
            "MYSOCKET_API": gateway.base,
            "MYSOCKET_CA_FILE": str(gateway.authority.pem),
        }
    )
    files = HomeFiles(home)
    files.api_token.write_text(token + "\n")
    return GatewayApi(settings, api_token=token), files


def test_a_token_is_renewed_at_half_its_life_and_kept(gateway: WireGateway, tmp_path: Path) -> None:
    token = api_token(1000)
    api, files = _api(gateway, tmp_path, token)
    now = time.time()
    renewal = LoginRenewal(api, files, started=now)
    assert not renewal.renew_if_due(now + 400)
    assert gateway.asked("POST", "/login/refresh") == 0
    assert renewal.renew_if_due(now + 600)
    assert api.api_token not in {None, token}
    assert files.api_token.read_text() == f"{api.api_token}\n"
    assert files.api_token.stat().st_mode & 0o077 == 0


def test_another_login_meanwhile_is_not_overwritten(gateway: WireGateway, tmp_path: Path) -> None:
    api, files = _api(gateway, tmp_path, api_token(1000))
    now = time.time()
    renewal = LoginRenewal(api, files, started=now)
    files.api_token.write_text("somebody else's\n")
    assert renewal.renew_if_due(now + 600)
    assert files.api_token.read_text() == "somebody else's\n"


def test_a_refused_renewal_is_tried_again_later(gateway: WireGateway, tmp_path: Path) -> None:
    token = api_token(1000)
    api, files = _api(gateway, tmp_path, token)
    now = time.time()
    gateway.refuse["POST /login/refresh"] = (503, b"{}")
    renewal = LoginRenewal(api, files, started=now)
    assert not renewal.renew_if_due(now + 600)
    assert api.api_token == token
    gateway.refuse.clear()
    assert renewal.renew_if_due(now + 660)
