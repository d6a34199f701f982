"""Rotations under a clock the test turns: nothing that verifies is ever without the right key."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate

from ca.errors import KeyStoreError, SubjectNameError
from idp_gateway import upkeep
from idp_gateway.ca_generations import (
    REMEMBERED_SECONDS,
    SSH_HOST,
    SSH_TUNNEL,
    X509_ISSUING,
    user_ca_id,
)
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.errors import Conflict, NotFound
from idp_gateway.records import CaGenerationRecord, CaState, HostRecord
from idp_gateway.rotation import IN_FLIGHT, GivenUp, Step, Verifier
from idp_gateway.settings import Settings
from tests.idp_gateway.conftest import FixedClock
from tests.idp_gateway.test_authority import csr, socket_of, ssh_key
from tests.support import rows
from tests.support.grants import grant

USER_CA = user_ca_id("socket-1")
BY_HAND = GivenUp(by_hand=True)
ALL = (X509_ISSUING, SSH_TUNNEL, SSH_HOST, USER_CA)


def states(gateway: Gateway, ca_id: str) -> list[CaState]:
    return [record.state for record in gateway.store.generations(ca_id)]


def active(gateway: Gateway, ca_id: str) -> CaGenerationRecord:
    record = gateway.store.active_generation(ca_id)
    assert record is not None
    return record


def signed_now(gateway: Gateway, ca_id: str) -> str:
    """Key id of the CA that signs a certificate issued now."""
    authority = gateway.authority
    now = gateway.clock()
    leave = grant(not_before=now - timedelta(minutes=5), not_after=now + timedelta(minutes=5))
    if ca_id == X509_ISSUING:
        issuer = authority.issue_client_certificate(leave, csr()).certificate.issuer
        return format(issuer.serial_number, "x")
    if ca_id == USER_CA:
        return authority.issue_ssh_certificate(leave, ssh_key()).certificate.ca_fingerprint
    if ca_id == SSH_HOST:
        return authority.issue_host_certificate(
            socket_id="socket-1", key_id="host-1", public_key=ssh_key(), principals=("a.test",)
        ).certificate.ca_fingerprint
    return authority.issue_tunnel_certificate(
        account=rows.account(), socket_id="socket-1", tunnel_id=None, public_key=ssh_key()
    ).certificate.ca_fingerprint


def enrol(gateway: Gateway, name: str, *, trusts: tuple[str, ...] = ()) -> HostRecord:
    host = HostRecord(
        host_id=f"id-{name}",
        socket_id="socket-1",
        name=name,
        public_key="ssh-ed25519 AAAA",
        fingerprint=f"SHA256:{name}",
        principals=("a.test",),
        serial="1",
        not_after=gateway.clock() + timedelta(days=14),
        enrolled_at=gateway.clock(),
        enrolled_by="owner",
        seen_at=gateway.clock(),
        trusted_cas=trusts,
    )
    socket = gateway.store.find_socket("socket-1")
    assert socket is not None
    return gateway.store.keep_host(socket.account_id, host)


@pytest.fixture
def gateway(settings: Settings, clock: FixedClock) -> Iterator[Gateway]:
    made = build_gateway(settings, clock=clock)
    socket_of(made)
    yield made
    made.close()


@pytest.fixture(params=ALL)
def ca_id(request: pytest.FixtureRequest) -> str:
    ca: str = request.param
    return ca


def take(gateway: Gateway, ca_id: str, *steps: Step, given_up: GivenUp = BY_HAND) -> None:
    for step in steps:
        gateway.rotation.take(ca_id, step, given_up)


UNTIL_ACTIVE = (Step.PREPARE, Step.PUBLISH, Step.ACTIVATE)


def test_every_ca_goes_through_its_steps(gateway: Gateway, clock: FixedClock, ca_id: str) -> None:
    first = active(gateway, ca_id).key_id
    trusted = [first]
    for step in UNTIL_ACTIVE:
        gateway.rotation.take(ca_id, step, BY_HAND)
        # Whatever signs now is what verifiers were told before.
        assert signed_now(gateway, ca_id) in trusted
        trusted = [record.key_id for record in gateway.authority.generations.trusted(ca_id)]
    second = active(gateway, ca_id).key_id
    assert first != second == signed_now(gateway, ca_id)
    assert trusted == [first, second]
    assert states(gateway, ca_id) == [CaState.DRAINING, CaState.ACTIVE]

    clock.advance(days=15 if ca_id == SSH_HOST else 0, minutes=10, seconds=16)
    take(gateway, ca_id, Step.RETIRE)
    retired = gateway.store.generations(ca_id)[0]
    assert (retired.state, retired.private_sealed) == (CaState.RETIRED, None)
    assert [r.key_id for r in gateway.authority.generations.trusted(ca_id)] == [second]
    with pytest.raises(KeyStoreError):
        gateway.authority.generations.check_signs(retired)
    assert not gateway.rotation.standing(ca_id).under_way


def test_a_rotation_takes_a_quarter_of_an_hour(gateway: Gateway, clock: FixedClock) -> None:
    begun = clock()
    for ca_id in (X509_ISSUING, SSH_TUNNEL, USER_CA):
        signed_now(gateway, ca_id)
        take(gateway, ca_id, *UNTIL_ACTIVE)
        standing = gateway.rotation.standing(ca_id)
        assert standing.until is not None
        assert standing.until - begun <= timedelta(minutes=15)


def test_an_old_key_is_trusted_until_its_last_certificate_has_ended(
    gateway: Gateway, clock: FixedClock, ca_id: str
) -> None:
    take(gateway, ca_id, Step.PREPARE, Step.PUBLISH)
    old = signed_now(gateway, ca_id)
    take(gateway, ca_id, Step.ACTIVATE)
    end = gateway.store.last_end_under(old)
    draining = gateway.store.generations(ca_id)[0]
    assert end is not None
    assert draining.draining_until is not None
    assert draining.draining_until >= end + timedelta(minutes=5)
    if ca_id != SSH_HOST:
        with pytest.raises(Conflict) as refusal:
            take(gateway, ca_id, Step.RETIRE)
        assert refusal.value.reason == "rotation-waits"


@pytest.mark.parametrize("reached", [(Step.PREPARE,), (Step.PREPARE, Step.PUBLISH)])
def test_a_key_that_never_signed_is_withdrawn(
    gateway: Gateway, ca_id: str, reached: tuple[Step, ...]
) -> None:
    first = active(gateway, ca_id).key_id
    take(gateway, ca_id, *reached)
    standing = gateway.rotation.rollback(ca_id)
    assert not standing.under_way
    assert states(gateway, ca_id) == [CaState.ACTIVE, CaState.WITHDRAWN]
    assert gateway.store.generations(ca_id)[1].private_sealed is None
    assert [r.key_id for r in gateway.authority.generations.trusted(ca_id)] == [first]
    assert signed_now(gateway, ca_id) == first
    take(gateway, ca_id, *UNTIL_ACTIVE)
    assert signed_now(gateway, ca_id) == gateway.store.generations(ca_id)[2].key_id


def test_an_activated_key_gives_way_to_its_predecessor_and_drains(
    gateway: Gateway, clock: FixedClock, ca_id: str
) -> None:
    first = active(gateway, ca_id).key_id
    take(gateway, ca_id, *UNTIL_ACTIVE)
    second = signed_now(gateway, ca_id)
    gateway.rotation.rollback(ca_id)
    assert states(gateway, ca_id) == [CaState.ACTIVE, CaState.DRAINING]
    assert signed_now(gateway, ca_id) == first
    trusted = [record.key_id for record in gateway.authority.generations.trusted(ca_id)]
    assert trusted == [first, second], "what the second one signed is still good"
    clock.advance(days=15 if ca_id == SSH_HOST else 0, minutes=11)
    take(gateway, ca_id, Step.RETIRE)
    assert states(gateway, ca_id) == [CaState.ACTIVE, CaState.RETIRED]


def test_a_finished_rotation_is_not_rolled_back(
    gateway: Gateway, clock: FixedClock, ca_id: str
) -> None:
    with pytest.raises(Conflict) as refusal:
        gateway.rotation.rollback(ca_id)
    assert refusal.value.reason == "nothing-to-roll-back"


@pytest.mark.parametrize("shared", [X509_ISSUING, SSH_TUNNEL])
def test_edges_are_waited_for_and_named(gateway: Gateway, clock: FixedClock, shared: str) -> None:
    gateway.feed.serving.acknowledge("e1", gateway.store.revision())
    gateway.feed.serving.acknowledge("dead", gateway.store.revision())
    take(gateway, shared, Step.PREPARE, Step.PUBLISH)
    gateway.feed.serving.acknowledge("e1", gateway.store.revision())

    standing = gateway.rotation.standing(shared)
    (awaited,) = standing.awaited
    assert (awaited.kind, awaited.name, awaited.seen_at) == (Verifier.EDGE, "dead", clock())
    with pytest.raises(Conflict, match="dead") as refusal:
        take(gateway, shared, Step.ACTIVATE)
    assert refusal.value.reason == "rotation-waits"

    without = GivenUp(edges=frozenset({"dead"}))
    take(gateway, shared, Step.ACTIVATE, given_up=without)


def test_an_edge_that_was_away_for_a_day_is_not_waited_for(
    gateway: Gateway, clock: FixedClock
) -> None:
    gateway.feed.serving.acknowledge("gone", gateway.store.revision())
    clock.advance(hours=25)
    take(gateway, X509_ISSUING, *UNTIL_ACTIVE)


def test_an_issuing_ca_is_not_retired_while_an_edge_shows_its_certificate(
    gateway: Gateway, clock: FixedClock
) -> None:
    old, store = active(gateway, X509_ISSUING), gateway.store
    for edge in ("e1", "e2", "gone", "older"):
        store.note_server_ca(edge, old.key_id if edge != "older" else "", clock())
    take(gateway, X509_ISSUING, Step.PREPARE, Step.PUBLISH)
    for edge in ("e1", "e2", "gone", "older"):
        gateway.feed.serving.acknowledge(edge, store.revision())
    take(gateway, X509_ISSUING, Step.ACTIVATE)
    clock.advance(days=1, minutes=1)
    for edge in ("e1", "e2", "older"):
        gateway.feed.serving.acknowledge(edge, store.revision())

    standing = gateway.rotation.standing(X509_ISSUING)
    assert [(one.kind, one.name) for one in standing.awaited] == [
        (Verifier.EDGE, "e1"),
        (Verifier.EDGE, "e2"),
    ]
    with pytest.raises(Conflict, match="waiting for edge e1"):
        take(gateway, X509_ISSUING, Step.RETIRE)

    store.note_server_ca("e1", active(gateway, X509_ISSUING).key_id, clock())
    (waited_for,) = gateway.rotation.standing(X509_ISSUING).awaited
    assert waited_for.name == "e2"
    take(gateway, X509_ISSUING, Step.RETIRE, given_up=GivenUp(edges=frozenset({"e2"})))
    assert states(gateway, X509_ISSUING) == [CaState.RETIRED, CaState.ACTIVE]


def test_a_compromised_issuing_ca_is_not_kept_for_edges(
    gateway: Gateway, clock: FixedClock
) -> None:
    gateway.store.note_server_ca("e1", active(gateway, X509_ISSUING).key_id, clock())
    take(gateway, X509_ISSUING, Step.PREPARE, Step.PUBLISH)
    gateway.feed.serving.acknowledge("e1", gateway.store.revision())
    stolen = GivenUp(compromised=True)
    take(gateway, X509_ISSUING, Step.ACTIVATE, Step.RETIRE, given_up=stolen)
    assert states(gateway, X509_ISSUING) == [CaState.WITHDRAWN, CaState.ACTIVE]


def test_edges_are_told_which_issuing_ca_signs(gateway: Gateway, clock: FixedClock) -> None:
    """It is the first; and a gateway that remembers another signs an edge's with this one."""
    remembers = build_gateway(gateway.settings, clock=clock)
    old = format(issuer_of(remembers), "x")
    take(gateway, X509_ISSUING, Step.PREPARE, Step.PUBLISH)
    assert [first_ca(one) for one in (gateway, remembers)] == [old, old]
    assert gateway.authority.client_cas.count("BEGIN") == 2
    take(gateway, X509_ISSUING, Step.ACTIVATE)
    new = active(gateway, X509_ISSUING).key_id
    assert [first_ca(one) for one in (gateway, remembers)] == [new, new]
    assert gateway.authority.client_cas.count("BEGIN") == 2
    assert format(issuer_of(remembers), "x") == new != old
    remembers.close()


