"""What let somebody in for a while and is over: edges are told once, and nobody's grant ends."""

from datetime import datetime, timedelta

from idp_gateway.records import SocketRecord
from idp_gateway.request_records import AccessRequestRecord
from idp_gateway.store import Store
from idp_gateway.store.ends import CLOCKS_APART
from policy.types import SocketType
from tests.support.requests import ask, guest_of, owner_person, person
from tests.support.rows import NOW, owner_with_socket

ANN = person("ann")
HOUR = timedelta(hours=1)
END = NOW + HOUR


def after_ends(store: Store, now: datetime) -> tuple[str, ...]:
    return store.renew_after_ends(NOW - HOUR, now)


def approved(store: Store, kind: SocketType = SocketType.TLS) -> tuple[SocketRecord, str]:
    """A socket that somebody was let in to, until ``END``; and the request."""
    owner, socket = owner_with_socket(store, socket_type=kind, cloud_authentication_enabled=True)
    made: AccessRequestRecord = ask(store, ANN, socket)
    store.approve_access_request(made.request_id, owner_person(owner), minutes=60, note="", now=NOW)
    return socket, made.request_id


def test_edges_are_told_at_once_of_what_has_ended(store: Store) -> None:
    socket, _ = approved(store)
    before = store.find_socket(socket.socket_id)
    assert before is not None
    assert after_ends(store, END - timedelta(seconds=1)) == ()
    revision = store.revision()
    assert after_ends(store, END) == (socket.socket_id,)
    assert after_ends(store, END + CLOCKS_APART / 2) == ()
    after = store.find_socket(socket.socket_id)
    assert after is not None
    assert (after.epoch, after.rules_version) == (before.epoch, before.rules_version + 1)
    assert [one.entity_id for one in store.changes_since(revision)] == [socket.socket_id]


def test_edges_are_told_once_more_when_all_clocks_agree_that_it_has(store: Store) -> None:
    """What one gateway noted at the end, one with a clock behind may have told before it."""
    socket, _ = approved(store)
    for at, due in (
        (END, True),
        (END + CLOCKS_APART, True),
        (END + CLOCKS_APART, False),
        (END + HOUR, False),
    ):
        assert after_ends(store, at) == ((socket.socket_id,) if due else ())


def test_a_guests_end_is_one_too(store: Store) -> None:
    owner, socket = owner_with_socket(
        store, socket_type=SocketType.TLS, cloud_authentication_enabled=True
    )
    claimed, unclaimed = guest_of(socket), guest_of(socket, ends_at=END + HOUR)
    for guest in (claimed, unclaimed):
        store.add_guest(guest, owner_person(owner), limit=9)
    store.claim_guest(claimed.code_hash, ANN, NOW)
    assert after_ends(store, END + HOUR) == (socket.socket_id,)
    assert after_ends(store, END + 2 * HOUR) == ()


def test_what_ended_early_or_long_ago_is_known_already(store: Store) -> None:
    _, request_id = approved(store)
    store.cancel_access_request(request_id, ANN, note="", now=NOW + HOUR / 2)
    long_ago, _ = approved(store)
    assert store.renew_after_ends(END, END + HOUR) == ()
    assert after_ends(store, END + HOUR) == (long_ago.socket_id,)


def test_where_no_edge_looks_at_addresses_nothing_is_told(store: Store) -> None:
    approved(store, SocketType.HTTP)
    assert after_ends(store, END) == ()
