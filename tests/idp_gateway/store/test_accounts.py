"""Accounts and identities, on both databases."""

from datetime import timedelta

import pytest

from idp_gateway.errors import EmailTaken, NotFound
from idp_gateway.records import AccountRecord, ChangeKind
from idp_gateway.store import Store
from tests.support.rows import NOW, account, login_session, race


def test_an_account_comes_back_as_it_was_kept(store: Store) -> None:
    kept = account(email_verified=False, ssh_key="ssh-ed25519 AAAA", name="Ünï ✓")
    store.add_account(kept)
    assert store.find_account(kept.account_id) == kept
    assert store.find_account_by_email(kept.email) == kept
    assert store.find_account("no-such") is None
    assert store.find_account_by_email("no-such@corp.test") is None
    assert store.accounts() == (kept,)
    assert "argon2" not in repr(kept)
    assert len(kept.user_name) == 32


def test_an_address_has_one_account_also_in_a_race(store: Store) -> None:
    wanted = [account(email="same@corp.test") for _ in range(4)]
    results = race([lambda a=one: store.add_account(a) for one in wanted])
    assert sum(one is None for one in results) == 1
    assert sum(isinstance(one, EmailTaken) for one in results) == 3
    assert len(store.accounts()) == 1


def test_a_vouched_account_is_nobody_elses_any_more(store: Store) -> None:
    kept = account(email_verified=False, ssh_key="ssh-ed25519 squatter")
    store.add_account(kept)
    theirs = login_session(subject=kept.account_id)
    others = login_session(subject="somebody-else")
    for one in (theirs, others):
        store.add_login_session(one)
    before, later = store.revision(), NOW + timedelta(days=1)
    changed = store.hand_over_account(
        kept.account_id, password_hash="new", name="Owner", issuer=theirs.issuer, now=later
    )
    assert (changed.email_verified, changed.verified_at) == (True, later)
    assert (changed.password_hash, changed.ssh_key, changed.name) == ("new", "", "Owner")
    assert changed.generation == kept.generation + 1
    assert store.find_account(kept.account_id) == changed
    assert store.revision() > before
    for one, stands in ((theirs, False), (others, True)):
        found = store.find_login_session(one.session_id)
        assert found is not None
        assert found.stands(NOW) is stands


def test_accounts_that_are_not_there_cannot_change(store: Store) -> None:
    kept = account()
    store.add_account(kept)
    assert store.set_account_password(kept.account_id, "new").password_hash == "new"
    for call in (
        lambda: store.hand_over_account(
            "no-such", password_hash="x", name=None, issuer="x", now=NOW
        ),
        lambda: store.set_account_ssh_key("no-such", "", NOW),
    ):
        with pytest.raises(NotFound):
            call()


def test_edges_learn_of_a_new_key(store: Store) -> None:
    kept: AccountRecord = account()
    store.add_account(kept)
    before = store.revision()
    store.set_account_ssh_key(kept.account_id, "ssh-ed25519 BBBB", NOW)
    (change,) = store.changes_since(before)
    assert (change.kind, change.entity_id) == (ChangeKind.TUNNEL_USER, kept.account_id)


def test_an_identity_keeps_its_first_day_and_its_account(store: Store) -> None:
    kept = account()
    store.add_account(kept)
    later = NOW + timedelta(days=1)
    key = {"issuer": "https://idp.test", "subject": "7"}
    first = store.upsert_identity(
        **key, email="a@b.test", name="A", account_id=kept.account_id, now=NOW
    )
    second = store.upsert_identity(**key, email="new@b.test", name="B", now=later)
    assert (second.first_seen, second.last_seen) == (NOW, later)
    assert second.account_id == first.account_id == kept.account_id
    assert store.find_identity("https://idp.test", "7") == second
    assert store.find_identity("https://other.test", "7") is None
    assert store.identities_with_email("new@b.test") == (second,)
    assert store.identities_with_email("a@b.test") == ()
