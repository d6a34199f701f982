"""Signing in at a real OpenID provider, in the right browser, once."""

import json
import re
from collections.abc import Callable
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest

from idp_gateway.cookies import ATTEMPT, FORM, LOGIN
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.sessions import secret_digest
from idp_gateway.settings import Settings
from tests.idp_gateway.browser.conftest import ALICE, BOB, Browser, address_of, choose
from tests.idp_gateway.conftest import FixedClock
from tests.support.openid_provider import OpenIdProvider

NewBrowser = Callable[[], Browser]
HOME = "gateway.localhost"


@pytest.fixture
def settings(settings: Settings, provider: OpenIdProvider) -> Settings:
    """The gateway of these tests offers the provider."""
    return Settings(
        state_dir=settings.state_dir,
        providers=json.loads(provider.settings),  # type: ignore[arg-type]
    )


@pytest.fixture
def clock() -> FixedClock:
    """The provider lives in real time."""
    clock = FixedClock()
    clock.now = clock.now.now(clock.now.tzinfo)
    return clock


def start(browser: Browser, page_text: str) -> str:
    """Press the provider's button; its address."""
    href = re.search(r'href="(/login/lab/start[^"]*)"', page_text)
    assert href is not None
    answer = browser.get(unescape(href[1]))
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def test_signing_in_at_a_provider_leads_to_the_socket(
    browser: Browser, wiki: SocketRecord, provider: OpenIdProvider
) -> None:
    page = browser.walk(address_of(browser.gateway, wiki, "/a"))[-1]
    at_provider = start(browser, page.text)
    assert at_provider.startswith(provider.issuer)

    final = browser.walk(choose(at_provider, ALICE))[-1]

    assert final.status_code == 200
    assert final.headers["x-auth-email"] == ALICE
    identity = browser.gateway.store.find_identity(provider.issuer, ALICE)
    assert identity is not None
    assert identity.account_id is None
    assert not [name for name in browser.jars[HOME] if name.startswith(ATTEMPT)]


@pytest.mark.parametrize(
    ("subject", "reason"), [(BOB, "not-on-list"), ("mallory", "email-unverified")]
)
def test_others_are_denied(browser: Browser, wiki: SocketRecord, subject: str, reason: str) -> None:
    page = browser.walk(address_of(browser.gateway, wiki))[-1]

    final = browser.walk(choose(start(browser, page.text), subject))[-1]

    assert final.status_code == 403
    assert reason in final.text


def test_a_provider_identity_is_not_the_local_account_with_its_address(
    browser: Browser, alice: AccountRecord, provider: OpenIdProvider
) -> None:
    """Accounts are never linked by e-mail."""
    page = browser.get("/login")
    browser.walk(choose(start(browser, page.text), ALICE))

    session = browser.gateway.store.find_login_session(_session_id(browser))
    assert session is not None
    assert (session.issuer, session.subject) == (provider.issuer, ALICE)
    assert session.subject != alice.account_id


def test_an_answer_works_once(browser: Browser) -> None:
    callback = choose(start(browser, browser.get("/login").text), ALICE)
    kept = dict(browser.jars[HOME])
    assert browser.get(callback).status_code == 303
    browser.jars[HOME] = kept

    again = browser.get(callback)

    assert again.status_code == 400
    assert "attempt-unknown" in again.text


def test_an_answer_is_worth_nothing_in_another_browser(
    browser: Browser, new_browser: NewBrowser
) -> None:
    callback = choose(start(browser, browser.get("/login").text), ALICE)
    victim = new_browser()
    victim.get("/login/lab/start")

    assert victim.get(callback).status_code == 400
    assert LOGIN not in victim.jars[HOME]


def test_an_attempt_cookie_of_another_attempt_does_not_count(
    browser: Browser, new_browser: NewBrowser
) -> None:
    callback = choose(start(browser, browser.get("/login").text), ALICE)
    victim = new_browser()
    victim.get("/login/lab/start")
    (name,) = (name for name in browser.jars[HOME] if name.startswith(ATTEMPT))
    (value,) = victim.jars[HOME].values()
    victim.jars[HOME] = {name: value}

    assert victim.get(callback).status_code == 400
    assert LOGIN not in victim.jars[HOME]


def test_an_answer_comes_within_ten_minutes(browser: Browser, clock: FixedClock) -> None:
    callback = choose(start(browser, browser.get("/login").text), ALICE)
    clock.advance(minutes=10)

    assert browser.get(callback).status_code == 400


def test_a_changed_state_is_refused(browser: Browser) -> None:
    callback = choose(start(browser, browser.get("/login").text), ALICE)
    state = parse_qs(urlsplit(callback).query)["state"][0]
    changed = callback.replace(state, state[:-1] + ("A" if state[-1] != "A" else "B"))

    assert browser.get(changed).status_code == 400
    assert browser.get(f"{callback}&state={state}").status_code == 400
    assert LOGIN not in browser.jars[HOME]


def test_a_refusal_at_the_provider_is_a_page(browser: Browser) -> None:
    at_provider = start(browser, browser.get("/login").text)
    state = parse_qs(urlsplit(at_provider).query)["state"][0]

    answer = browser.get(f"/login/lab/callback?error=access_denied&state={state}")

    assert answer.status_code == 502
    assert "access-denied" in answer.text
    assert 'href="/login"' in answer.text


def test_several_tabs_sign_in_at_once_but_not_without_end(browser: Browser) -> None:
    starts = [start(browser, browser.get("/login").text) for _ in range(7)]
    assert len([name for name in browser.jars[HOME] if name.startswith(ATTEMPT)]) == 5

    for number in (6, 3):
        assert browser.get(choose(starts[number], ALICE)).status_code == 303
    assert browser.get(choose(starts[0], ALICE)).status_code == 400


def test_every_login_makes_a_new_session_and_ends_the_old(browser: Browser) -> None:
    """Session fixation: nothing planted before the login survives it."""
    browser.jars[HOME][LOGIN] = "planted"
    browser.get(choose(start(browser, browser.get("/login").text), ALICE))
    first, form = _session_id(browser), browser.jars[HOME][FORM]
    assert browser.jars[HOME][LOGIN] != "planted"

    page = browser.get("/login")
    browser.get(choose(start(browser, page.text), ALICE))

    assert _session_id(browser) != first
    assert browser.jars[HOME][FORM] != form
    ended = browser.gateway.store.find_login_session(first)
    assert ended is not None
    assert ended.revoked_at is not None


def test_the_callback_address_is_made_from_the_settings(browser: Browser) -> None:
    answer = browser.get("/login/lab/start", host="evil.test")

    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["redirect_uri"] == ["https://gateway.localhost:8443/login/lab/callback"]


def test_an_unknown_provider_is_not_found(browser: Browser) -> None:
    assert browser.get("/login/nobody/start").status_code == 404
    assert browser.get("/login/nobody/callback?state=x").status_code == 404


def _session_id(browser: Browser) -> str:
    return secret_digest(browser.jars[HOME][LOGIN])
