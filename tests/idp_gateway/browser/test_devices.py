"""Devices without a browser log in (RFC 8628), and the redirect of the original clients."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from idp_gateway.records import AccountRecord, SocketRecord
from tests.idp_gateway.browser.conftest import ALICE, BOB, PASSWORD, Browser, SocketMaker
from tests.idp_gateway.conftest import FixedClock

NewBrowser = Callable[[], Browser]
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def start_device(browser: Browser, **form: str) -> dict[str, Any]:
    answer = browser.request(
        "POST", "/oauth/device_authorization", data={"client_id": "mysocketctl"} | form
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def poll(browser: Browser, device_code: str) -> dict[str, Any]:
    answer = browser.api.post(
        "/oauth/token",
        data={
            "grant_type": DEVICE_GRANT,
            "client_id": "mysocketctl",
            "device_code": device_code,
        },
    )
    found: dict[str, Any] = answer.json()
    return found


def test_a_device_is_let_in_from_elsewhere(
    browser: Browser,
    new_browser: NewBrowser,
    alice: AccountRecord,
    database: SocketRecord,
    clock: FixedClock,
) -> None:
    device = new_browser()
    device.address = "198.51.100.9"
    offer = start_device(device, resource=f"https://{database.dns_name}")
    assert poll(device, offer["device_code"])["error"] == "authorization_pending"
    assert poll(device, offer["device_code"])["error"] == "slow_down"
    clock.advance(seconds=5)
    assert poll(device, offer["device_code"])["error"] == "authorization_pending"

    browser.log_in()
    page = browser.get(offer["verification_uri_complete"])
    assert offer["user_code"] in page.text
    assert "198.51.100.9" in page.text
    assert database.dns_name in page.text
    done = browser.submit(page, "/device", answer="allow")
    assert done.status_code == 200

    token = poll(device, offer["device_code"])["access_token"]
    claims = browser.gateway.tokens.verify_client_token(token, dns_name=database.dns_name)
    assert claims.email == ALICE
    assert poll(device, offer["device_code"])["error"] == "expired_token"


def test_the_code_is_typed_in_any_spelling(browser: Browser, alice: AccountRecord) -> None:
    offer = start_device(browser)
    browser.log_in()
    assert "Enter the code" in browser.get("/device").text

    typed = offer["user_code"].lower().replace("-", " ")

    assert "another device" in browser.get(f"/device?{urlencode({'user_code': typed})}").text


def test_a_device_is_refused(browser: Browser, alice: AccountRecord) -> None:
    offer = start_device(browser)
    browser.log_in()
    browser.submit(browser.get(offer["verification_uri_complete"]), "/device", answer="deny")

    assert poll(browser, offer["device_code"])["error"] == "access_denied"


def test_a_device_of_a_denied_person_is_refused(
    browser: Browser, alice: AccountRecord, new_socket: SocketMaker
) -> None:
    secret = new_socket(BOB, socket_type="tls")
    offer = start_device(browser, resource=f"https://{secret.dns_name}")
    browser.log_in()
    page = browser.submit(
        browser.get(offer["verification_uri_complete"]), "/device", answer="allow"
    )

    assert page.status_code == 403
    assert "decision-id" in page.text
    assert poll(browser, offer["device_code"])["error"] == "access_denied"


def test_a_device_code_has_an_end(
    browser: Browser, alice: AccountRecord, clock: FixedClock
) -> None:
    offer = start_device(browser)
    clock.advance(minutes=10)
    browser.log_in()

    assert poll(browser, offer["device_code"])["error"] == "expired_token"
    assert browser.get(offer["verification_uri_complete"]).status_code == 400
    assert poll(browser, "guessed")["error"] == "expired_token"


def test_codes_cannot_be_guessed_without_end(browser: Browser, alice: AccountRecord) -> None:
    browser.log_in()
    for _ in range(10):
        assert browser.get("/device?user_code=BBBBBBBB").status_code == 400

    assert browser.get("/device?user_code=BBBBBBBB").status_code == 429


def test_devices_cannot_be_started_without_end(browser: Browser) -> None:
    for _ in range(30):
        start_device(browser)
    answer = browser.request(
        "POST", "/oauth/device_authorization", data={"client_id": "mysocketctl"}
    )

    assert answer.json()["error"] == "slow_down"


def test_the_original_clients_get_their_token(
    browser: Browser, alice: AccountRecord, database: SocketRecord
) -> None:
    page = browser.get(f"/mtls-ca/socket/{database.dns_name}/auth?port=50123")
    signed_in = browser.submit(page, "/login/local", email=ALICE, password=PASSWORD)
    consent = browser.walk(signed_in.headers["location"])[-1]
    answer = browser.submit(consent, "/mtls-ca/login", answer="allow")

    location = urlsplit(answer.headers["location"])
    assert (location.scheme, location.netloc, location.path) == ("http", "localhost:50123", "/")
    token = parse_qs(location.query)["token"][0]
    assert browser.gateway.tokens.verify_client_token(token, dns_name=database.dns_name)


def test_the_original_clients_of_2022_use_another_prefix(
    browser: Browser, alice: AccountRecord, database: SocketRecord
) -> None:
    browser.log_in()

    page = browser.get(f"/api/v1/mtls-ca/socket/{database.dns_name}/auth?port=50123")

    assert database.dns_name in page.text
    cancelled = browser.submit(page, "/mtls-ca/login", answer="deny")
    assert cancelled.headers["location"] == "http://localhost:50123/?error=access_denied"


@pytest.mark.parametrize(
    "port", ["", "0", "22", "1023", "65536", "080", "1e4", "5@evil.test", "٥٠١٢٣", "-1", "5 0"]
)
def test_a_port_is_a_number(
    browser: Browser, alice: AccountRecord, database: SocketRecord, port: str
) -> None:
    browser.log_in()
    query = urlencode({"port": port})

    assert browser.get(f"/mtls-ca/socket/{database.dns_name}/auth?{query}").status_code == 400


def test_the_original_redirect_is_denied_with_a_page(
    browser: Browser, alice: AccountRecord, new_socket: SocketMaker
) -> None:
    secret = new_socket(BOB, socket_type="tls")
    browser.log_in()
    page = browser.get(f"/mtls-ca/socket/{secret.dns_name}/auth?port=50123")

    answer = browser.submit(page, "/mtls-ca/login", answer="allow")

    assert answer.status_code == 403
    assert "not-on-list" in answer.text
