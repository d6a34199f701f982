"""Programs log in: authorization code with PKCE, device code, and the original redirect."""

import base64
import hashlib
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from idp_gateway.composition import Gateway
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.sessions import begin_session, login_life
from policy.addresses import EmailAddress
from policy.types import Assurance, Identity
from tests.idp_gateway.browser.conftest import ALICE, BOB, PASSWORD, Browser, SocketMaker
from tests.idp_gateway.conftest import FixedClock

NewBrowser = Callable[[], Browser]
VERIFIER = "a-verifier-that-is-long-enough-to-be-one-0123456789"
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
)
REDIRECT = "http://127.0.0.1:50123/callback"


def request_url(**changes: str) -> str:
    query = {
        "client_id": "mysocketctl",
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "a state",
    } | changes
    return f"/oauth/authorize?{urlencode({k: v for k, v in query.items() if v})}"


def for_socket(socket: SocketRecord, **changes: str) -> str:
    return request_url(resource=f"https://{socket.dns_name}", **changes)


def answer_of(response: httpx.Response) -> dict[str, str]:
    """The parameters a program hears."""
    assert response.status_code == 303, response.text
    location = response.headers["location"]
    assert location.startswith(f"{REDIRECT}?")
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def allow(browser: Browser, url: str, answer: str = "allow") -> dict[str, str]:
    page = browser.get(url)
    assert page.status_code == 200, page.text
    return answer_of(browser.submit(page, "/oauth/authorize", answer=answer))


def exchange(browser: Browser, **changes: str) -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": "mysocketctl",
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    } | changes
    return browser.api.post("/oauth/token", data=form)


def test_a_program_gets_a_token_for_one_socket(
    browser: Browser, alice: AccountRecord, database: SocketRecord
) -> None:
    page = browser.get(for_socket(database))
    assert "Sign in" in page.text
    signed_in = browser.submit(page, "/login/local", email=ALICE, password=PASSWORD)
    consent = browser.walk(signed_in.headers["location"])[-1]
    assert database.dns_name in consent.text
    assert "203.0.113.7" in consent.text
    assert "http://127.0.0.1:50123" in consent.headers["content-security-policy"]

    said = answer_of(browser.submit(consent, "/oauth/authorize", answer="allow"))
    assert said["state"] == "a state"
    assert said["iss"] == browser.base
    answer = exchange(browser, code=said["code"]).json()

    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 8 * 3600
    claims = browser.gateway.tokens.verify_client_token(
        answer["access_token"], dns_name=database.dns_name
    )
    assert claims.email == ALICE
    assert claims.port == database.port


def test_a_program_gets_a_token_for_the_api(browser: Browser, alice: AccountRecord) -> None:
    browser.log_in()
    for url in (request_url(), request_url(scope="api")):
        said = allow(browser, url)
        token = exchange(browser, code=said["code"]).json()["access_token"]
        answer = browser.api.get(f"/user/{alice.account_id}", headers={"x-access-token": token})
        assert answer.json()["email"] == ALICE


def test_nothing_is_sent_before_somebody_allows_it(
    browser: Browser, alice: AccountRecord, database: SocketRecord
) -> None:
    browser.log_in()
    said = allow(browser, for_socket(database), answer="deny")

    assert said["error"] == "access_denied"
    assert "code" not in said
    assert allow(browser, for_socket(database), answer="")["error"] == "access_denied"


def test_a_denied_person_is_told_the_decision(
    browser: Browser, alice: AccountRecord, new_socket: SocketMaker
) -> None:
    secret = new_socket(BOB, socket_type="tls")
    browser.log_in()

    said = allow(browser, for_socket(secret))

    assert said["error"] == "access_denied"
    assert "not-on-list, decision " in said["error_description"]


def test_a_policy_change_between_code_and_token_counts(
    browser: Browser, alice: AccountRecord, database: SocketRecord, gateway: Gateway
) -> None:
    browser.log_in()
    said = allow(browser, for_socket(database))
    gateway.store.update_socket(
        database.account_id,
        database.socket_id,
        {"emails": ()},
        bump_epoch=True,
        ports=gateway.settings.ports,
        now=gateway.clock(),
    )

    answer = exchange(browser, code=said["code"])

    assert answer.status_code == 400
    assert answer.json()["error"] == "access_denied"
    assert answer.json()["decision_id"]


def test_a_logout_between_code_and_token_counts(browser: Browser, alice: AccountRecord) -> None:
    browser.log_in()
    said = allow(browser, request_url())
    browser.submit(browser.get("/logout"), "/logout")

    assert exchange(browser, code=said["code"]).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "another-verifier-that-is-long-enough-0123456789"},
        {"code_verifier": ""},
        {"code_verifier": "short"},
        {"redirect_uri": "http://127.0.0.1:50124/callback"},
        {"code": "x"},
    ],
    ids=str,
)
def test_a_stolen_code_is_worth_nothing_and_used_up(
    browser: Browser, alice: AccountRecord, changes: dict[str, str]
) -> None:
    browser.log_in()
    code = allow(browser, request_url())["code"]

    assert exchange(browser, **({"code": code} | changes)).json()["error"] == "invalid_grant"
    if "code" not in changes:
        assert exchange(browser, code=code).json()["error"] == "invalid_grant"


