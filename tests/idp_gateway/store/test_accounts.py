"""Accounts and identities, on both databases."""

from datetime import timedelta

import pytest

from idp_gateway.errors import EmailTaken, NotFound
from idp_gateway.records import AccountRecord, ChangeKind
from idp_gateway.store import Store
from tests.support.rows import NOW, account, race


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


def test_vouching_changes_two_fields_and_no_other(store: Store) -> None:
    kept = account(email_verified=False)
    store.add_account(kept)
    later = NOW + timedelta(days=1)
    changed = store.set_account_verified(kept.account_id, later)
    assert changed.email_verified
    assert changed.verified_at == later
    assert store.find_account(kept.account_id) == changed
    assert store.set_account_password(kept.account_id, "new").password_hash == "new"
    for call in (
        lambda: store.set_account_verified("no-such", NOW),
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
