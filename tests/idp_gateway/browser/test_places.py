"""Policies about places, held at the gate: a session is good from where it was decided on."""

import json
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest

from idp_gateway.composition import Gateway
from idp_gateway.cookies import SESSION
from idp_gateway.policy_records import PolicyRecord
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.settings import Settings
from idp_gateway.store.policies import Author
from tests.idp_gateway.browser.conftest import ALICE, Browser, address_of, enter
from tests.idp_gateway.conftest import BEGINNING
from tests.support.range_files import countries
from tests.support.ready_database import place_state


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    known = countries(tmp_path / "c.mmdb", NL="203.0.113.0/24", DE="198.51.100.0/24")
    place_state(tmp_path / "state", BEGINNING)
    return Settings(state_dir=tmp_path / "state", geo_country_file=known)


def put_policy(gateway: Gateway, socket: SocketRecord, **parts: Any) -> None:
    at = gateway.clock()
    policy = PolicyRecord(
        policy_id="p",
        account_id=socket.account_id,
        name="p",
        description="",
        document=json.dumps({"version": "v2"} | parts),
        org_wide=True,
        created_at=at,
        updated_at=at,
    )
    gateway.store.add_policy(policy, Author(email="owner@lab.test", at=at))


def held_to(browser: Browser, socket: SocketRecord) -> str | None:
    """The address the session in the browser is good from."""
    payload = browser.jars[socket.dns_name][SESSION].split(".")[1]
    found: str | None = json.loads(urlsafe_b64decode(payload + "==")).get("addr")
    return found


def test_a_session_is_held_to_its_address_where_countries_count(
    gateway: Gateway, browser: Browser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    put_policy(gateway, wiki, deny=[{"where": {"country": ["DE"]}}])
    enter(browser, wiki)
    assert held_to(browser, wiki) == "203.0.113.7:"
    browser.address = "203.0.113.8"
    assert browser.get(address_of(gateway, wiki)).status_code == 200
    assert held_to(browser, wiki) == "203.0.113.8:"
    browser.address = "198.51.100.7"
    assert browser.get(address_of(gateway, wiki)).status_code == 403


def test_a_session_is_good_anywhere_where_no_place_counts(
    gateway: Gateway, browser: Browser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    put_policy(gateway, wiki, deny=[{"who": {"email": ["bob@lab.test"]}}])
    enter(browser, wiki)
    assert held_to(browser, wiki) is None


def test_whom_a_deny_rule_names_is_told_to_no_page_and_no_script(
    gateway: Gateway, browser: Browser, alice: AccountRecord, wiki: SocketRecord
) -> None:
    enter(browser, wiki)
    put_policy(gateway, wiki, deny=[{"name": "the leaver", "who": {"email": [ALICE]}}])
    page = browser.get(address_of(gateway, wiki))
    script = browser.request("GET", address_of(gateway, wiki))
    assert (page.status_code, script.status_code) == (403, 403)
    assert script.json()["reason"] == "not-on-list"
    assert "denied-by-rule" not in page.text + script.text
