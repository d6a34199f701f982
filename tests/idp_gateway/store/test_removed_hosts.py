"""Hosts that are removed while something else goes on, on both databases."""

import pytest

from idp_gateway.errors import Conflict, KeyRevoked, NotFound, QuotaExceeded
from idp_gateway.records import CertificateKind, HostRecord, RevocationScope
from idp_gateway.store import Store, hosts
from tests.idp_gateway.store.test_hosts import LATER, host
from tests.support.rows import NOW, certificate, owner_with_socket, race

HOSTS = (CertificateKind.SSH_HOST,)


def remove(store: Store, kept: HostRecord) -> None:
    owner_id = kept.enrolled_by
    store.remove_host(owner_id, kept.socket_id, kept.host_id, by="owner@corp.test", now=NOW)


def test_one_revocation_names_all_certificates_of_a_removed_host(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    kept = store.keep_host(owner.account_id, host(socket))

    def issue(serial: str) -> None:
        store.record_certificate(
            certificate(
                serial=serial,
                kind=CertificateKind.SSH_HOST,
                socket_id=socket.socket_id,
                public_key_fingerprint=kept.fingerprint,
                issued_at=LATER if serial == "3" else NOW,
            )
        )

    issue("1")
    issue("2")
    remove(store, kept)
    issue("3")

    (made,) = store.revocations_of(owner.account_id, socket.socket_id)
    assert (made.scope, made.value) == (RevocationScope.KEY, kept.fingerprint)
    revoked = store.live_revoked(NOW, kinds=HOSTS, socket_id=socket.socket_id)
    assert {one.serial for one in revoked} == {"1", "2", "3"}
    after = store.find_socket(socket.socket_id)
    assert after is not None
    assert after.epoch == socket.epoch
    assert store.blocks_key(socket.socket_id, kept.fingerprint)


def test_a_removed_hosts_key_is_enrolled_again_only_after_a_lift(store: Store) -> None:
    owner, socket = owner_with_socket(store)
    kept = store.keep_host(owner.account_id, host(socket))
    remove(store, kept)
    again = host(socket, fingerprint=kept.fingerprint)
    with pytest.raises(KeyRevoked):
        store.keep_host(owner.account_id, again)

    (made,) = store.revocations_of(owner.account_id, socket.socket_id)
    store.lift_revocation(owner.account_id, socket.socket_id, made.revocation_id, LATER)

    # An enrolment that began before the removal has that host's id.
    with pytest.raises(Conflict):
        store.keep_host(owner.account_id, host(socket, host_id=kept.host_id))
    assert store.keep_host(owner.account_id, again) == again


def test_enrolments_and_removals_at_once_end_in_one_or_the_other(store: Store) -> None:
    owner, socket = owner_with_socket(store)

    def once(kept: HostRecord, step: int) -> str:
        try:
            if step % 2:
                remove(store, kept)
            else:
                store.keep_host(owner.account_id, kept)
        except (KeyRevoked, NotFound) as error:
            return error.reason
        return ""

    for _ in range(3):
        kept = store.keep_host(owner.account_id, host(socket))
        outcomes = race([lambda k=kept, s=step: once(k, s) for step in range(6)])
        assert set(outcomes) <= {"", "key-revoked", "host-unknown"}
        assert store.hosts_of(owner.account_id, socket.socket_id) == ()


def test_removing_is_never_refused_and_enrolling_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "MAX_STANDING", 2)
    owner, socket = owner_with_socket(store)
    for kept in [store.keep_host(owner.account_id, host(socket)) for _ in range(3)]:
        remove(store, kept)

    with pytest.raises(QuotaExceeded):
        store.keep_host(owner.account_id, host(socket))
