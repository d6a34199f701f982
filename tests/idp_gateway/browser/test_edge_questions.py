"""What the edge asks about requests without a session, and how strictly the question is read."""

from datetime import timedelta

import pytest

from idp_gateway.composition import Gateway
from idp_gateway.cookies import LOGIN, SESSION
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.sessions import begin_session
from policy.addresses import EmailAddress
from policy.types import Assurance, Identity
from tests.idp_gateway.browser.conftest import (
    ALICE,
    NAVIGATION,
    Browser,
    SocketMaker,
    address_of,
    enter,
)
from tests.idp_gateway.conftest import FixedClock


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", NAVIGATION),
        ("OPTIONS", {}),
        ("PROPFIND", {"accept": "text/html"}),
        ("GET", {"accept": "application/json"}),
        ("GET", {"accept": "*/*"}),
        ("GET", NAVIGATION | {"sec-fetch-mode": "cors"}),
        ("GET", NAVIGATION | {"sec-fetch-dest": "iframe"}),
        ("GET", NAVIGATION | {"x-requested-with": "XMLHttpRequest"}),
        ("GET", NAVIGATION | {"upgrade": "websocket"}),
    ],
)
def test_what_is_no_navigation_gets_a_status_and_no_redirect(
    browser: Browser, wiki: SocketRecord, method: str, headers: dict[str, str]
) -> None:
    answer = browser.request(method, address_of(browser.gateway, wiki), headers=headers)

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "login-required"
    assert not browser.jars[wiki.dns_name]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "{own}", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "{own}"}, 200),
        ({"origin": "https://evil.edge.localhost:8443"}, 403),
        ({"origin": "https://evil.edge.localhost:8443", "sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_a_websocket_is_opened_from_the_services_own_pages(
    browser: Browser,
    alice: AccountRecord,
    wiki: SocketRecord,
    headers: dict[str, str],
    status: int,
) -> None:
    enter(browser, wiki)
    own = address_of(browser.gateway, wiki, "")
    asked = {name: value.format(own=own) for name, value in headers.items()}

    answer = browser.request("GET", own, headers={"sec-fetch-mode": "websocket"} | asked)

    assert answer.status_code == status


def test_a_doubled_session_cookie_is_refused(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    enter(browser, wiki)
    mine = browser.jars[wiki.dns_name][SESSION]

    for second in (f"{SESSION}=x", f"{SESSION.lower()}=x", f"{SESSION.upper()}=x"):
        cookie = f"{SESSION}={mine}; {second}"
        answer = browser.get(address_of(browser.gateway, wiki), cookie=cookie)
        assert answer.status_code == 400, second
        assert answer.json()["reason"] == "cookie-ambiguous"


def test_a_login_cookie_is_no_session_and_a_session_is_no_login(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    enter(browser, wiki)
    secret = browser.jars["gateway.localhost"][LOGIN]
    token = browser.jars[wiki.dns_name][SESSION]

    assert browser.get(address_of(browser.gateway, wiki), cookie=f"{SESSION}={secret}").is_redirect
    assert "Sign in" in browser.get("/", cookie=f"{LOGIN}={token}").text


def test_only_an_edge_may_ask(browser: Browser, wiki: SocketRecord) -> None:
    for key in ({"x-mysocket-edge-key": "wrong"}, {"x-mysocket-edge-key": ""}):
        answer = browser.ask("GET", wiki.dns_name, "/", headers=NAVIGATION | key)
        assert answer.status_code == 401
        assert answer.json()["reason"] == "edge-key-invalid"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("nothing-here-1000.edge.localhost", 404),
        ("gateway.localhost", 404),
        ("{host}.", 400),
        ("{host}:99999", 400),
        ("x@{host}", 400),
    ],
)
def test_hosts_are_read_strictly(
    browser: Browser, wiki: SocketRecord, host: str, status: int
) -> None:
    answer = browser.ask(
        "GET",
        host.format(host=wiki.dns_name),
        "/",
        headers=NAVIGATION
        | {
            "x-mysocket-edge-key": browser.gateway.edge_key.decode(),
            "x-forwarded-for": "192.0.2.1",
        },
    )

    assert answer.status_code == status


def test_upper_case_hosts_are_the_same_host(browser: Browser, wiki: SocketRecord) -> None:
    key = {"x-mysocket-edge-key": browser.gateway.edge_key.decode(), "x-forwarded-for": "192.0.2.1"}

    answer = browser.ask("GET", wiki.dns_name.upper(), "/", headers=NAVIGATION | key)

    assert f"host={wiki.dns_name}&" in answer.headers["location"]


def test_a_protected_socket_asks_for_its_password(
    browser: Browser, new_socket: SocketMaker
) -> None:
    socket = new_socket(
        cloud_authentication_enabled=False,
        protected_socket=True,
        protected_username="lab",
        protected_password="pa:ss",
    )
    address = address_of(browser.gateway, socket)

    asked = browser.get(address)
    assert asked.status_code == 401
    assert asked.headers["www-authenticate"].startswith("Basic realm=")
    for credentials, status in (("bGFiOnBhOnNz", 200), ("bGFiOnBhOm5v", 401), ("%%%", 401)):
        answer = browser.get(address, authorization=f"Basic {credentials}")
        assert answer.status_code == status


def test_a_socket_may_ask_for_a_password_and_a_person(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, gateway: Gateway
) -> None:
    socket = gateway.store.update_socket(
        wiki.account_id,
        wiki.socket_id,
        {"protected": True, "protected_username": "lab", "protected_password": "pw"},
        bump_epoch=True,
        ports=gateway.settings.ports,
        now=gateway.clock(),
    )
    address, basic = address_of(browser.gateway, socket), {"authorization": "Basic bGFiOnB3"}
    browser.log_in()

    assert browser.get(address).status_code == 401
    start = browser.get(address, **basic)
    assert start.status_code == 302
    browser.get(browser.get(start.headers["location"]).headers["location"])
    assert SESSION in browser.jars[socket.dns_name]

    assert browser.get(address, **basic).headers["x-auth-email"] == ALICE
    assert browser.get(address).status_code == 401


def test_a_name_outside_ascii_survives_as_utf8(
    browser: Browser, gateway: Gateway, wiki: SocketRecord
) -> None:
    identity = Identity(
        issuer="https://idp.lab.test",
        subject="zoe",
        email=EmailAddress.parse(ALICE),
        name="Zoë Łukasz",
        assurance=Assurance.PROVIDER_VERIFIED,
        authenticated_at=gateway.clock(),
    )
    secret, _ = begin_session(gateway.store, identity, life=timedelta(hours=1), now=gateway.clock())
    browser.jars["gateway.localhost"][LOGIN] = secret

    answer = browser.walk(address_of(gateway, wiki))[-1]

    name = dict(answer.headers.raw)[b"x-auth-name"]
    assert name.decode("utf-8") == "Zoë Łukasz"


def test_a_login_session_outlives_its_socket_session_never(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord, clock: FixedClock
) -> None:
    enter(browser, wiki)
    clock.advance(hours=browser.gateway.settings.login_session_hours, seconds=-30)
    answer = browser.get(address_of(browser.gateway, wiki))
    assert answer.status_code == 200

    claims = browser.gateway.tokens.verify_session(
        browser.jars[wiki.dns_name][SESSION], dns_name=wiki.dns_name
    )
    assert claims.expires_at - clock() <= timedelta(seconds=30)


def test_a_page_that_asks_again_and_again_is_on_record_once(
    browser: Browser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    enter(browser, wiki)
    store = browser.gateway.store
    store.update_socket(
        wiki.account_id,
        wiki.socket_id,
        {"emails": ()},
        bump_epoch=True,
        ports=browser.gateway.settings.ports,
        now=browser.gateway.clock(),
    )
    before = len(store.decisions_page(wiki.socket_id, offset=0, limit=100))
    api = {"accept": "application/json"}
    place = address_of(browser.gateway, wiki, "/api")
    ids = {browser.request("GET", place, headers=api).json()["decision_id"] for _ in range(20)}
    assert len(ids) == 1
    assert len(store.decisions_page(wiki.socket_id, offset=0, limit=100)) == before + 1
