"""From a socket to the login page and back, and everything that must not work on the way."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from idp_gateway.composition import Gateway
from idp_gateway.cookies import SESSION, STATE
from idp_gateway.records import AccountRecord, SocketRecord
from tests.idp_gateway.browser.conftest import (
    ALICE,
    BOB,
    PASSWORD,
    AccountMaker,
    Browser,
    SocketMaker,
    address_of,
    enter,
)
from tests.idp_gateway.conftest import FixedClock

NewBrowser = Callable[[], Browser]


def test_a_login_ends_where_it_began(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    page = browser.walk(address_of(browser.gateway, wiki, "/notes?q=a%20b"))[-1]
    assert page.status_code == 200
    assert wiki.dns_name in page.text

    answer = browser.submit(page, "/login/local", email=ALICE, password=PASSWORD)
    assert answer.status_code == 303
    steps = browser.walk(answer.headers["location"])

    assert steps[-2].headers["location"] == address_of(browser.gateway, wiki, "/notes?q=a%20b")
    assert steps[-1].status_code == 200
    assert steps[-1].headers["x-auth-email"] == ALICE
    assert steps[-1].headers["x-remote-user"] == ALICE
    assert steps[-1].headers["x-auth-name"] == "Alice Example"
    assert steps[-1].headers["x-auth-assertion"].count(".") == 2
    assert set(browser.jars[wiki.dns_name]) == {SESSION}


def test_a_second_socket_needs_no_second_login(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, new_socket: SocketMaker
) -> None:
    enter(browser, wiki)
    other = new_socket(ALICE, name="other")

    assert browser.walk(address_of(browser.gateway, other))[-1].status_code == 200


def test_the_code_works_once_and_only_for_a_minute(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, clock: FixedClock
) -> None:
    browser.log_in()
    start = browser.get(address_of(browser.gateway, wiki))
    callback = browser.get(start.headers["location"]).headers["location"]
    kept = dict(browser.jars[wiki.dns_name])
    assert browser.get(callback).status_code == 302
    browser.jars[wiki.dns_name].update(kept)

    again = browser.get(callback)
    assert again.status_code == 400
    assert "code-invalid" in again.text

    late = browser.get(browser.get(start.headers["location"]).headers["location"])
    assert late.status_code == 302
    browser.jars[wiki.dns_name].update(kept)
    too_late = browser.get(start.headers["location"]).headers["location"]
    clock.advance(seconds=61)
    assert browser.get(too_late).status_code == 400


def test_a_code_is_worth_nothing_in_another_browser(
    browser: Browser, new_browser: NewBrowser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    """Login CSRF: a victim who follows the attacker's callback must not become the attacker."""
    browser.log_in()
    start = browser.get(address_of(browser.gateway, wiki))
    callback = browser.get(start.headers["location"]).headers["location"]
    victim = new_browser()
    victim.get(address_of(victim.gateway, wiki))

    assert victim.get(callback).status_code == 400
    assert SESSION not in victim.jars[wiki.dns_name]