def issuer_of(gateway: Gateway) -> int:
    """Of a server certificate issued now."""
    return gateway.authority.issue_server_certificate(csr()).certificate.issuer.serial_number


def first_ca(gateway: Gateway) -> str:
    pem = gateway.authority.client_cas.encode()
    return format(load_pem_x509_certificate(pem).serial_number, "x")


def test_hosts_are_waited_for_and_named(gateway: Gateway) -> None:
    old = active(gateway, USER_CA).key_id
    enrol(gateway, "db-1", trusts=(old,))
    enrol(gateway, "db-2", trusts=(old,))
    take(gateway, USER_CA, Step.PREPARE, Step.PUBLISH)
    new = gateway.store.generations(USER_CA)[1].key_id
    assert [one.name for one in gateway.rotation.standing(USER_CA).awaited] == ["db-1", "db-2"]
    gateway.store.note_sync("id-db-1", number=9, trusted_cas=(old, new), now=gateway.clock())
    assert [one.name for one in gateway.rotation.standing(USER_CA).awaited] == ["db-2"]
    with pytest.raises(Conflict, match="db-2"):
        take(gateway, USER_CA, Step.ACTIVATE)
    take(gateway, USER_CA, Step.ACTIVATE, given_up=GivenUp(hosts=frozenset({"db-2"})))
    assert signed_now(gateway, USER_CA) == new


