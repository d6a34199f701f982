"""From the page that says no to the service: asking, answering, and coming by a guest's link."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest

from idp_gateway import asking
from idp_gateway.approving import Person
from idp_gateway.asking import person_of
from idp_gateway.composition import Gateway
from idp_gateway.inviting import Invitation, invite
from idp_gateway.providers.local import local_identity
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.request_records import ApprovalRulesRecord
from policy.addresses import EmailAddress
from tests.idp_gateway.browser.conftest import (
    ALICE,
    BOB,
    PASSWORD,
    AccountMaker,
    Browser,
    SocketMaker,
    address_of,
)
from tests.idp_gateway.conftest import FixedClock

NewBrowser = Callable[[], Browser]
OWNER = "owner@lab.test"


@pytest.fixture
def secret(new_socket: SocketMaker, alice: AccountRecord) -> SocketRecord:
    """A socket that asks who comes and lets nobody in; Alice has an account."""
    return new_socket()


def denied(browser: Browser, socket: SocketRecord) -> str:
    """Sign in as Alice on the way to a socket, be refused, and find where to ask."""
    page = browser.walk(address_of(browser.gateway, socket))[-1]
    if "password" in page.text:
        answer = browser.submit(page, "/login/local", email=ALICE, password=PASSWORD)
        page = browser.walk(answer.headers["location"])[-1]
    assert page.status_code == 403
    link = re.search(r'id="ask" href="([^"]+)"', page.text)
    assert link is not None, page.text
    return unescape(link[1])


def person(gateway: Gateway, account: AccountRecord) -> Person:
    issuer = gateway.settings.base_url
    return person_of(gateway, local_identity(account, issuer=issuer, now=gateway.clock()))


def owner_of(gateway: Gateway, socket: SocketRecord) -> AccountRecord:
    found = gateway.store.find_account(socket.account_id)
    assert found is not None
    return found


def test_a_denied_person_asks_and_the_owner_lets_them_in(
    browser: Browser,
    new_browser: NewBrowser,
    gateway: Gateway,
    secret: SocketRecord,
    clock: FixedClock,
) -> None:
    link = denied(browser, secret)
    form = browser.get(link)
    assert form.status_code == 200
    sent = browser.submit(form, "/ask", reason="<b>on call</b>", minutes="240")
    assert "was sent" in sent.text
    assert "<b>" not in browser.get("/requests").text

    owner = new_browser()
    owner.log_in(OWNER)
    assert "1 waiting for you" in owner.get("/").text
    page = owner.get("/requests")
    assert "&lt;b&gt;on call" in page.text
    (request_id,) = re.findall(r'action="/requests/([0-9a-f-]{36})"', page.text)
    answer = owner.submit(
        page, f"/requests/{request_id}", answer="approve", minutes="15", note="be quick"
    )
    assert answer.headers["location"] == "/requests"
    assert "may use" in owner.get("/requests").text

    final = browser.walk(address_of(gateway, secret))[-1]
    assert final.status_code == 200
    assert "be quick" in browser.get("/requests").text
    clock.advance(minutes=15)
    assert browser.walk(address_of(gateway, secret))[-1].status_code == 403


def test_an_owner_ends_it_in_the_portal(
    browser: Browser, new_browser: NewBrowser, gateway: Gateway, secret: SocketRecord
) -> None:
    browser.submit(browser.get(denied(browser, secret)), "/ask", reason="x", minutes="60")
    owner = new_browser()
    owner.log_in(OWNER)
    for verb in ("approve", "revoke"):
        page = owner.get("/requests")
        (request_id,) = re.findall(r'action="/requests/([0-9a-f-]{36})"', page.text)
        owner.submit(page, f"/requests/{request_id}", answer=verb, note="")
        status = browser.walk(address_of(gateway, secret))[-1].status_code
        assert status == (200 if verb == "approve" else 403)


def test_the_form_is_on_the_gateways_host_alone(
    browser: Browser, new_browser: NewBrowser, gateway: Gateway, secret: SocketRecord
) -> None:
    browser.submit(browser.get(denied(browser, secret)), "/ask", reason="x", minutes="60")
    owner = new_browser()
    owner.log_in(OWNER)
    page = owner.get("/requests")
    (request_id,) = re.findall(r'action="/requests/([0-9a-f-]{36})"', page.text)
    owner.submit(page, f"/requests/{request_id}", answer="approve", note="")
    assert browser.walk(address_of(gateway, secret))[-1].status_code == 200
    owner.submit(owner.get("/requests"), f"/requests/{request_id}", answer="revoke", note="")

    on_the_socket = browser.get(address_of(gateway, secret))

    assert on_the_socket.status_code == 403
    assert "<form" not in on_the_socket.text
    link = re.search(r'id="ask" href="([^"]+)"', on_the_socket.text)
    assert link is not None
    assert link[1].startswith(f"{gateway.settings.base_url}/ask?")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/ask", {"reason": "x"}),
        ("/requests/any", {"answer": "approve"}),
        ("/requests/any/mine", {}),
        ("/guest", {"code": "x"}),
    ],
)
def test_a_form_from_elsewhere_is_refused(
    browser: Browser,
    new_browser: NewBrowser,
    secret: SocketRecord,
    path: str,
    fields: dict[str, str],
) -> None:
    form = browser.get(denied(browser, secret))
    token = re.search(r'name="csrf" value="([^"]*)"', form.text)
    assert token is not None
    right = fields | {"csrf": token[1], "host": secret.dns_name}
    tries = [(browser, right | {"csrf": ""}, "same-origin"), (browser, right, "same-site")]
    other = new_browser()
    other.log_in()
    tries.append((other, right, "same-origin"))
    if path != "/ask":
        tries.append((browser, right, "same-origin"))  # a token for another form
    for who, values, site in tries:
        answer = who.request("POST", path, data=values, headers={"sec-fetch-site": site})
        assert answer.status_code == 403
        assert "form-refused" in answer.text


def test_asking_twice_says_so_and_keeps_the_words(browser: Browser, secret: SocketRecord) -> None:
    link = denied(browser, secret)
    browser.submit(browser.get(link), "/ask", reason="first", minutes="60")
    again = browser.submit(browser.get(link), "/ask", reason="second", minutes="60")
    assert again.status_code == 409
    assert "asked already" in again.text
    assert 'value="second"' in again.text


def test_one_takes_ones_request_back(browser: Browser, secret: SocketRecord) -> None:
    browser.submit(browser.get(denied(browser, secret)), "/ask", reason="x", minutes="60")
    page = browser.get("/requests")
    (request_id,) = re.findall(r'action="/requests/([0-9a-f-]{36})/mine"', page.text)
    browser.submit(page, f"/requests/{request_id}/mine")
    assert ">cancelled<" in browser.get("/requests").text


def test_where_nobody_may_ask_no_page_offers_it(
    browser: Browser, gateway: Gateway, secret: SocketRecord
) -> None:
    link = denied(browser, secret)
    owner = owner_of(gateway, secret)
    rules = ApprovalRulesRecord(account_id=owner.account_id, asking=False)
    gateway.store.set_approval_rules(rules, person(gateway, owner), why="", now=gateway.clock())
    assert 'id="ask"' not in browser.walk(address_of(gateway, secret))[-1].text
    closed = browser.get(link)
    unknown = browser.get("/ask?host=no-such-name.edge.localhost&action=http")
    assert closed.status_code == unknown.status_code == 404
    assert closed.text == unknown.text


def test_names_are_not_to_be_guessed_at(
    browser: Browser, secret: SocketRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To see the form is as good an answer as any."""
    monkeypatch.setattr(asking, "TRIES", 3)
    link = denied(browser, secret)
    guesses = [browser.get(f"/ask?host=guess-{n}.edge.localhost").status_code for n in range(3)]
    assert guesses == [404, 404, 404]
    refused = browser.get(link)
    assert refused.status_code == 429
    assert refused.text == browser.get("/ask?host=guess-4.edge.localhost").text


