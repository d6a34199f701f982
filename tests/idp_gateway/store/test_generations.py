"""Generations of CA keys on both databases: each move happens once, and edges learn of it."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from idp_gateway.errors import Conflict
from idp_gateway.records import CaGenerationRecord, CaState, CertificateKind, ChangeKind
from idp_gateway.store import Store
from idp_gateway.store.generations import Move
from tests.support import rows
from tests.support.rows import NOW

LATER = NOW + timedelta(minutes=1)


def generation(number: int = 1, **changes: Any) -> CaGenerationRecord:
    plain = CaGenerationRecord(
        ca_id="ssh-tunnel",
        generation=number,
        state=CaState.ACTIVE if number == 1 else CaState.PREPARED,
        public=f"ssh-ed25519 AAAA{number}",
        key_id=f"SHA256:{number}",
        signer="file",
        private_sealed=b"\x00sealed\xff",
        created_at=NOW,
    )
    return dataclasses.replace(plain, **changes)


def states(store: Store, ca_id: str = "ssh-tunnel") -> list[CaState]:
    return [record.state for record in store.generations(ca_id)]


def published(store: Store) -> None:
    store.add_first_generation(generation())
    store.add_next_generation(generation(2))
    move = Move(generation=2, was=CaState.PREPARED, becomes=CaState.PUBLISHED)
    store.move_generations("ssh-tunnel", [move], LATER)


SWAP = [
    Move(
        generation=1,
        was=CaState.ACTIVE,
        becomes=CaState.DRAINING,
        draining_until=LATER + timedelta(minutes=10),
    ),
    Move(generation=2, was=CaState.PUBLISHED, becomes=CaState.ACTIVE),
]


def test_gateways_that_start_at_once_have_one_first_key(store: Store) -> None:
    made = [generation(key_id=f"SHA256:{n}") for n in range(6)]
    kept = rows.race([lambda r=record: store.add_first_generation(r) for record in made])
    assert len({record.key_id for record in kept}) == 1
    assert store.active_generation("ssh-tunnel") == kept[0]


def test_one_of_several_next_keys_is_kept(store: Store) -> None:
    store.add_first_generation(generation())
    made = [generation(2, key_id=f"SHA256:next-{n}") for n in range(6)]
    said = rows.race([lambda r=record: store.add_next_generation(r) for record in made])
    assert said.count(None) == 1
    assert all(isinstance(one, Conflict) for one in said if one is not None)
    assert states(store) == [CaState.ACTIVE, CaState.PREPARED]


def test_no_rotation_begins_before_the_last_one_is_over(store: Store) -> None:
    published(store)
    for _ in range(2):
        with pytest.raises(Conflict):
            store.add_next_generation(generation(3))
        if store.active_generation("ssh-tunnel") == generation():
            store.move_generations("ssh-tunnel", SWAP, LATER)


def test_a_move_is_made_once_however_many_try(store: Store) -> None:
    published(store)
    said = rows.race([lambda: store.move_generations("ssh-tunnel", SWAP, LATER)] * 6)
    assert [isinstance(one, int) for one in said].count(True) == 1
    assert states(store) == [CaState.DRAINING, CaState.ACTIVE]


def test_moves_happen_all_or_none(store: Store) -> None:
    published(store)
    revision = store.revision()
    wrong = [SWAP[0], Move(generation=2, was=CaState.PREPARED, becomes=CaState.ACTIVE)]
    with pytest.raises(Conflict):
        store.move_generations("ssh-tunnel", wrong, LATER)
    assert states(store) == [CaState.ACTIVE, CaState.PUBLISHED]
    assert store.revision() == revision


def test_edges_are_told_by_a_revision_of_its_own(store: Store) -> None:
    published(store)
    found = store.generations("ssh-tunnel")[1]
    assert found.published_revision == store.revision()
    assert found.published_at == LATER
    assert store.changes_since(store.revision() - 1)[0].kind is ChangeKind.TRUST


def test_an_ended_generation_keeps_no_private_half(store: Store) -> None:
    published(store)
    store.move_generations("ssh-tunnel", SWAP, LATER)
    end = Move(generation=1, was=CaState.DRAINING, becomes=CaState.RETIRED)
    store.move_generations("ssh-tunnel", [end], LATER)
    retired = store.generations("ssh-tunnel")[0]
    assert retired.private_sealed is None
    assert retired.retired_at == LATER
    assert store.unfinished_rotations() == ()


def test_a_sockets_row_names_the_key_that_signs(store: Store) -> None:
    owner = rows.account()
    store.add_account(owner)
    socket = rows.socket(owner, ssh_ca_public="ssh-ed25519 AAAA1")
    ca_id = f"ssh-user:{socket.socket_id}"
    store.add_socket(socket, ports=rows.PORTS, user_ca=generation(ca_id=ca_id))
    store.add_next_generation(generation(2, ca_id=ca_id, state=CaState.PREPARED))
    move = Move(generation=2, was=CaState.PREPARED, becomes=CaState.PUBLISHED)
    store.move_generations(ca_id, [move], LATER)
    store.move_generations(ca_id, SWAP, LATER)
    found = store.find_socket(socket.socket_id)
    assert found is not None
    assert found.ssh_ca_public == "ssh-ed25519 AAAA2"
    last = store.changes_since(store.revision() - 1)[0]
    assert (last.kind, last.entity_id) == (ChangeKind.SOCKET, socket.socket_id)


def test_a_socket_and_its_ca_come_and_go_together(store: Store) -> None:
    owner = rows.account()
    store.add_account(owner)
    socket = rows.socket(owner)
    ca_id = f"ssh-user:{socket.socket_id}"
    store.add_socket(socket, ports=rows.PORTS, user_ca=generation(ca_id=ca_id))
    twice = rows.socket(owner, dns_name=socket.dns_name)
    with pytest.raises(Conflict):
        store.add_socket(twice, ports=rows.PORTS, user_ca=generation(ca_id="ssh-user:other"))
    assert store.generations("ssh-user:other") == ()

    store.delete_socket(owner.account_id, socket.socket_id, LATER)
    (gone,) = store.generations(ca_id)
    assert (gone.state, gone.private_sealed) == (CaState.RETIRED, None)


def test_the_last_end_counts_what_the_trusted_key_is_needed_for(store: Store) -> None:
    assert store.last_end_under("k") is None
    for number, minutes in enumerate((3, 7, 5)):
        store.record_certificate(
            rows.certificate(
                serial=f"{number}", ca_key_id="k", not_after=NOW + timedelta(minutes=minutes)
            )
        )
    store.record_certificate(
        rows.certificate(
            serial="s",
            ca_key_id="k",
            kind=CertificateKind.X509_SERVER,
            not_after=NOW + timedelta(days=7),
        )
    )
    assert store.last_end_under("k") == NOW + timedelta(minutes=7)
