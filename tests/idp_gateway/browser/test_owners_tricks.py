"""What a socket's owner may try to become one of his visitors, or to use them."""

import httpx
import pytest

from idp_gateway.composition import Gateway
from idp_gateway.cookies import SESSION
from idp_gateway.records import AccountRecord, SocketRecord
from tests.idp_gateway.browser.conftest import NAVIGATION, Browser, address_of, enter


def change(gateway: Gateway, socket: SocketRecord, **changes: object) -> None:
    gateway.store.update_socket(
        socket.account_id,
        socket.socket_id,
        changes,
        bump_epoch=True,
        ports=gateway.settings.ports,
        now=gateway.clock(),
    )


def callback_of(browser: Browser, wiki: SocketRecord) -> str:
    """Where Alice's browser is sent with a code, not opened yet."""
    browser.log_in()
    login = browser.get(address_of(browser.gateway, wiki)).headers["location"]
    return browser.get(login).headers["location"]


def test_a_code_never_reaches_an_origin_that_just_went_public(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, gateway: Gateway
) -> None:
    callback = callback_of(browser, wiki)
    change(gateway, wiki, cloud_authentication_enabled=False)
    assert browser.get(callback).status_code == 404  # 200 would pass it on
    assert browser.get(address_of(gateway, wiki)).status_code == 200


def test_a_code_is_void_when_the_rules_change(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, gateway: Gateway
) -> None:
    callback = callback_of(browser, wiki)
    change(gateway, wiki, cloud_authentication_enabled=False)
    change(gateway, wiki, cloud_authentication_enabled=True)
    assert browser.get(callback).status_code == 400
    assert SESSION not in browser.jars[wiki.dns_name]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PROPPATCH"])
@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_a_neighbours_page_changes_nothing_with_a_visitors_cookie(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, method: str, site: str
) -> None:
    enter(browser, wiki)
    headers = {"origin": "https://evil.edge.localhost:8443", "sec-fetch-site": site}
    answer = browser.request(method, address_of(browser.gateway, wiki), headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (403, "origin-refused")
    own = {"origin": address_of(browser.gateway, wiki, ""), "sec-fetch-site": "same-origin"}
    answer = browser.request(method, address_of(browser.gateway, wiki), headers=own)
    assert answer.status_code == 200


def test_a_neighbours_cookies_do_not_lock_anybody_out(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    enter(browser, wiki)
    mine = browser.jars[wiki.dns_name][SESSION]
    bomb = "; ".join(f"b{number}={'x' * 4000}" for number in range(8))
    answer = browser.get(address_of(browser.gateway, wiki), cookie=f"{bomb}; {SESSION}={mine}")
    assert answer.status_code == 200


@pytest.mark.parametrize("count", [16, 17, 400])
def test_a_callback_with_many_parameters_is_malformed(
    browser: Browser, wiki: SocketRecord, count: int
) -> None:
    query = "&".join(f"p{number}=" for number in range(count))
    answer = browser.get(address_of(browser.gateway, wiki, f"/.mysocket/callback?{query}"))
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/login/", "/api/v1/login/", "/user/", "/oauth/token/"])
def test_nothing_is_redirected_with_its_password(api: httpx.Client, path: str) -> None:
    answer = api.post(path, json={"email": "a@b.test", "password": "secret"}, headers=NAVIGATION)
    assert answer.status_code == 404
    assert "location" not in answer.headers