def test_whoever_is_signed_out_signs_in_first(
    browser: Browser, gateway: Gateway, secret: SocketRecord
) -> None:
    page = browser.get(f"/ask?host={secret.dns_name}&action=http&decision=")
    answer = browser.submit(page, "/login/local", email=ALICE, password=PASSWORD)
    form = browser.get(answer.headers["location"])
    assert browser.submit(form, "/ask", reason="x", minutes="30").status_code == 200


@pytest.fixture
def link(gateway: Gateway, secret: SocketRecord) -> str:
    """A guest's link for Alice, for an hour."""
    owner = owner_of(gateway, secret)
    invitation = Invitation(
        socket_id=secret.socket_id,
        email=EmailAddress.parse(ALICE),
        ends_at=gateway.clock() + timedelta(hours=1),
    )
    return invite(gateway, owner, person(gateway, owner), invitation)[1]


def test_a_guest_signs_in_and_accepts_once(
    browser: Browser, gateway: Gateway, secret: SocketRecord, link: str, clock: FixedClock
) -> None:
    page = browser.get(link)
    assert secret.dns_name not in page.text
    answer = browser.submit(page, "/login/local", email=ALICE, password=PASSWORD)
    invitation = browser.get(answer.headers["location"])
    assert secret.dns_name in invitation.text
    assert browser.walk(address_of(gateway, secret))[-1].status_code == 403
    accepted = browser.submit(invitation, "/guest")
    assert "You may use" in accepted.text
    assert browser.walk(address_of(gateway, secret))[-1].status_code == 200
    assert "You may use" in browser.get(link).text
    clock.advance(hours=1)
    assert browser.walk(address_of(gateway, secret))[-1].status_code == 403
    assert browser.get(link).status_code == 404


def test_a_link_in_other_hands_is_worth_nothing(
    browser: Browser,
    gateway: Gateway,
    secret: SocketRecord,
    link: str,
    new_account: AccountMaker,
) -> None:
    new_account(BOB)
    browser.log_in(BOB)
    page = browser.get(link)
    assert page.status_code == 403
    assert secret.dns_name not in page.text
    assert ALICE not in page.text
    form = browser.get(f"/ask?host={secret.dns_name}")  # any form of ours, for the cookie
    assert form.status_code == 200
    assert gateway.store.guests_admitted_on([secret.socket_id], gateway.clock()) == ()


def test_an_unverified_address_claims_nothing(
    browser: Browser, gateway: Gateway, new_socket: SocketMaker, new_account: AccountMaker
) -> None:
    socket = new_socket()
    new_account(BOB, verified=False)
    owner = owner_of(gateway, socket)
    invitation = Invitation(
        socket_id=socket.socket_id,
        email=EmailAddress.parse(BOB),
        ends_at=gateway.clock() + timedelta(hours=1),
    )
    address = invite(gateway, owner, person(gateway, owner), invitation)[1]
    browser.log_in(BOB)
    assert browser.get(address).status_code == 403
    assert gateway.store.guests_admitted_on([socket.socket_id], gateway.clock()) == ()


@pytest.mark.parametrize("code", ["", "x", "A" * 43, "%C3%A9", "../../login"])
def test_a_made_up_link_leads_nowhere(browser: Browser, code: str) -> None:
    assert browser.get(f"/guest?code={code}").status_code == 404
