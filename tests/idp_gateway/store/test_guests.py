"""Invitations on both databases: one address, one claim, one identity from then on."""

from datetime import timedelta
from functools import partial

import pytest

from idp_gateway.errors import Forbidden, InvalidInput, NotFound, QuotaExceeded
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.request_records import AccessEventKind, GuestState
from idp_gateway.store import Store
from tests.support.requests import guest_of, owner_person, person
from tests.support.rows import NOW, owner_with_socket, race

ANN = person("ann")
SOON = NOW + timedelta(minutes=1)


def open_socket(store: Store) -> tuple[AccountRecord, SocketRecord]:
    return owner_with_socket(store, cloud_authentication_enabled=True)


def epoch(store: Store, wiki: SocketRecord) -> int:
    found = store.find_socket(wiki.socket_id)
    assert found is not None
    return found.epoch


def test_a_claim_pins_the_identity_for_good(store: Store) -> None:
    owner, wiki = open_socket(store)
    guest = store.add_guest(guest_of(wiki), owner_person(owner), limit=9)
    assert store.guests_admitted_on([wiki.socket_id], SOON) == ()
    claimed = store.claim_guest(guest.code_hash, ANN, SOON)
    assert (claimed.issuer, claimed.subject) == (ANN.issuer, ANN.subject)
    assert store.guests_admitted_on([wiki.socket_id], SOON) == (claimed,)
    assert epoch(store, wiki) == wiki.epoch
    assert store.claim_guest(guest.code_hash, ANN, SOON) == claimed
    same_address = person("ann", issuer="https://other.test", subject="x")
    with pytest.raises(Forbidden):
        store.claim_guest(guest.code_hash, same_address, SOON)
    assert store.guests_admitted_on([wiki.socket_id], guest.ends_at) == ()
    assert claimed.state_at(guest.ends_at) is GuestState.ENDED


@pytest.mark.parametrize("email", ["bea@corp.test", "ann@corp.test.evil.test", None])
def test_only_the_address_itself_claims(store: Store, email: str | None) -> None:
    owner, wiki = open_socket(store)
    guest = store.add_guest(guest_of(wiki), owner_person(owner), limit=9)
    with pytest.raises(Forbidden):
        store.claim_guest(guest.code_hash, person("ann", email=email), SOON)
    assert store.guests_admitted_on([wiki.socket_id], SOON) == ()


def test_of_two_claims_at_once_one_wins(store: Store) -> None:
    owner, wiki = open_socket(store)
    guest = store.add_guest(guest_of(wiki), owner_person(owner), limit=9)
    several = [person("ann", subject=f"s{n}") for n in range(4)]
    results = race([partial(store.claim_guest, guest.code_hash, one, SOON) for one in several])
    assert sum(isinstance(one, Forbidden) for one in results) == 3
    (kept,) = store.guests_admitted_on([wiki.socket_id], SOON)
    assert kept in results


def test_a_revocation_ends_grants_if_there_can_be_any(store: Store) -> None:
    owner, wiki = open_socket(store)
    for claimed in (False, True):
        guest = store.add_guest(guest_of(wiki), owner_person(owner), limit=9)
        if claimed:
            store.claim_guest(guest.code_hash, ANN, SOON)
        before = epoch(store, wiki)
        store.revoke_guest(owner.account_id, guest.guest_id, owner_person(owner), SOON)
        assert epoch(store, wiki) == before + claimed
        assert store.guests_admitted_on([wiki.socket_id], SOON) == ()
        with pytest.raises(NotFound):
            store.claim_guest(guest.code_hash, ANN, SOON)


def test_another_account_sees_and_ends_nothing(store: Store) -> None:
    owner, wiki = open_socket(store)
    stranger, _ = open_socket(store)
    guest = store.add_guest(guest_of(wiki), owner_person(owner), limit=9)
    with pytest.raises(NotFound):
        store.guests_of(stranger.account_id, wiki.socket_id, limit=9)
    with pytest.raises(NotFound):
        store.revoke_guest(stranger.account_id, guest.guest_id, owner_person(stranger), SOON)
    theirs = guest_of(wiki, account_id=stranger.account_id)
    with pytest.raises(NotFound):
        store.add_guest(theirs, owner_person(stranger), limit=9)
    assert store.guests_of(owner.account_id, wiki.socket_id, limit=9) == (guest,)


def test_guests_are_bounded_and_need_a_socket_that_asks(store: Store) -> None:
    owner, wiki = open_socket(store)
    store.add_guest(guest_of(wiki), owner_person(owner), limit=1)
    with pytest.raises(QuotaExceeded):
        store.add_guest(guest_of(wiki), owner_person(owner), limit=1)
    other, plain = owner_with_socket(store)
    with pytest.raises(InvalidInput):
        store.add_guest(guest_of(plain), owner_person(other), limit=1)


def test_everything_is_on_record_and_forgotten_in_time(store: Store) -> None:
    owner, wiki = open_socket(store)
    guest = store.add_guest(guest_of(wiki), owner_person(owner), limit=9)
    store.claim_guest(guest.code_hash, ANN, SOON)
    store.revoke_guest(owner.account_id, guest.guest_id, owner_person(owner), SOON)
    events = store.access_events_page(owner.account_id, concerns=guest.guest_id, offset=0, limit=9)
    assert [event.kind for event in events] == [
        AccessEventKind.UNINVITED,
        AccessEventKind.CLAIMED,
        AccessEventKind.INVITED,
    ]
    assert {event.policy_id for event in events} == {f"guest:{guest.guest_id}"}
    store.forget_access_requests(SOON + timedelta(days=1))
    assert store.find_guest(guest.code_hash) is None