def test_a_code_works_once_within_a_minute(
    browser: Browser, alice: AccountRecord, clock: FixedClock
) -> None:
    browser.log_in()
    code = allow(browser, request_url())["code"]
    assert exchange(browser, code=code).status_code == 200
    assert exchange(browser, code=code).json()["error"] == "invalid_grant"
    late = allow(browser, request_url())["code"]
    clock.advance(seconds=61)
    assert exchange(browser, code=late).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://localhost:50123/callback",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:50123/callback/",
        "http://127.0.0.1:50123/callback?x=1",
        "http://127.0.0.1:50123/other",
        "http://127.0.0.1:80@evil.test:1024/callback",
        "http://127.0.0.1:50123@evil.test/callback",
        "http://127.0.0.1.evil.test:50123/callback",
        "http://127.0.0.2:50123/callback",
        "https://127.0.0.1:50123/callback",
        "http://127.0.0.1:22/callback",
        "http://127.0.0.1:0050123/callback",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1:٥٠١٢٣/callback",
        "javascript:alert(1)",
        "",
    ],
)
def test_only_loopback_hears_the_answer(
    browser: Browser, alice: AccountRecord, redirect_uri: str
) -> None:
    browser.log_in()

    answer = browser.get(request_url(redirect_uri=redirect_uri))

    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_loopback_may_be_ipv6(browser: Browser, alice: AccountRecord) -> None:
    browser.log_in()
    page = browser.get(request_url(redirect_uri="http://[::1]:50123/callback"))

    answer = browser.submit(page, "/oauth/authorize", answer="allow")

    assert answer.headers["location"].startswith("http://[::1]:50123/callback?code=")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "x"}, "invalid_request"),
        ({"resource": "https://nothing-here-1000.edge.localhost"}, "invalid_target"),
        ({"resource": "http://gateway.localhost"}, "invalid_target"),
        ({"resource": "https://a.b/x"}, "invalid_target"),
        ({"scope": "admin"}, "invalid_target"),
    ],
    ids=str,
)
def test_other_mistakes_are_told_to_the_program(
    browser: Browser, alice: AccountRecord, changes: dict[str, str], error: str
) -> None:
    browser.log_in()

    said = answer_of(browser.get(request_url(**changes)))

    assert said["error"] == error
    assert said["state"] == "a state"


def test_another_client_is_not_known(browser: Browser, alice: AccountRecord) -> None:
    browser.log_in()
    assert browser.get(request_url(client_id="evil")).status_code == 400
    assert exchange(browser, client_id="evil", code="x").status_code == 401


def test_consent_is_given_in_the_browser_that_was_asked(
    browser: Browser, new_browser: NewBrowser, alice: AccountRecord
) -> None:
    """CSRF: neither a foreign page nor another browser can press the button."""
    browser.log_in()
    other = new_browser()
    other.log_in()
    page = browser.get(request_url())
    other.get(request_url())

    assert other.submit(page, "/oauth/authorize", answer="allow").status_code == 403
    foreign = browser.request(
        "POST",
        "/oauth/authorize",
        data={"answer": "allow"},
        headers={"sec-fetch-site": "cross-site"},
    )
    assert foreign.status_code == 403


def test_an_answer_to_one_question_is_none_to_another(
    browser: Browser, alice: AccountRecord, database: SocketRecord
) -> None:
    browser.log_in()
    page = browser.get(request_url())
    text = page.text.replace('action="/oauth/authorize"', 'action="/device"')
    moved = httpx.Response(200, text=text)

    assert browser.submit(moved, "/device", answer="allow").status_code == 403


def outsider(browser: Browser, subject: str, email: str | None = ALICE) -> None:
    """Sign in somebody a provider vouches for."""
    now = browser.gateway.clock()
    identity = Identity(
        issuer="https://idp.lab.test",
        subject=subject,
        email=EmailAddress.parse(email) if email else None,
        name="Alice",
        assurance=Assurance.PROVIDER_VERIFIED,
        authenticated_at=now,
    )
    life = login_life(browser.gateway.settings)
    secret, _ = begin_session(browser.gateway.store, identity, life=life, now=now)
    browser.jars["gateway.localhost"]["__Host-mysocket-login"] = secret


def api_account(browser: Browser) -> str:
    code = allow(browser, request_url())["code"]
    token = exchange(browser, code=code).json()["access_token"]
    return browser.gateway.tokens.verify_api_token(token).account_id


def test_an_account_is_made_by_issuer_and_subject_and_never_linked_by_email(
    browser: Browser, alice: AccountRecord, gateway: Gateway
) -> None:
    outsider(browser, "one")
    first = api_account(browser)
    assert first != alice.account_id
    assert api_account(browser) == first
    outsider(browser, "two")
    second = api_account(browser)
    outsider(browser, "three", email=None)
    third = api_account(browser)

    assert len({alice.account_id, first, second, third}) == 4
    made = gateway.store.find_account(first)
    assert made is not None
    assert made.email.endswith(".invalid")
    assert not made.email_verified


def test_nobody_can_log_in_with_the_password_of_an_account_without_one(
    browser: Browser, gateway: Gateway
) -> None:
    outsider(browser, "one", email="carol@example.com")
    api_account(browser)

    for password in ("", "x"):
        answer = browser.log_in(email="carol@example.com", password=password)
        assert answer.status_code == 401


def test_the_metadata_names_what_there_is(browser: Browser) -> None:
    metadata = browser.api.get("/.well-known/oauth-authorization-server").json()

    assert metadata["issuer"] == browser.base
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert browser.api.get("/.well-known/jwks.json").json()["keys"][0]["kty"] == "EC"
    assert "d" not in browser.api.get("/.well-known/jwks.json").json()["keys"][0]
