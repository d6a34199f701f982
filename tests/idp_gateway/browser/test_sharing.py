"""What owners do in the portal: invite and withdraw guests, and say who approves requests."""

import re
from collections.abc import Callable
from html import unescape

import pytest

from idp_gateway import publishing
from idp_gateway.composition import Gateway
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.request_records import ApprovalRulesRecord
from idp_gateway.routes import sharing_pages
from idp_gateway.schemas.sockets import NewSocketForm
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
OWNER = "owner@lab.test"


@pytest.fixture
def secret(new_socket: SocketMaker, alice: AccountRecord) -> SocketRecord:
    """A socket that lets nobody in; Alice has an account."""
    return new_socket(name="<b>wiki</b>")


@pytest.fixture
def owner(new_browser: NewBrowser, secret: SocketRecord) -> Browser:
    browser = new_browser()
    browser.log_in(OWNER)
    return browser


def place(socket: SocketRecord, *more: str) -> str:
    return "/".join((f"/sharing/{socket.socket_id}", *more))


def rule_of(gateway: Gateway, socket: SocketRecord) -> ApprovalRulesRecord:
    return gateway.store.approval_rules(socket.account_id, socket.socket_id)


def publish(gateway: Gateway, account: AccountRecord) -> SocketRecord:
    fields = {"name": "s", "socket_type": "http", "cloud_authentication_enabled": True}
    return publishing.create_socket(gateway, account, NewSocketForm.model_validate(fields))


def test_the_way_there_names_ones_own_sockets(owner: Browser, secret: SocketRecord) -> None:
    assert 'href="/sharing"' in owner.get("/requests").text
    page = owner.get("/sharing")
    assert f'href="{place(secret)}"' in page.text
    assert "&lt;b&gt;wiki" in page.text
    assert "<b>" not in page.text + owner.get(place(secret)).text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy


def test_a_guest_is_invited_comes_and_is_sent_away(
    owner: Browser, browser: Browser, gateway: Gateway, secret: SocketRecord
) -> None:
    form = owner.get(place(secret))
    made = owner.submit(
        form, place(secret, "guests"), email=ALICE, minutes="60", note="<i>auditor</i>"
    )
    found = re.search(r'<code id="link">([^<]+)</code>', made.text)
    assert found is not None, made.text
    assert "&lt;i&gt;auditor" in made.text
    browser.log_in()
    assert browser.walk(address_of(gateway, secret))[-1].status_code == 403
    browser.submit(browser.get(unescape(found[1])), "/guest")
    assert browser.walk(address_of(gateway, secret))[-1].status_code == 200

    again = owner.get(place(secret))
    assert "/guest?code=" not in again.text
    assert ">claimed<" in again.text
    (guest_id,) = re.findall(r'/guests/([0-9a-f-]{36})"', again.text)
    answer = owner.submit(again, place(secret, "guests", guest_id))
    assert (answer.status_code, answer.headers["location"]) == (303, place(secret))
    assert ">revoked<" in owner.get(place(secret)).text
    assert browser.walk(address_of(gateway, secret))[-1].status_code == 403


def test_who_may_still_come_is_never_left_out(
    owner: Browser, secret: SocketRecord, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing_pages, "SHOWN", 1)
    for email, minutes in (("long@lab.test", "240"), ("short@lab.test", "15")):
        owner.submit(
            owner.get(place(secret)), place(secret, "guests"), email=email, minutes=minutes
        )
    clock.advance(minutes=30)
    page = owner.get(place(secret)).text
    assert "long@lab.test" in page
    assert "short@lab.test" not in page


@pytest.mark.parametrize(
    ("email", "minutes", "status"),
    [("no address", "60", 400), (ALICE, "0", 400), (ALICE, "500000", 400), (ALICE, "400000", 400)],
)
def test_an_invitation_that_cannot_be_is_refused(
    owner: Browser, gateway: Gateway, secret: SocketRecord, email: str, minutes: str, status: int
) -> None:
    form = owner.get(place(secret))
    reply = owner.submit(form, place(secret, "guests"), email=email, minutes=minutes)
    assert reply.status_code == status
    assert "text/html" in reply.headers["content-type"]
    assert gateway.store.guests_of(secret.account_id, secret.socket_id, limit=9) == ()


