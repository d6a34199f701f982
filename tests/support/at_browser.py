"""A person at a browser: ``python -m tests.support.at_browser ADDRESS``, usable as ``BROWSER``.

Opens the address in headless Chromium and signs in as ``PERSON_EMAIL``, ``PERSON_PASSWORD`` at the
gateway's own form. The browser's profile, and so the login session, is kept below ``HOME``.
"""

import os
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.support.chromium import EXECUTABLE, FLAGS, trust


def sign_in(page: Page, email: str, password: str) -> None:
    """Fill in the gateway's login form."""
    page.locator("input[name=email]").fill(email)
    page.locator("input[name=password]").fill(password)
    page.locator("#sign-in").click()


def main(address: str) -> None:
    """Follow ``address`` to where it leads, and print what is shown there."""
    home = Path(os.environ["HOME"])
    if not (home / ".pki").exists():
        trust(home, Path(os.environ["MYSOCKET_CA_FILE"]))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            home / "chromium", executable_path=EXECUTABLE, args=list(FLAGS)
        )
        page = browser.new_page()
        page.goto(address)
        if page.locator("#sign-in").count():
            # A click does not wait for the page behind it; what is asked next is on that page.
            with page.expect_navigation():
                sign_in(page, os.environ["PERSON_EMAIL"], os.environ["PERSON_PASSWORD"])
        if page.locator("#allow").count():
            page.locator("#allow").click()
            # Back at the program that waits for this login.
            page.wait_for_url("http://127.0.0.1:*/**", timeout=15_000)
        print(page.inner_text("body"))
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
