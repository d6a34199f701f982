"""Submitted forms in a real Chromium, which applies ``form-action`` to the redirects after them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from tests.support.at_browser import sign_in
from tests.support.chromium import chromium
from tests.support.origins import http_origin
from tests.support.product import Person, Product


@pytest.fixture
def browser(product: Product, tmp_path: Path) -> Iterator[BrowserContext]:
    with chromium(tmp_path, product.authority) as context:
        yield context


def test_the_local_form_leads_to_the_socket_and_the_original_redirect_to_the_program(
    browser: BrowserContext, product: Product, owner: Person, alice: Person
) -> None:
    rules = {
        "cloud_authentication_enabled": True,
        "cloud_authentication_email_allowed_addressses": [alice.email],
    }
    web = owner.create_socket(socket_type="http", **rules)
    database = owner.create_socket(socket_type="tls", **rules)
    with http_origin() as origin, http_origin() as program:
        owner.publish(web, origin.port)
        page = browser.new_page()
        refusals: list[str] = []
        page.on("console", lambda message: refusals.append(message.text))

        page.goto(f"{product.socket_url(web)}/deep?q=1")
        sign_in(page, alice.email, alice.password)
        page.wait_for_url(f"{product.socket_url(web)}/deep?q=1")

        page.goto(
            f"{product.base_url}/mtls-ca/socket/{database['dnsname']}/auth?port={program.port}"
        )
        page.locator("#allow").click()
        page.wait_for_url(f"http://localhost:{program.port}/?token=*")

        page.goto(f"{product.base_url}/")
        assert database["dnsname"] in page.inner_text("main")
        page.goto(f"{product.base_url}/logout")
        page.locator("#log-out").click()
        page.locator("text=You are logged out").wait_for()
        assert not [text for text in refusals if "Content Security Policy" in text]