def test_the_rule_is_set_and_shown(owner: Browser, gateway: Gateway, secret: SocketRecord) -> None:
    def submit(**fields: str) -> int:
        form = owner.get(place(secret))
        sent = {"people": "1", "asking": "yes", "approvers": "", "why": ""} | fields
        return owner.submit(form, place(secret, "rule"), **sent).status_code

    assert "one person approves: you;" in owner.get(place(secret)).text
    assert submit(people="2", approvers="Bea@lab.test, cat@lab.test", why="SOC 2") == 303
    kept = rule_of(gateway, secret)
    assert (kept.two_person, kept.asking) == (True, True)
    assert set(kept.approvers) == {"bea@lab.test", "cat@lab.test"}
    page = owner.get(place(secret)).text
    assert "two people approve: you and bea@lab.test, cat@lab.test; people may ask" in page
    assert '<option value="2" selected>' in page
    (event,) = gateway.store.access_events_page(secret.account_id, offset=0, limit=9)
    assert "SOC 2" in event.words
    for wrong in (
        {"people": "2"},
        {"approvers": "nobody"},
        {"people": "3"},
        {"asking": ""},
        {"approvers": ",".join(f"a{number}@lab.test" for number in range(51))},
    ):
        assert submit(**wrong) == 400
    assert rule_of(gateway, secret) == kept
    assert submit(asking="no") == 303
    assert not rule_of(gateway, secret).asking


def test_it_is_the_owners_alone(
    owner: Browser,
    new_browser: NewBrowser,
    gateway: Gateway,
    secret: SocketRecord,
    new_account: AccountMaker,
) -> None:
    """Not even an approver's: they answer, and nothing else of the socket is theirs to see."""
    bobs_account = new_account(BOB)
    owner.submit(
        owner.get(place(secret)), place(secret, "rule"), people="2", asking="yes", approvers=BOB
    )
    owner.submit(owner.get(place(secret)), place(secret, "guests"), email=ALICE)
    (guest,) = gateway.store.guests_of(secret.account_id, secret.socket_id, limit=9)
    nobody, bob = new_browser(), new_browser()
    assert nobody.get(place(secret)).status_code == 200
    assert secret.dns_name not in nobody.get(place(secret)).text
    bob.log_in(BOB)
    assert secret.dns_name not in bob.get("/sharing").text
    assert bob.get(place(secret)).text == bob.get("/sharing/no-such-socket").text
    own = re.search(r'name="csrf" value="([^"]*)"', owner.get(place(secret)).text)
    assert own is not None
    sent = {"csrf": own[1], "people": "1", "asking": "no", "email": BOB}
    paths = place(secret, "rule"), place(secret, "guests"), place(secret, "guests", guest.guest_id)
    for path in paths:
        for who, values, site in (
            (bob, sent, "same-origin"),
            (owner, sent, "cross-site"),
            (owner, sent | {"csrf": ""}, "same-origin"),
        ):
            headers = {"sec-fetch-site": site}
            assert who.request("POST", path, data=values, headers=headers).status_code == 403
    # With a form of his own socket, too: whose it is counts, not where the form came from.
    mine = publish(gateway, bobs_account)
    token = re.search(r'name="csrf" value="([^"]*)"', bob.get(place(mine)).text)
    assert token is not None
    for path in paths:
        values = sent | {"csrf": token[1]}
        reply = bob.request("POST", path, data=values, headers={"sec-fetch-site": "same-origin"})
        assert reply.status_code == 404
    assert gateway.store.guests_of(secret.account_id, secret.socket_id, limit=9) == (guest,)
    assert rule_of(gateway, secret).two_person