@pytest.mark.parametrize("unseen", [USER_CA, SSH_HOST])
def test_what_nobody_reports_has_to_be_vouched_for(gateway: Gateway, unseen: str) -> None:
    take(gateway, unseen, Step.PREPARE, Step.PUBLISH)
    with pytest.raises(Conflict, match="--by-hand"):
        take(gateway, unseen, Step.ACTIVATE, given_up=GivenUp())


def test_steps_are_taken_in_their_order(gateway: Gateway, ca_id: str) -> None:
    for step in (Step.PUBLISH, Step.ACTIVATE, Step.RETIRE):
        with pytest.raises(Conflict) as refusal:
            take(gateway, ca_id, step)
        assert refusal.value.reason == "rotation-step"
    take(gateway, ca_id, Step.PREPARE)
    with pytest.raises(Conflict):
        take(gateway, ca_id, Step.PREPARE)


def test_a_rotation_cut_short_is_taken_up_by_another_gateway(
    gateway: Gateway, clock: FixedClock, ca_id: str
) -> None:
    first = active(gateway, ca_id).key_id
    for step in UNTIL_ACTIVE:
        other = build_gateway(gateway.settings, clock=clock)
        take(other, ca_id, step)
        other.close()
    clock.advance(minutes=1)
    gateway.authority.generations.forget()
    assert signed_now(gateway, ca_id) != first


