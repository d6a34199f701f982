"""Accounts and logins: who gets in, what guessing costs, how a token is renewed."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

import httpx
import pytest

from idp_gateway import accounts
from idp_gateway.app import create_app
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.errors import LoginFailed, TooManyAttempts
from idp_gateway.settings import Settings
from tests.idp_gateway.api.conftest import Person
from tests.idp_gateway.conftest import FixedClock
from tests.support.in_process import client_of
from tests.support.rows import vouch

FORM = {
    "name": "Vera",
    "email": "Vera@LAB.test",
    "password": "a password of hers",
    "sshkey": "",
}
LOGIN = {"email": "vera@lab.test", "password": FORM["password"]}


@pytest.fixture
def vera(api: httpx.Client) -> dict[str, Any]:
    reply = api.post("/user", json=FORM)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def test_an_account_is_made_and_logs_in(
    api: httpx.Client, gateway: Gateway, vera: dict[str, Any]
) -> None:
    assert vera["email"] == "vera@lab.test"
    assert vera["user_name"] == vera["user_id"].replace("-", "")
    assert vera["email_verified"] is False
    token = api.post("/login", json=LOGIN).json()["token"]
    shown = api.get(f"/user/{vera['user_id']}", headers={"x-access-token": token})
    assert shown.json() == vera
    stored = gateway.store.find_account(vera["user_id"])
    assert stored is not None
    assert stored.password_hash.startswith("$argon2id$")


def test_an_address_nobody_vouched_for_counts_in_no_policy(
    api: httpx.Client, gateway: Gateway, clock: FixedClock, vera: dict[str, Any]
) -> None:
    def session_email() -> str | None:
        token = api.post("/login", json=LOGIN).json()["token"]
        session_id = gateway.tokens.verify_api_token(token).session_id
        session = gateway.store.find_login_session(session_id)
        assert session is not None
        return session.email

    assert session_email() is None
    vouch(gateway.store, vera["user_id"], clock())
    assert session_email() == "vera@lab.test"


def test_a_key_is_kept_in_its_canonical_form(api: httpx.Client, ssh_key: str) -> None:
    reply = api.post("/user", json=FORM | {"sshkey": f"{ssh_key} me@laptop\n"})
    assert reply.json()["sshkey"] == ssh_key


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"email": "vera"}, "email"),
        ({"email": "a@b@lab.test"}, "email"),
        ({"email": "v\u0131ra@lab.test"}, "email"),
        ({"email": "x" * 65 + "@lab.test"}, "email"),
        ({"password": "7 chars"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"password": None}, "password"),
        ({"sshkey": "ssh-ed25519 AAAA"}, "sshkey"),
        ({"sshkey": 'command="x" ssh-ed25519 AAAA'}, "sshkey"),
        ({"sshkey": "x" * 17_000}, "sshkey"),
    ],
)
def test_a_field_that_does_not_fit_is_named_and_nothing_is_kept(
    api: httpx.Client, gateway: Gateway, said: dict[str, Any], field: str
) -> None:
    reply = api.post("/user", json=FORM | said)
    assert (reply.status_code, reply.json()["field"]) == (400, field), reply.text
    assert str(said[field]) == "" or str(said[field])[:50] not in reply.text or field == "email"
    assert gateway.store.accounts() == ()


def test_an_address_has_one_account(api: httpx.Client, vera: dict[str, Any]) -> None:
    reply = api.post("/user", json=FORM | {"email": "VERA@lab.TEST"})
    assert (reply.status_code, reply.json()["reason"]) == (409, "email-taken")


def test_a_gateway_may_open_no_accounts(settings: Settings, clock: FixedClock) -> None:
    gateway = build_gateway(settings.model_copy(update={"signup_open": False}), clock=clock)
    with client_of(create_app(gateway), gateway.settings.base_url) as api:
        reply = api.post("/user", json=FORM)
    assert (reply.status_code, reply.json()["reason"]) == (403, "signup-closed")
    gateway.close()


@pytest.mark.parametrize(
    "said",
    [{"password": "another password"}, {"email": "nobody@lab.test"}, {"password": "x" * 1024}],
)
def test_wrong_address_and_wrong_password_get_the_same_answer(
    api: httpx.Client, vera: dict[str, Any], said: dict[str, str]
) -> None:
    reply = api.post("/login", json=LOGIN | said)
    assert reply.status_code == 401
    assert reply.json()["reason"] == "login-failed"
    assert reply.json()["detail"] == "e-mail address and password do not belong together"


def test_an_unknown_account_costs_the_same_work(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in CPU time of this thread, which other processes do not disturb much."""
    known = accounts.hash_password("right password")

    def cost(password_hash: str | None) -> float:
        start = time.thread_time()
        assert not accounts.check_password("wrong password", password_hash)
        return time.thread_time() - start

    with_account = min(cost(known) for _ in range(3))
    without = min(cost(None) for _ in range(3))
    assert 0.4 < with_account / without < 2.5


