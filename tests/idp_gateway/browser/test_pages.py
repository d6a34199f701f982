"""What every page promises: no scripts, no frames, nothing leaked, no form from elsewhere."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import templates
from idp_gateway.composition import Gateway
from idp_gateway.cookies import LOGIN
from idp_gateway.providers.local import local_identity
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.sessions import begin_session, login_life
from tests.idp_gateway.browser.conftest import (
    ALICE,
    BOB,
    AccountMaker,
    Browser,
    SocketMaker,
    address_of,
)
from tests.idp_gateway.conftest import FixedClock

NewBrowser = Callable[[], Browser]


@pytest.mark.parametrize("path", ["/", "/login", "/logout", "/device", "/login/nobody/start"])
def test_pages_tie_the_browsers_hands(browser: Browser, alice: AccountRecord, path: str) -> None:
    for _ in ("signed out", "signed in"):
        headers = browser.walk(path)[-1].headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "script-src" not in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        browser.log_in()


def test_templates_have_nothing_inline() -> None:
    for template in Path(templates.__path__[0]).glob("*.html.j2"):
        text = template.read_text("utf-8")
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:|https?://", text), (
            template
        )
        assert "|safe" not in text.replace(" ", ""), template


def test_the_login_form_may_end_at_the_socket_it_is_for(
    browser: Browser, wiki: SocketRecord
) -> None:
    """Chromium applies ``form-action`` to the redirects after a form."""
    page = browser.walk(address_of(browser.gateway, wiki))[-1]

    policy = page.headers["content-security-policy"]
    assert f"form-action 'self' {address_of(browser.gateway, wiki, '')};" in policy


def test_names_are_escaped(browser: Browser, new_account: AccountMaker, gateway: Gateway) -> None:
    page = browser.get("/login")
    answer = browser.submit(page, "/login/local", email='"><script>x@y</script>', password="x")

    assert answer.status_code == 401
    assert "<script" not in answer.text


@pytest.mark.parametrize(
    "fields", [{"csrf": ""}, {"csrf": "x.y"}, {"csrf": "{other}"}], ids=["none", "junk", "foreign"]
)
def test_a_login_form_from_elsewhere_is_refused(
    browser: Browser, new_browser: NewBrowser, alice: AccountRecord, fields: dict[str, str]
) -> None:
    """Login CSRF: nobody signs a victim's browser in as themselves."""
    other = new_browser().get("/login")
    token = re.search(r'name="csrf" value="([^"]*)"', other.text)
    assert token is not None
    page = browser.get("/login")
    filled = {name: value.format(other=token[1]) for name, value in fields.items()}

    answer = browser.submit(
        page, "/login/local", email=ALICE, password="correct horse battery staple", **filled
    )

    assert answer.status_code == 403
    assert "form-refused" in answer.text
    assert LOGIN not in browser.jars["gateway.localhost"]


def test_a_form_from_a_sibling_site_is_refused(browser: Browser, alice: AccountRecord) -> None:
    page = browser.get("/login")
    token = re.search(r'name="csrf" value="([^"]*)"', page.text)
    assert token is not None

    answer = browser.request(
        "POST",
        "/login/local",
        data={"csrf": token[1], "email": ALICE, "password": "correct horse battery staple"},
        headers={"sec-fetch-site": "same-site"},
    )

    assert answer.status_code == 403


def test_a_form_may_not_lie_open_for_ever(
    browser: Browser, alice: AccountRecord, clock: FixedClock
) -> None:
    page = browser.get("/login")
    clock.advance(hours=1)

    assert browser.submit(page, "/login/local", email=ALICE, password="x").status_code == 403


def test_a_return_address_is_ours_or_none(browser: Browser, alice: AccountRecord) -> None:
    for text in ("https://evil.test/", "//evil.test", "IlwiIg.x", "/"):
        assert browser.get(f"/login?next={text}").status_code == 400
        assert browser.get(f"/logout?next={text}").status_code == 400


def test_wrong_passwords_are_counted_and_then_not_looked_at(
    browser: Browser, alice: AccountRecord
) -> None:
    page = browser.get("/login")
    for _ in range(10):
        answer = browser.submit(page, "/login/local", email=ALICE, password="wrong")
        assert answer.status_code == 401
        assert ALICE in answer.text

    answer = browser.submit(
        page, "/login/local", email=ALICE, password="correct horse battery staple"
    )
    assert answer.status_code == 429


def test_a_link_cannot_log_anybody_out(browser: Browser, alice: AccountRecord) -> None:
    browser.log_in()
    browser.get("/logout")
    assert browser.request("POST", "/logout").status_code == 403

    assert "Hello" in browser.get("/").text


def test_a_doubled_login_cookie_is_refused(browser: Browser, alice: AccountRecord) -> None:
    browser.log_in()
    secret = browser.jars["gateway.localhost"][LOGIN]

    answer = browser.get("/", cookie=f"{LOGIN}={secret}; {LOGIN}=x")

    assert answer.status_code == 400
    assert "cookie-ambiguous" in answer.text


def test_the_start_page_lists_what_is_open(
    browser: Browser,
    alice: AccountRecord,
    wiki: SocketRecord,
    database: SocketRecord,
    new_socket: SocketMaker,
) -> None:
    secret = new_socket(BOB, name="secret")
    browser.log_in()

    page = browser.get("/").text

    assert f'href="{address_of(browser.gateway, wiki)}"' in page
    assert f"mysocketctl client tls --host {database.dns_name}" in page
    assert secret.dns_name not in page


def test_static_files_are_a_closed_list(browser: Browser) -> None:
    style = browser.get("/static/mysocket.css")
    assert style.headers["content-type"].startswith("text/css")
    assert browser.get("/static/mysocket.svg").status_code == 200
    for name in ("loader.py", "..%2Floader.py", "%2e%2e%2floader.py", "base.html.j2"):
        assert browser.get(f"/static/{name}").status_code == 404


def test_snippets_are_filled_in_for_the_owner_alone(
    browser: Browser, gateway: Gateway, wiki: SocketRecord, database: SocketRecord
) -> None:
    owner = gateway.store.find_account(wiki.account_id)
    assert owner is not None
    identity = local_identity(owner, issuer=browser.base, now=gateway.clock())
    _, session = begin_session(
        gateway.store, identity, life=login_life(gateway.settings), now=gateway.clock()
    )
    token = gateway.tokens.api_token(
        account_id=owner.account_id,
        email=owner.email,
        session_id=session.session_id,
        expires_at=session.expires_at,
    )
    headers = {"x-access-token": token}

    web = browser.api.get(f"/api/v1/socket/{wiki.socket_id}/snippets", headers=headers).json()
    ssh = browser.api.get(f"/api/v1/socket/{database.socket_id}/snippets", headers=headers).json()

    assert set(web) == {"grafana", "radicale"}
    assert f'"aud": "{wiki.dns_name}"' in web["grafana"]
    assert set(ssh) == {"sshd_config", "ssh_config", "ssh_config_two_blocks"}
    assert database.ssh_ca_public.strip() in ssh["sshd_config"]
    assert browser.api.get(f"/socket/{wiki.socket_id}/snippets").status_code == 401