def test_two_gateways_do_not_rotate_twice(gateway: Gateway, clock: FixedClock) -> None:
    other = build_gateway(gateway.settings, clock=clock)
    for step in UNTIL_ACTIVE:
        tries: list[Callable[[], object]] = [
            lambda g=one, s=step: g.rotation.take(SSH_TUNNEL, s) for one in (gateway, other) * 3
        ]
        said = rows.race(tries)
        assert sum(not isinstance(one, Exception) for one in said) == 1
        assert all(isinstance(one, Conflict) for one in said if isinstance(one, Exception))
    assert states(gateway, SSH_TUNNEL) == [CaState.DRAINING, CaState.ACTIVE]
    other.close()


def test_a_gateway_that_knows_the_old_key_signs_with_it_for_a_second_at_most(
    gateway: Gateway, clock: FixedClock
) -> None:
    other = build_gateway(gateway.settings, clock=clock)
    old = signed_now(other, USER_CA)
    take(gateway, USER_CA, *UNTIL_ACTIVE)
    assert signed_now(other, USER_CA) == old
    ends = other.store.last_end_under(old)
    draining = other.store.generations(USER_CA)[0].draining_until
    assert draining is not None
    assert ends is not None
    assert ends < draining
    object.__setattr__(other.authority.generations, "_monotonic", lambda: float("inf"))
    assert signed_now(other, USER_CA) != old
    other.close()


