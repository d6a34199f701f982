"""Revocations on both databases: what they change together, what they name, and in any order."""

import dataclasses
import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from idp_gateway.errors import Conflict, NotFound, QuotaExceeded
from idp_gateway.records import (
    CertificateKind,
    CertificateRecord,
    RevocationRecord,
    RevocationScope,
    SocketRecord,
)
from idp_gateway.store import Store, revocations
from tests.support.rows import NOW, PORTS, certificate, owner_with_socket, race

SSH = (CertificateKind.SSH_USER,)
LATER = NOW + timedelta(seconds=1)
_numbers = itertools.count(1)


def revocation(socket: SocketRecord, **changes: Any) -> RevocationRecord:
    plain = RevocationRecord(
        revocation_id=f"revocation-{next(_numbers)}",
        socket_id=socket.socket_id,
        scope=RevocationScope.PERSON,
        value="ann@corp.test",
        reason="",
        created_by=socket.account_id,
        created_at=NOW,
    )
    return dataclasses.replace(plain, **changes)


def issued(store: Store, socket: SocketRecord, **changes: Any) -> CertificateRecord:
    record = certificate(
        **{
            "serial": str(1000 + next(_numbers)),
            "kind": CertificateKind.SSH_USER,
            "socket_id": socket.socket_id,
            "epoch": socket.epoch,
        }
        | changes
    )
    store.record_certificate(record)
    return record


def named(store: Store, socket: SocketRecord, now: datetime = NOW, kinds: Any = SSH) -> set[str]:
    found = store.live_revoked(now, kinds=kinds, socket_id=socket.socket_id)
    return {one.serial for one in found}


def fresh(store: Store, socket: SocketRecord) -> SocketRecord:
    found = store.find_socket(socket.socket_id)
    assert found is not None
    return found


def blocked(store: Store, socket: SocketRecord) -> frozenset[str]:
    """Everybody who is, in both ways to look."""
    found = store.people_blocked([socket.socket_id]).get(socket.socket_id, frozenset())
    assert all(store.blocks_person(socket.socket_id, email) for email in found)
    return found


