"""A browser, an OpenID provider and a web app that believes the header: each the real program."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Response

from tests.support.chromium import chromium
from tests.support.openid_provider import OpenIdProvider, openid_provider, sign_in_at_provider
from tests.support.product import Person, Product
from tests.support.radicale import radicale

ALICE, BOB = "alice@example.com", "bob@elsewhere.example"
WHO_AM_I = """async () => (await fetch('/', {method: 'PROPFIND', headers: {Depth: '0'}, body:
  '<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>'})).text()"""


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    with openid_provider(tmp_path_factory.mktemp("provider"), ALICE, BOB) as running:
        yield running


@pytest.fixture(scope="module")
def product_environment(provider: OpenIdProvider) -> dict[str, str]:
    return {"MYSOCKET_PROVIDERS": provider.settings}


@pytest.fixture(scope="module")
def calendar(owner: Person, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Radicale behind an HTTP socket that only example.com may open."""
    socket = owner.create_socket(
        name="calendar",
        socket_type="http",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_domains=["example.com"],
    )
    with radicale(tmp_path_factory.mktemp("radicale")) as port:
        owner.publish(socket, port)
        yield socket


@pytest.fixture
def browser(product: Product, tmp_path: Path) -> Iterator[BrowserContext]:
    with chromium(tmp_path, product.authority) as context:
        yield context


def redirects(response: Response | None) -> int:
    """How many redirects led to this response."""
    count, request = 0, response.request if response else None
    while request and request.redirected_from:
        count, request = count + 1, request.redirected_from
    return count


def open_app(page: Page, product: Product, socket: dict[str, Any], subject: str) -> Response | None:
    """Visit the socket and sign in as ``subject``; the response that ended it."""
    address = f"{product.socket_url(socket)}/.web/"
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))  # noqa: PLW0108
    page.goto(address)
    assert page.url.startswith(f"{product.base_url}/login")
    sign_in_at_provider(page, subject)
    page.wait_for_load_state()
    documents = [r for r in responses if r.request.is_navigation_request()]
    return documents[-1]


def test_signing_in_leads_back_to_the_app_as_oneself(
    browser: BrowserContext, product: Product, calendar: dict[str, Any]
) -> None:
    page = browser.new_page()

    response = open_app(page, product, calendar, ALICE)

    assert page.url == f"{product.socket_url(calendar)}/.web/"
    assert response is not None
    assert response.status == 200
    assert redirects(response) < 6
    assert "/alice%40example.com/" in page.evaluate(WHO_AM_I)
    names = {cookie["name"]: cookie for cookie in browser.cookies(product.socket_url(calendar))}
    session = names["__Host-mysocket"]
    assert session["httpOnly"]
    assert session["secure"]
    assert session["domain"] == calendar["dnsname"]
    assert "__Host-mysocket" not in page.evaluate("document.cookie")


def test_a_person_outside_the_rules_gets_one_403_page(
    browser: BrowserContext, product: Product, calendar: dict[str, Any]
) -> None:
    page = browser.new_page()

    response = open_app(page, product, calendar, BOB)

    assert response is not None
    assert response.status == 403
    assert redirects(response) < 6
    assert page.locator("#reason").inner_text() == "not-on-list"
    assert page.locator("#decision-id").inner_text()
    assert page.goto(product.socket_url(calendar)).status == 403  # type: ignore[union-attr]


def test_an_address_the_provider_did_not_verify_opens_nothing(
    browser: BrowserContext, product: Product, calendar: dict[str, Any]
) -> None:
    page = browser.new_page()

    response = open_app(page, product, calendar, "mallory")

    assert response is not None
    assert response.status == 403
    assert page.locator("#reason").inner_text() == "email-unverified"


def test_taking_a_person_off_the_list_cuts_them_off_at_the_next_request(
    browser: BrowserContext, product: Product, owner: Person, tmp_path: Path
) -> None:
    mine = owner.create_socket(
        socket_type="http",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[ALICE],
    )
    with radicale(tmp_path) as port:
        owner.publish(mine, port)
        page = browser.new_page()
        open_app(page, product, mine, ALICE)
        assert "/alice%40example.com/" in page.evaluate(WHO_AM_I)

        owner.change_socket(mine, cloud_authentication_email_allowed_addressses=[BOB])

        status = "async () => (await fetch('/', {method: 'PROPFIND'})).status"
        assert page.evaluate(status) == 403
        response = page.reload()
        assert response is not None
        assert response.status == 403
