"""Enrolled hosts on both databases."""

import dataclasses
import itertools
from datetime import timedelta
from typing import Any

import pytest

from idp_gateway.errors import NotFound, QuotaExceeded
from idp_gateway.records import CertificateKind, HostRecord, SocketRecord
from idp_gateway.store import Store, hosts
from tests.support.rows import NOW, certificate, owner_with_socket, race

LATER = NOW + timedelta(minutes=1)
_numbers = itertools.count(1)


def host(socket: SocketRecord, **changes: Any) -> HostRecord:
    number = next(_numbers)
    plain = HostRecord(
        host_id=f"host-{number}",
        socket_id=socket.socket_id,
        name="db1",
        public_key="ssh-ed25519 AAAA",
        fingerprint=f"SHA256:{number}",
        principals=(socket.dns_name,),
        serial=str(number),
        not_after=NOW + timedelta(days=7),
        enrolled_at=NOW,
        enrolled_by=socket.account_id,
        seen_at=NOW,
    )
    return dataclasses.replace(plain, **changes)


def test_a_host_comes_back_as_it_was_kept(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    kept = store.keep_host(owner.account_id, host(socket))

    assert store.find_host(kept.host_id) == kept
    assert store.find_enrolled(socket.socket_id, kept.fingerprint) == kept
    assert store.hosts_of(owner.account_id, socket.socket_id) == (kept,)
    assert store.find_host("another") is None


def test_what_a_host_says_and_gets_is_kept(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    kept = store.keep_host(owner.account_id, host(socket))

    store.note_sync(kept.host_id, number=1 << 40, trusted_cas=["SHA256:x"], now=LATER)
    store.note_shown(kept.host_id, serial="99", not_after=LATER)

    assert store.find_host(kept.host_id) == dataclasses.replace(
        kept,
        synced_number=1 << 40,
        trusted_cas=("SHA256:x",),
        seen_at=LATER,
        serial="99",
        not_after=LATER,
    )


def test_of_racing_enrolments_of_one_key_one_host_comes(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    wanted = [host(socket, fingerprint="SHA256:same") for _ in range(6)]

    results = race([lambda w=one: store.keep_host(owner.account_id, w) for one in wanted])

    assert len({one.host_id for one in results}) == 1
    assert len(store.hosts_of(owner.account_id, socket.socket_id)) == 1


def test_a_removed_host_is_gone_and_its_certificates_are_revoked(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    kept = store.keep_host(owner.account_id, host(socket))
    for serial, end in (("10", NOW + timedelta(days=1)), ("11", NOW - timedelta(days=1))):
        store.record_certificate(
            certificate(
                serial=serial,
                kind=CertificateKind.SSH_HOST,
                socket_id=socket.socket_id,
                public_key_fingerprint=kept.fingerprint,
                not_after=end,
            )
        )
    revision = store.revision()

    store.remove_host(owner.account_id, socket.socket_id, kept.host_id, by=owner.email, now=NOW)

    found = store.find_host(kept.host_id)
    assert found is not None
    assert found.removed_at == NOW
    assert store.hosts_of(owner.account_id, socket.socket_id) == ()
    assert store.find_enrolled(socket.socket_id, kept.fingerprint) is None
    revoked = store.live_revoked(NOW, kinds=(CertificateKind.SSH_HOST,))
    assert [one.serial for one in revoked] == ["10"]
    assert store.revision() > revision
    with pytest.raises(NotFound):
        store.remove_host(owner.account_id, socket.socket_id, kept.host_id, by=owner.email, now=NOW)


def test_hosts_are_their_owners(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    stranger, _ = owner_with_socket(store)
    kept = store.keep_host(owner.account_id, host(socket))

    with pytest.raises(NotFound):
        store.keep_host(stranger.account_id, host(socket))
    with pytest.raises(NotFound):
        store.hosts_of(stranger.account_id, socket.socket_id)
    with pytest.raises(NotFound):
        store.remove_host(stranger.account_id, socket.socket_id, kept.host_id, by="x", now=NOW)


def test_there_is_an_end_to_the_hosts_of_a_socket(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "MAX_HOSTS", 1)
    owner, socket = owner_with_socket(store)
    kept = store.keep_host(owner.account_id, host(socket))

    with pytest.raises(QuotaExceeded):
        store.keep_host(owner.account_id, host(socket))
    again = store.keep_host(
        owner.account_id, host(socket, fingerprint=kept.fingerprint, name="renamed")
    )
    assert (again.host_id, again.name) == (kept.host_id, "renamed")