def test_a_revocation_blocks_and_ends_the_epoch_in_one_transaction(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    revision = store.revision()

    made = store.add_revocation(owner.account_id, revocation(socket))

    after = fresh(store, socket)
    assert (blocked(store, socket), after.epoch) == ({"ann@corp.test"}, socket.epoch + 1)
    assert store.revocations_of(owner.account_id, socket.socket_id) == (made,)
    (change,) = store.changes_since(revision)
    assert change.entity_id == socket.socket_id


def test_a_lift_takes_the_block_away_and_ends_nothing(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    made = store.add_revocation(owner.account_id, revocation(socket))
    ended = fresh(store, socket).epoch

    lifted = store.lift_revocation(owner.account_id, socket.socket_id, made.revocation_id, LATER)

    assert lifted == dataclasses.replace(made, lifted_at=LATER)
    after = fresh(store, socket)
    assert (blocked(store, socket), after.epoch) == (set(), ended)
    again = store.lift_revocation(
        owner.account_id, socket.socket_id, made.revocation_id, LATER + timedelta(days=1)
    )
    assert again == lifted


def test_of_racing_revocations_none_is_lost(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    people = [f"p{number}@corp.test" for number in range(6)]

    race(
        [
            lambda p=person: store.add_revocation(owner.account_id, revocation(socket, value=p))
            for person in people
        ]
        + [
            lambda: store.update_socket(
                owner.account_id,
                socket.socket_id,
                {"description": "changed"},
                bump_epoch=True,
                ports=PORTS,
                now=NOW,
            )
        ]
    )

    after = fresh(store, socket)
    assert blocked(store, socket) == set(people)
    assert after.epoch == socket.epoch + 7
    assert after.description == "changed"


def test_of_the_same_revocation_at_once_one_is_kept(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    wanted = [revocation(socket) for _ in range(5)]

    results = race([lambda w=one: store.add_revocation(owner.account_id, w) for one in wanted])

    assert len({one.revocation_id for one in results}) == 1
    assert fresh(store, socket).epoch == socket.epoch + 1


@pytest.mark.parametrize(
    ("scope", "value", "certificates"),
    [
        (RevocationScope.PERSON, "ann@corp.test", {"subject": "ann@corp.test"}),
        (RevocationScope.KEY, "SHA256:k", {"public_key_fingerprint": "SHA256:k"}),
        (RevocationScope.SERIAL, "77", {"serial": "77"}),
    ],
)
def test_what_is_named_and_what_is_not(
    scope: RevocationScope, value: str, certificates: dict[str, str], store: Store
) -> None:
    owner, socket = owner_with_socket(store)
    _, elsewhere = owner_with_socket(store)
    meant = issued(store, socket, **certificates)
    issued(store, socket, subject="bob@corp.test", public_key_fingerprint="SHA256:b")
    gone = {"not_before": NOW - timedelta(hours=1), "not_after": NOW}
    issued(store, socket, **(certificates | {"serial": "5"} | gone))
    if scope is not RevocationScope.SERIAL:
        issued(store, elsewhere, **certificates)

    store.add_revocation(owner.account_id, revocation(socket, scope=scope, value=value))

    assert named(store, socket) == {meant.serial}
    assert named(store, elsewhere) == set()
    assert named(store, socket, meant.not_after) == set()


def test_a_certificate_on_its_way_while_its_person_is_revoked_is_named(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    made = store.add_revocation(owner.account_id, revocation(socket))
    slipped = issued(store, socket, subject="ann@corp.test", issued_at=LATER)
    assert named(store, socket) == {slipped.serial}

    store.lift_revocation(owner.account_id, socket.socket_id, made.revocation_id, NOW)
    # Decided before it was revoked, and signed after it was lifted: a token may be slow.
    late = issued(store, socket, subject="ann@corp.test", issued_at=LATER + timedelta(seconds=2))
    after = issued(store, fresh(store, socket), subject="ann@corp.test", issued_at=LATER)

    assert named(store, socket) == {slipped.serial, late.serial}
    assert after.serial not in named(store, socket)


@pytest.mark.parametrize("off", [timedelta(hours=-1), timedelta(0), timedelta(hours=1)])
@pytest.mark.parametrize("scope", [RevocationScope.PERSON, RevocationScope.KEY])
def test_what_a_lift_leaves_revoked_goes_by_no_clock(
    scope: RevocationScope, off: timedelta, store: Store
) -> None:
    owner, socket = owner_with_socket(store)
    value = "ann@corp.test" if scope is RevocationScope.PERSON else "SHA256:k"
    theirs = {"subject": "ann@corp.test", "public_key_fingerprint": "SHA256:k"}
    old = issued(store, socket, **theirs, issued_at=NOW - off)
    made = store.add_revocation(owner.account_id, revocation(socket, scope=scope, value=value))
    store.lift_revocation(owner.account_id, socket.socket_id, made.revocation_id, NOW + off)

    new = issued(store, fresh(store, socket), **theirs, issued_at=NOW)

    assert named(store, socket) == {old.serial}
    assert new.serial not in named(store, socket)


def test_the_key_of_a_removed_host_ends_an_epoch_when_it_is_lifted(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    hosts = {"kind": CertificateKind.SSH_HOST, "public_key_fingerprint": "SHA256:k"}
    old = issued(store, socket, **hosts, issued_at=LATER)
    removed = revocation(socket, scope=RevocationScope.KEY, value="SHA256:k")
    with store.database.changing() as connection:
        revocations.block_key(connection, removed)
    assert fresh(store, socket) == socket
    revision = store.revision()

    lifted = store.lift_revocation(owner.account_id, socket.socket_id, removed.revocation_id, NOW)

    after = fresh(store, socket)
    assert (lifted.ended_epoch, after.epoch) == (socket.epoch, socket.epoch + 1)
    (change,) = store.changes_since(revision)
    assert change.entity_id == socket.socket_id
    new = issued(store, after, **hosts, issued_at=NOW)
    assert named(store, socket, kinds=(CertificateKind.SSH_HOST,)) == {old.serial}
    assert new.serial not in named(store, socket, kinds=(CertificateKind.SSH_HOST,))


def test_everything_up_to_now_is_told_by_the_epoch(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    old = issued(store, socket)
    made = store.add_revocation(
        owner.account_id, revocation(socket, scope=RevocationScope.SOCKET, value="")
    )
    slipped = issued(store, socket, issued_at=LATER)
    new = issued(store, socket, epoch=fresh(store, socket).epoch, issued_at=LATER)

    assert made.value == str(socket.epoch)
    assert named(store, socket) == {old.serial, slipped.serial}
    assert new.serial not in named(store, socket)
    with pytest.raises(Conflict):
        store.lift_revocation(owner.account_id, socket.socket_id, made.revocation_id, LATER)


def test_a_serial_has_to_be_of_the_socket(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    stranger, other = owner_with_socket(store)
    theirs = issued(store, other)
    edge = issued(store, socket, kind=CertificateKind.SSH_TUNNEL)

    for serial in (theirs.serial, edge.serial, "12345678"):
        wanted = revocation(socket, scope=RevocationScope.SERIAL, value=serial)
        with pytest.raises(NotFound):
            store.add_revocation(owner.account_id, wanted)
    with pytest.raises(NotFound):
        store.add_revocation(stranger.account_id, revocation(socket))
    assert fresh(store, socket) == socket


def test_there_is_an_end_to_what_may_stand(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MAX_STANDING", 2)
    owner, socket = owner_with_socket(store)
    for person in ("a@corp.test", "b@corp.test"):
        store.add_revocation(owner.account_id, revocation(socket, value=person))

    with pytest.raises(QuotaExceeded):
        store.add_revocation(owner.account_id, revocation(socket, value="c@corp.test"))
    assert len(blocked(store, socket)) == 2


def test_certificates_that_are_long_over_take_no_room(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "MAX_STANDING", 2)
    owner, socket = owner_with_socket(store)

    def revoke(after: timedelta) -> None:
        one = issued(store, socket).serial
        wanted = revocation(socket, scope=RevocationScope.SERIAL, value=one, created_at=NOW + after)
        store.add_revocation(owner.account_id, wanted)

    for _ in range(2):
        revoke(timedelta())
    with pytest.raises(QuotaExceeded):
        revoke(timedelta(days=31))
    revoke(timedelta(days=33))


@pytest.mark.parametrize("full", [RevocationScope.SERIAL, RevocationScope.KEY])
def test_however_much_was_revoked_people_and_everything_still_can_be(
    full: RevocationScope, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "MAX_STANDING", 1)
    owner, socket = owner_with_socket(store)
    value = issued(store, socket).serial if full is RevocationScope.SERIAL else "SHA256:k"
    store.add_revocation(owner.account_id, revocation(socket, scope=full, value=value))

    store.add_revocation(owner.account_id, revocation(socket))
    for _ in range(3):
        whole = revocation(socket, scope=RevocationScope.SOCKET, value="")
        store.add_revocation(owner.account_id, whole)

    assert blocked(store, socket) == {"ann@corp.test"}
    assert fresh(store, socket).epoch == socket.epoch + 5


def test_everything_is_told_by_the_last_of_many(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    epochs = range(socket.epoch, socket.epoch + 12)
    old = [issued(store, socket, epoch=epoch) for epoch in epochs]
    for _ in epochs:
        whole = revocation(socket, scope=RevocationScope.SOCKET, value="")
        store.add_revocation(owner.account_id, whole)
    new = issued(store, socket, epoch=fresh(store, socket).epoch)

    assert named(store, socket) == {one.serial for one in old}
    assert new.serial not in named(store, socket)


def test_everything_is_also_the_host_certificates(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    hosts = {"kind": CertificateKind.SSH_HOST, "not_after": NOW + timedelta(days=14)}
    old = issued(store, socket, **hosts)
    store.add_revocation(
        owner.account_id, revocation(socket, scope=RevocationScope.SOCKET, value="")
    )
    new = issued(store, socket, **hosts, issued_at=LATER, epoch=fresh(store, socket).epoch)

    kinds = (CertificateKind.SSH_HOST,)
    assert named(store, socket, kinds=kinds) == {old.serial}
    assert named(store, socket, NOW + timedelta(days=13), kinds) == {old.serial}
    assert new.serial not in named(store, socket, kinds=kinds)


def test_there_is_an_end_to_what_a_list_names(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "MAX_LISTED", 2)
    owner, socket = owner_with_socket(store)
    for _ in range(3):
        issued(store, socket, subject="ann@corp.test")
    store.add_revocation(owner.account_id, revocation(socket))

    with pytest.raises(QuotaExceeded) as caught:
        named(store, socket)
    assert caught.value.reason == "too-many-revoked"


def test_one_sockets_many_revocations_do_not_end_the_list_of_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "MAX_LISTED", 2)
    owner, socket = owner_with_socket(store)
    for _ in range(3):
        issued(store, socket, subject="ann@corp.test")
    store.add_revocation(owner.account_id, revocation(socket))

    assert len(store.live_revoked(NOW, kinds=(CertificateKind.SSH_USER,))) == 3


def test_what_a_deleted_socket_issued_is_revoked_and_stays_so(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    before = issued(store, socket, subject="ann@corp.test")
    store.add_revocation(owner.account_id, revocation(socket))
    other = issued(store, socket, subject="bob@corp.test", epoch=socket.epoch)

    store.delete_socket(owner.account_id, socket.socket_id, NOW)
    late = issued(store, socket, subject="eve@corp.test", epoch=socket.epoch)

    assert named(store, socket) == {before.serial, other.serial, late.serial}
    assert len(store.live_revoked(NOW, kinds=(CertificateKind.SSH_USER,))) == 3


def test_revocations_of_a_deleted_socket_are_forgotten_when_nothing_can_be_good(
    store: Store,
) -> None:
    owner, socket = owner_with_socket(store)
    _, kept = owner_with_socket(store)
    for one in (socket, kept):
        issued(store, one, not_after=NOW + timedelta(days=90))
    store.delete_socket(owner.account_id, socket.socket_id, NOW)
    store.add_revocation(kept.account_id, revocation(kept, scope=RevocationScope.SOCKET, value=""))

    store.forget_revocations(NOW + timedelta(days=31))
    assert named(store, socket)
    store.forget_revocations(NOW + timedelta(days=33))
    assert not named(store, socket)
    assert store.revocations_of(kept.account_id, kept.socket_id)


def test_revoking_and_lifting_in_turns_keeps_nothing_off_the_list(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is one on certificates, not on the revocations that name them."""
    monkeypatch.setattr(revocations, "MAX_LISTED", 4)
    owner, socket = owner_with_socket(store)
    hers = {issued(store, socket, subject="ann@corp.test").serial for _ in range(3)}
    for turn in range(5):
        at = NOW + timedelta(seconds=turn)
        made = store.add_revocation(owner.account_id, revocation(socket, created_at=at))
        store.lift_revocation(owner.account_id, socket.socket_id, made.revocation_id, at)
    store.add_revocation(owner.account_id, revocation(socket, created_at=LATER))

    assert named(store, socket) == hers
    found = store.live_revoked(NOW, kinds=SSH, socket_id=socket.socket_id)
    assert {one.at for one in found} == {NOW}


@pytest.mark.parametrize("scope", [RevocationScope.PERSON, RevocationScope.SOCKET])
def test_what_a_later_revocation_says_too_is_not_kept_for_ever(
    store: Store, scope: RevocationScope
) -> None:
    owner, socket = owner_with_socket(store)
    hers = issued(store, socket, subject="ann@corp.test")
    turns = revocations.MAX_KEPT + 10
    for turn in range(turns):
        at = NOW + timedelta(seconds=turn)
        wanted = revocation(socket, scope=scope, created_at=at)
        made = store.add_revocation(owner.account_id, wanted)
        if scope is RevocationScope.PERSON and turn < turns - 1:
            store.lift_revocation(owner.account_id, socket.socket_id, made.revocation_id, at)

    kept = store.revocations_of(owner.account_id, socket.socket_id)
    assert revocations.MAX_KEPT <= len(kept) <= revocations.MAX_KEPT + 1
    assert kept[0].created_at == NOW + timedelta(seconds=turns - 1)
    assert named(store, socket) == {hers.serial}
    if scope is RevocationScope.SOCKET:
        assert max(int(one.value) for one in kept) == fresh(store, socket).epoch - 1
    else:
        assert blocked(store, socket) == {"ann@corp.test"}


def test_revocations_come_in_pages(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    for turn in range(5):
        at = NOW + timedelta(seconds=turn)
        wanted = revocation(socket, value=f"p{turn}@corp.test", created_at=at)
        store.add_revocation(owner.account_id, wanted)
    pages = [
        store.revocations_of(owner.account_id, socket.socket_id, offset=offset, limit=2)
        for offset in (0, 2, 4, 6)
    ]
    assert [[one.value[:2] for one in page] for page in pages] == [
        ["p4", "p3"],
        ["p2", "p1"],
        ["p0"],
        [],
    ]