def test_an_account_without_a_password_has_no_right_one(api: httpx.Client, owner: Person) -> None:
    login = {"email": owner.account.email, "password": " "}
    assert api.post("/login", json=login).status_code == 401


def test_a_login_under_way_does_not_survive_the_accounts_handing_over(
    gateway: Gateway,
    clock: FixedClock,
    api: httpx.Client,
    vera: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Comparing a password takes long enough for the operator to come first."""
    compare = accounts.check_password

    def handed_over_meanwhile(password: str, password_hash: str | None) -> bool:
        found = compare(password, password_hash)
        gateway.store.hand_over_account(
            vera["user_id"],
            password_hash=accounts.hash_password("the owner's"),
            name=None,
            issuer=gateway.settings.base_url,
            now=clock(),
        )
        return found

    monkeypatch.setattr(accounts, "check_password", handed_over_meanwhile)
    before = gateway.store.revision()
    answer = api.post("/login", json=LOGIN)
    assert gateway.store.revision() > before
    assert (answer.status_code, answer.json()["reason"]) == (401, "login-failed")


def test_guessing_at_an_account_is_stopped_for_a_while(
    api: httpx.Client, clock: FixedClock, vera: dict[str, Any]
) -> None:
    wrong = LOGIN | {"password": "guess number n"}
    for _ in range(accounts.MAX_FAILURES_PER_ACCOUNT):
        assert api.post("/login", json=wrong).status_code == 401
    stopped = api.post("/login", json=LOGIN)
    assert (stopped.status_code, stopped.json()["reason"]) == (429, "too-many-attempts")
    assert stopped.headers["retry-after"] == "900"
    clock.advance(minutes=15, seconds=1)
    assert api.post("/login", json=LOGIN).status_code == 200


def test_a_guesser_locks_nobody_out_who_comes_from_elsewhere(
    gateway: Gateway, clock: FixedClock, api: httpx.Client, vera: dict[str, Any]
) -> None:
    wrong = LOGIN | {"password": "guess number n"}
    for _ in range(accounts.MAX_FAILURES_PER_ACCOUNT):
        assert api.post("/login", json=wrong).status_code == 401
    assert api.post("/login", json=LOGIN).status_code == 429
    elsewhere = {"x-mysocket-edge-key": gateway.edge_key.decode(), "x-forwarded-for": "192.0.2.9"}
    assert api.post("/login", json=LOGIN, headers=elsewhere).status_code == 200


def test_guessing_from_very_many_addresses_is_stopped_too(
    gateway: Gateway, clock: FixedClock, api: httpx.Client, vera: dict[str, Any]
) -> None:
    for _ in range(accounts.MAX_FAILURES_EVERYWHERE):
        gateway.store.record_failure("login-account:vera@lab.test", clock())
    assert api.post("/login", json=LOGIN).status_code == 429


def test_guesses_made_side_by_side_are_counted_one_by_one(
    gateway: Gateway, clock: FixedClock, vera: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them arrive before the first password was compared."""
    guessers = 16
    together = threading.Barrier(guessers, timeout=20)
    compared = []
    failures_since = type(gateway.store).failures_since

    def counting_together(store: Any, key: str, since: datetime) -> int:
        found = failures_since(store, key, since)
        if key.startswith("login-address:"):
            together.wait()
        return found

    monkeypatch.setattr(type(gateway.store), "failures_since", counting_together)
    monkeypatch.setattr(accounts, "check_password", lambda *_: compared.append(1))

    def guess(_number: int) -> type[Exception]:
        with pytest.raises((LoginFailed, TooManyAttempts)) as caught:
            accounts.authenticate(
                gateway.store,
                email="vera@lab.test",
                password="guess",
                source_ip=ip_address("192.0.2.1"),
                now=clock(),
            )
        return caught.type

    with ThreadPoolExecutor(guessers) as pool:
        outcomes = list(pool.map(guess, range(guessers)))
    assert len(compared) <= accounts.MAX_FAILURES_PER_ACCOUNT
    assert TooManyAttempts in outcomes


def test_a_login_that_succeeds_clears_the_account(api: httpx.Client, vera: dict[str, Any]) -> None:
    wrong = LOGIN | {"password": "guess number n"}
    for _ in range(2):
        for _ in range(accounts.MAX_FAILURES_PER_ACCOUNT - 1):
            assert api.post("/login", json=wrong).status_code == 401
        assert api.post("/login", json=LOGIN).status_code == 200


def test_guessing_from_an_address_is_stopped_whatever_the_account(
    gateway: Gateway, clock: FixedClock, api: httpx.Client, vera: dict[str, Any]
) -> None:
    for _ in range(accounts.MAX_FAILURES_PER_ADDRESS):
        gateway.store.record_failure("login-address:127.0.0.1", clock())
    assert api.post("/login", json=LOGIN).status_code == 429
    elsewhere = {"x-mysocket-edge-key": gateway.edge_key.decode(), "x-forwarded-for": "192.0.2.9"}
    assert api.post("/login", json=LOGIN, headers=elsewhere).status_code == 200


def test_a_client_cannot_choose_the_address_it_is_counted_under(
    gateway: Gateway, clock: FixedClock, api: httpx.Client, vera: dict[str, Any]
) -> None:
    for _ in range(accounts.MAX_FAILURES_PER_ADDRESS):
        gateway.store.record_failure("login-address:127.0.0.1", clock())
    for headers in ({"x-forwarded-for": "192.0.2.9"}, {"x-real-ip": "192.0.2.9"}):
        assert api.post("/login", json=LOGIN, headers=headers).status_code == 429


def test_opening_accounts_from_one_address_is_limited(
    gateway: Gateway, clock: FixedClock, api: httpx.Client
) -> None:
    for _ in range(accounts.MAX_SIGNUPS_PER_ADDRESS):
        gateway.store.record_failure("signup-address:127.0.0.1", clock())
    assert api.post("/user", json=FORM).status_code == 429
    assert gateway.store.accounts() == ()


def test_a_token_is_renewed_while_it_is_good_and_the_login_not_too_old(
    owner: Person, api: httpx.Client, clock: FixedClock
) -> None:
    token = owner.token
    for _ in range(60):
        clock.advance(hours=11)
        reply = api.post("/login/refresh", json={}, headers={"x-access-token": token})
        assert reply.status_code == 200, reply.text
        assert reply.json()["token"] != token
        token = reply.json()["token"]
    for _ in range(6):
        clock.advance(hours=11)
        reply = api.post("/login/refresh", json={}, headers={"x-access-token": token})
        if reply.status_code != 200:
            break
        token = reply.json()["token"]
    assert (reply.status_code, reply.json()["reason"]) == (401, "token-expired")


def test_ending_the_login_ends_its_renewed_tokens(
    owner: Person, gateway: Gateway, clock: FixedClock
) -> None:
    token = owner.token
    for _ in range(2):
        clock.advance(hours=8)
        reply = owner.call("POST", "/login/refresh", headers={"x-access-token": token})
        token = reply.json()["token"]
    assert owner.call("GET", "/socket", headers={"x-access-token": token}).status_code == 200
    gateway.store.delete_expired(clock())
    second = gateway.tokens.verify_api_token(token).session_id
    gateway.store.revoke_login_session(second, clock())
    for method, path in (("GET", "/socket"), ("POST", "/login/refresh")):
        reply = owner.call(method, path, headers={"x-access-token": token})
        assert (reply.status_code, reply.json()["reason"]) == (401, "login-ended")


def test_logging_out_where_a_program_was_let_in_ends_the_program_too(
    owner: Person, gateway: Gateway, clock: FixedClock
) -> None:
    token = owner.call("POST", "/login/refresh").json()["token"]
    gateway.store.revoke_login_session(owner.session.session_id, clock())
    reply = owner.call("GET", "/socket", headers={"x-access-token": token})
    assert (reply.status_code, reply.json()["reason"]) == (401, "login-ended")


def test_a_token_lives_no_longer_than_the_settings_say(settings: Settings) -> None:
    told = {"login_session_hours": 2, "login_renewal_days": 0.125}
    clock = FixedClock()
    gateway = build_gateway(Settings(state_dir=settings.state_dir, **told), clock=clock)
    with client_of(create_app(gateway), gateway.settings.base_url) as api:
        api.post("/user", json=FORM)
        token = api.post("/login", json=LOGIN).json()["token"]
        end = clock() + timedelta(hours=2)
        assert gateway.tokens.verify_api_token(token).expires_at == end
        clock.advance(hours=1, minutes=30)
        headers = {"x-access-token": token}
        token = api.post("/login/refresh", headers=headers).json()["token"]
        # Three hours after the login, although the renewal alone would last for two.
        end = clock() + timedelta(hours=1, minutes=30)
        assert gateway.tokens.verify_api_token(token).expires_at == end
    gateway.close()
    never = Settings(state_dir=settings.state_dir, login_renewal_days=0)
    gateway = build_gateway(never, clock=clock)
    with client_of(create_app(gateway), gateway.settings.base_url) as api:
        reply = api.post("/login/refresh", headers={"x-access-token": token})
        assert (reply.status_code, reply.json()["reason"]) == (401, "login-ended")
    gateway.close()


def test_nobody_but_oneself_is_shown(owner: Person, stranger: Person, api: httpx.Client) -> None:
    assert owner.call("GET", f"/user/{owner.account.account_id}").status_code == 200
    for user_id in (stranger.account.account_id, owner.account.account_id.upper() + "x", "%01"):
        assert owner.call("GET", f"/user/{user_id}").status_code == 404