@pytest.mark.parametrize("shared", [X509_ISSUING, SSH_TUNNEL, USER_CA])
def test_what_a_gateway_signs_late_with_the_old_key_ends_before_the_key_is_retired(
    gateway: Gateway, clock: FixedClock, shared: str
) -> None:
    assert timedelta(seconds=REMEMBERED_SECONDS) < IN_FLIGHT
    other = build_gateway(gateway.settings, clock=clock)
    generations = other.authority.generations
    since_looked = 0.0
    object.__setattr__(generations, "_monotonic", lambda: 1000.0 + since_looked)
    generations.forget()
    old = generations.active(shared).record.key_id
    take(gateway, shared, *UNTIL_ACTIVE)

    since_looked = REMEMBERED_SECONDS - 0.01
    clock.advance(seconds=since_looked)
    assert signed_now(other, shared) == old
    end = other.store.last_end_under(old)
    draining_until = gateway.store.generations(shared)[0].draining_until
    assert end is not None
    assert draining_until is not None
    drift = timedelta(minutes=gateway.settings.clock_drift_minutes)
    assert end + drift <= draining_until
    other.close()


def test_an_issuing_ca_that_ends_too_soon_is_not_activated(
    gateway: Gateway, clock: FixedClock
) -> None:
    take(gateway, X509_ISSUING, Step.PREPARE, Step.PUBLISH)
    clock.advance(days=3 * 365 - 20)
    with pytest.raises(Conflict) as refusal:
        take(gateway, X509_ISSUING, Step.ACTIVATE)
    assert refusal.value.reason == "ca-ends-too-soon"


def test_generations_of_the_issuing_ca_cannot_be_mixed_up(gateway: Gateway) -> None:
    take(gateway, X509_ISSUING, *UNTIL_ACTIVE)
    first, second = (
        gateway.authority.generations.issuer(record).certificate
        for record in gateway.store.generations(X509_ISSUING)
    )
    assert first.subject != second.subject
    assert first.public_key() != second.public_key()


def test_a_gateway_with_other_names_has_an_issuing_ca_for_them_at_once(
    gateway: Gateway, clock: FixedClock
) -> None:
    take(gateway, X509_ISSUING, Step.PREPARE)
    renamed = gateway.settings.model_copy(update={"gateway_names": ("gateway.example.org",)})
    other = build_gateway(renamed, clock=clock)
    with pytest.raises(SubjectNameError):
        other.authority.issue_server_certificate(csr())
    assert states(other, X509_ISSUING) == [CaState.ACTIVE, CaState.PREPARED], "asked, not told"

    rows.race([lambda: upkeep.follow_names(other)] * 2)
    assert other.authority.issue_server_certificate(csr())
    first, *between, last = states(other, X509_ISSUING)
    assert last is CaState.ACTIVE
    assert {first, *between} <= {CaState.DRAINING, CaState.RETIRED, CaState.WITHDRAWN}
    other.close()


def test_an_issuing_ca_is_followed_only_where_its_root_is(
    gateway: Gateway, clock: FixedClock, tmp_path: Path
) -> None:
    elsewhere = gateway.settings.model_copy(
        update={
            "state_dir": tmp_path / "elsewhere",
            "master_key_file": gateway.settings.master_key_file,
            "database_url": gateway.settings.database_url,
        }
    )
    other = build_gateway(elsewhere, clock=clock)
    assert signed_now(other, X509_ISSUING) == active(gateway, X509_ISSUING).key_id
    with pytest.raises(KeyStoreError, match="root"):
        take(other, X509_ISSUING, Step.PREPARE)
    other.close()


def test_a_ca_nobody_has_is_not_found(gateway: Gateway) -> None:
    with pytest.raises(NotFound):
        gateway.rotation.standing("ssh-user:nobody")
