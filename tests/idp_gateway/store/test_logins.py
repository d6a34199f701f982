"""Sessions and what is used once, on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest

from idp_gateway.errors import NotFound
from idp_gateway.records import (
    DeviceCodeRecord,
    DeviceState,
    LoginAttemptRecord,
    LoginSessionRecord,
    OneTimeCodeRecord,
)
from idp_gateway.store import Store
from tests.support.rows import NOW, login_session, race

SOON = NOW + timedelta(minutes=1)
LATER = NOW + timedelta(minutes=2)


def code(code_hash: str = "hash") -> OneTimeCodeRecord:
    return OneTimeCodeRecord(
        code_hash=code_hash,
        purpose="socket-login",
        payload={"sid": "x", "n": 1},
        created_at=NOW,
        expires_at=SOON,
    )


def attempt() -> LoginAttemptRecord:
    return LoginAttemptRecord(
        attempt_id="attempt",
        provider="idp",
        nonce="nonce",
        code_verifier="verifier",
        return_to={"dns_name": "a.edge.test", "path": "/x"},
        created_at=NOW,
        expires_at=SOON,
    )


def device_code() -> DeviceCodeRecord:
    return DeviceCodeRecord(
        device_code_hash="device",
        user_code="BCDF-GHJK",
        payload={"client": "mysocketctl"},
        created_at=NOW,
        expires_at=LATER,
    )


def test_a_login_session_ends_once_and_for_good(store: Store) -> None:
    session = login_session(email=None)
    store.add_login_session(session)
    assert store.find_login_session(session.session_id) == session
    assert session.stands(NOW)
    assert not session.stands(session.expires_at)
    store.revoke_login_session(session.session_id, SOON)
    store.revoke_login_session(session.session_id, LATER)
    found = store.find_login_session(session.session_id)
    assert found is not None
    assert found.revoked_at == SOON
    assert not found.stands(NOW)
    store.revoke_login_session("no-such", NOW)
    assert store.find_login_session("no-such") is None


def _renewal(of: LoginSessionRecord, name: str) -> LoginSessionRecord:
    return replace(of, session_id=f"{of.session_id}-{name}", renews=of.first_id)


@pytest.mark.parametrize("ended", ["first", "second", "third"])
def test_a_login_ends_with_all_its_renewals_whichever_is_ended(store: Store, ended: str) -> None:
    first, other = login_session(), login_session()
    second = _renewal(first, "second")
    third = _renewal(second, "third")
    store.add_login_session(first)
    store.add_login_session(other)
    assert store.renew_login_session(second, renewed_id=first.session_id)
    assert store.renew_login_session(third, renewed_id=second.session_id)
    chosen = {"first": first, "second": second, "third": third}[ended]
    store.revoke_login_session(chosen.session_id, SOON)
    for session in (first, second, third):
        found = store.find_login_session(session.session_id)
        assert found is not None
        assert found.revoked_at == SOON
    assert store.find_login_session(other.session_id) == other
    late = _renewal(first, "late")
    assert not store.renew_login_session(late, renewed_id=third.session_id)
    assert store.find_login_session(late.session_id) is None


def test_no_renewal_slips_past_the_end_of_its_login(store: Store) -> None:
    first = login_session()
    store.add_login_session(first)
    renewals = [_renewal(first, f"r{number}") for number in range(12)]
    race(
        [
            *[
                lambda r=r: store.renew_login_session(r, renewed_id=first.session_id)
                for r in renewals
            ],
            lambda: store.revoke_login_session(first.session_id, SOON),
        ]
    )
    found = [store.find_login_session(renewal.session_id) for renewal in renewals]
    assert all(one is None or one.revoked_at == SOON for one in found)


def test_a_code_is_worth_something_once(store: Store) -> None:
    store.add_one_time_code(code())
    assert store.consume_one_time_code("other", "socket-login", NOW) is None
    assert store.consume_one_time_code("hash", "device-login", NOW) is None
    assert store.consume_one_time_code("hash", "socket-login", NOW) == {"sid": "x", "n": 1}
    assert store.consume_one_time_code("hash", "socket-login", NOW) is None


def test_a_code_is_worth_nothing_when_its_time_is_over(store: Store) -> None:
    store.add_one_time_code(code())
    assert store.consume_one_time_code("hash", "socket-login", SOON) is None


def test_of_racing_uses_of_a_code_one_wins(store: Store) -> None:
    for round_number in range(5):
        code_hash = f"hash-{round_number}"
        store.add_one_time_code(code(code_hash))
        results = race(
            [lambda h=code_hash: store.consume_one_time_code(h, "socket-login", NOW)] * 6
        )
        assert sum(one is not None for one in results) == 1


def test_an_attempt_is_used_once_and_in_time(store: Store) -> None:
    store.add_login_attempt(attempt())
    assert store.consume_login_attempt("attempt", SOON) is None
    results = race([lambda: store.consume_login_attempt("attempt", NOW)] * 4)
    won = [one for one in results if one is not None]
    assert len(won) == 1
    assert won[0].return_to == {"dns_name": "a.edge.test", "path": "/x"}
    assert won[0].code_verifier == "verifier"


def test_a_device_code_waits_is_decided_once_and_answers_once(store: Store) -> None:
    session = login_session()
    store.add_login_session(session)
    store.add_device_code(device_code())
    first = store.poll_device_code("device", NOW)
    assert first is not None
    assert (first.state, first.last_polled_at) == (DeviceState.PENDING, None)
    second = store.poll_device_code("device", SOON)
    assert second is not None
    assert second.last_polled_at == NOW
    store.decide_device_code("BCDF-GHJK", approve=True, session_id=session.session_id, now=SOON)
    with pytest.raises(NotFound):
        store.decide_device_code("BCDF-GHJK", approve=False, session_id=None, now=SOON)
    answers = [one for one in race([lambda: store.poll_device_code("device", SOON)] * 4) if one]
    assert len(answers) == 1
    assert answers[0].state is DeviceState.APPROVED
    assert answers[0].session_id == session.session_id


def test_an_old_device_code_is_unknown(store: Store) -> None:
    store.add_device_code(device_code())
    assert store.find_device_code_by_user_code("BCDF-GHJK", SOON) is not None
    assert store.find_device_code_by_user_code("BCDF-GHJK", LATER) is None
    assert store.poll_device_code("device", LATER) is None
    with pytest.raises(NotFound):
        store.decide_device_code("BCDF-GHJK", approve=True, session_id=None, now=LATER)


def test_failures_count_by_key_and_time(store: Store) -> None:
    for minutes in range(4):
        store.record_failure("a", NOW + timedelta(minutes=minutes))
    store.record_failure("b", NOW)
    assert store.failures_since("a", NOW) == 3
    assert store.failures_since("a", NOW - timedelta(seconds=1)) == 4
    store.forget_failures("a")
    assert store.failures_since("a", NOW - timedelta(seconds=1)) == 0
    assert store.failures_since("b", NOW - timedelta(seconds=1)) == 1


def test_cleaning_up_takes_what_is_over_and_nothing_else(store: Store) -> None:
    old = login_session(expires_at=SOON)
    new = login_session()
    for session in (old, new):
        store.add_login_session(session)
    store.add_one_time_code(code())
    store.add_login_attempt(attempt())
    store.add_device_code(device_code())
    store.record_failure("a", NOW - timedelta(days=2))
    store.delete_expired(LATER)
    assert store.find_login_session(old.session_id) is None
    assert store.find_login_session(new.session_id) == new
    assert store.consume_one_time_code("hash", "socket-login", NOW) is None
    assert store.find_device_code_by_user_code("BCDF-GHJK", NOW) is not None
    assert store.failures_since("a", NOW - timedelta(days=3)) == 0