def test_a_state_cookie_under_the_right_name_with_another_state_does_not_count(
    browser: Browser, new_browser: NewBrowser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    """The cookie's name holds only a part of the state, which an attacker could come to share."""
    browser.log_in()
    start = browser.get(address_of(browser.gateway, wiki))
    callback = browser.get(start.headers["location"]).headers["location"]
    victim = new_browser()
    victim.get(address_of(victim.gateway, wiki))
    (name,) = (name for name in browser.jars[wiki.dns_name] if name.startswith(STATE))
    (value,) = victim.jars[wiki.dns_name].values()
    victim.jars[wiki.dns_name] = {name: value}

    assert victim.get(callback).status_code == 400
    assert SESSION not in victim.jars[wiki.dns_name]


def test_a_code_is_worth_nothing_on_another_socket(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, new_socket: SocketMaker
) -> None:
    other = new_socket(ALICE, name="other")
    browser.log_in()
    start = browser.get(address_of(browser.gateway, wiki))
    callback = urlsplit(browser.get(start.headers["location"]).headers["location"])
    browser.jars[other.dns_name] = dict(browser.jars[wiki.dns_name])

    elsewhere = address_of(browser.gateway, other, f"{callback.path}?{callback.query}")
    assert browser.get(elsewhere).status_code == 400


def test_a_state_cookie_of_another_socket_does_not_count(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, new_socket: SocketMaker
) -> None:
    other = new_socket(ALICE, name="other")
    browser.log_in()
    start = browser.get(address_of(browser.gateway, other))
    state = parse_qs(urlsplit(start.headers["location"]).query)["state"][0]
    answer = browser.get(f"/login/socket?host={wiki.dns_name}&path=/&state={state}")
    browser.jars[wiki.dns_name] = dict(browser.jars[other.dns_name])

    assert browser.get(answer.headers["location"]).status_code == 400


def test_a_session_cookie_of_one_socket_opens_no_other(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, new_socket: SocketMaker
) -> None:
    enter(browser, wiki)
    other = new_socket(ALICE, name="other")
    browser.jars[other.dns_name] = dict(browser.jars[wiki.dns_name])

    assert browser.get(address_of(browser.gateway, other)).status_code == 302


def test_a_denied_person_gets_a_page_and_no_circle(
    browser: Browser, alice: AccountRecord, new_socket: SocketMaker, gateway: Gateway
) -> None:
    secret = new_socket(BOB, name="secret")
    browser.log_in()

    steps = browser.walk(address_of(gateway, secret))

    assert [step.status_code for step in steps] == [302, 403]
    assert "not-on-list" in steps[-1].text
    assert "decision-id" in steps[-1].text
    assert "someone else" in steps[-1].text
    assert BOB not in steps[-1].text


def test_an_unverified_address_admits_to_nothing(
    browser: Browser, new_account: AccountMaker, wiki: SocketRecord
) -> None:
    new_account(ALICE, verified=False)
    browser.log_in()

    denied = browser.walk(address_of(browser.gateway, wiki))[-1]

    assert denied.status_code == 403
    assert "email-unverified" in denied.text


def test_logging_in_as_someone_else_leads_back_to_the_socket(
    browser: Browser, alice: AccountRecord, new_account: AccountMaker, new_socket: SocketMaker
) -> None:
    new_account(BOB)
    secret = new_socket(BOB, name="secret")
    browser.log_in()
    denied = browser.walk(address_of(browser.gateway, secret, "/deep"))[-1]
    switch = denied.text.split('id="other-account" href="')[1].split('"')[0]

    login = browser.walk(browser.submit(browser.get(switch), "/logout").headers["location"])[-1]
    assert secret.dns_name in login.text
    answer = browser.submit(login, "/login/local", email=BOB, password=PASSWORD)

    assert browser.walk(answer.headers["location"])[-1].headers["x-auth-email"] == BOB


def test_an_expired_session_is_renewed_silently(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, clock: FixedClock
) -> None:
    enter(browser, wiki)
    before = browser.jars[wiki.dns_name][SESSION]
    clock.advance(minutes=6)

    answer = browser.request("POST", address_of(browser.gateway, wiki, "/save"))

    assert answer.status_code == 200
    assert answer.headers["x-auth-email"] == ALICE
    assert browser.jars[wiki.dns_name][SESSION] != before


def test_a_policy_change_cuts_off_at_the_next_renewal(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, gateway: Gateway
) -> None:
    enter(browser, wiki)
    gateway.store.update_socket(
        wiki.account_id,
        wiki.socket_id,
        {"emails": (BOB,)},
        bump_epoch=True,
        ports=gateway.settings.ports,
        now=gateway.clock(),
    )

    page = browser.get(address_of(gateway, wiki))
    script = browser.request("GET", address_of(gateway, wiki), headers={"accept": "*/*"})

    assert page.status_code == 403
    assert "text/html" in page.headers["content-type"]
    assert gateway.settings.base_url in page.headers["content-security-policy"]
    assert script.status_code == 403
    assert script.json()["reason"] == "not-on-list"
    assert script.json()["decision_id"]


def test_logging_out_ends_every_renewal(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    enter(browser, wiki)
    old = dict(browser.jars[wiki.dns_name])
    page = browser.submit(browser.get("/logout"), "/logout")
    assert page.status_code == 200
    browser.jars[wiki.dns_name] = old

    assert browser.get(address_of(browser.gateway, wiki)).status_code == 302


def test_a_login_session_has_an_end(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, clock: FixedClock
) -> None:
    enter(browser, wiki)
    clock.advance(hours=browser.gateway.settings.login_session_hours)

    assert browser.get(address_of(browser.gateway, wiki)).status_code == 302
    assert browser.get("/").status_code == 200
    assert "Sign in" in browser.get("/").text


def test_logging_out_of_the_socket_leads_to_the_question_at_the_gateway(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    enter(browser, wiki)

    answer = browser.get(address_of(browser.gateway, wiki, "/.mysocket/logout"))

    assert answer.headers["location"] == f"{browser.base}/logout"
    assert SESSION not in browser.jars[wiki.dns_name]


@pytest.mark.parametrize(
    "query",
    [
        "host={host}&path=//evil.test/&state={state}",
        "host={host}&path=/%5Cevil.test&state={state}",
        "host={host}&path=/%09/evil.test&state={state}",
        "host={host}&path=https://evil.test/&state={state}",
        "host={host}&path=&state={state}",
        "host={host}.&path=/&state={state}",
        "host={host}:8443&path=/&state={state}",
        "host={host}@evil.test&path=/&state={state}",
        "host=%E2%84%AA{host}&path=/&state={state}",
        "host={host}&path=/&state=short",
        "host={host}&host=evil.test&path=/&state={state}",
    ],
)
def test_the_return_target_is_never_an_address_somewhere_else(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, query: str
) -> None:
    browser.log_in()
    answer = browser.get("/login/socket?" + query.format(host=wiki.dns_name, state="s" * 43))

    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "host", ["evil.test", "gateway.localhost", "nothing-here-1000.edge.localhost"]
)
def test_only_registered_sockets_are_targets(
    browser: Browser, alice: AccountRecord, host: str
) -> None:
    browser.log_in()

    assert browser.get(f"/login/socket?host={host}&path=/&state={'s' * 43}").status_code == 404


def test_the_path_of_the_login_is_kept_only_if_it_is_plain(
    browser: Browser, wiki: SocketRecord
) -> None:
    answer = browser.get(address_of(browser.gateway, wiki, "//evil.test/x"))

    assert parse_qs(urlsplit(answer.headers["location"]).query)["path"] == ["/"]


def test_six_tabs_can_log_in_and_cookies_do_not_pile_up(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    starts = [browser.get(address_of(browser.gateway, wiki, f"/{n}")) for n in range(8)]
    states = [name for name in browser.jars[wiki.dns_name] if name.startswith(STATE)]
    assert len(states) == 5
    browser.log_in()

    for number in (3, 7):
        steps = browser.walk(starts[number].headers["location"])
        assert steps[-1].status_code == 200, steps[-1].text
    assert browser.walk(starts[0].headers["location"])[-1].status_code == 400
