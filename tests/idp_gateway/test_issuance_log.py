"""The transparency log: durable records, proofs that verify, groups, and two gateways at once."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ca.formats import merkle
from ca.formats.checkpoint import LogKey
from ca.formats.log_proof import InclusionProof, LogEntry, ProofError
from ca.keybox import KeyBox
from idp_gateway.errors import Conflict, NotFound
from idp_gateway.issuance_log import IssuanceLog, entry_of, milliseconds
from idp_gateway.records import CertificateKind, CertificateRecord
from idp_gateway.store import Database, Store
from idp_gateway.store.log import LogTransaction
from tests.support import rows
from tests.support.postgres import Postgres, running_postgres
from tests.support.ready_database import new_postgres, place_sqlite

BOX = KeyBox(bytes(32))


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{place_sqlite(tmp_path / 'gateway.db')}"
    return new_postgres(request.getfixturevalue("postgres"))


@contextmanager
def opened(database_url: str) -> Iterator[tuple[Store, IssuanceLog]]:
    """One gateway's store and log."""
    database = Database(database_url)
    store = Store(database)
    log = IssuanceLog(store=store, box=BOX, origin="gateway.test", clock=lambda: rows.NOW)
    yield store, log
    log.close()
    database.close()


def ssh_record(**changes: Any) -> tuple[CertificateRecord, LogEntry]:
    plain = rows.certificate(kind=CertificateKind.SSH_USER, issued_at=rows.NOW, **changes)
    blob = base64.b64encode(f"certificate {plain.serial}".encode()).decode()
    record = replace(plain, body=f"ssh-x-cert {blob}")
    return record, entry_of(record)


def check(log: IssuanceLog, entry: LogEntry, proof: InclusionProof) -> int:
    again = InclusionProof.from_json(proof.to_json())
    return again.verify(entry, LogKey.parse(str(log.key))).size


def test_a_certificate_is_on_record_with_its_place_before_the_proof(database_url: str) -> None:
    with opened(database_url) as (store, log):
        for place in range(9):
            record, entry = ssh_record()
            proof = log.append(record, entry)
            assert proof.index == place
            assert check(log, entry, proof) == place + 1
            kept = store.find_certificate(record.serial)
            assert kept is not None
            assert kept.log_index == place
            assert entry_of(kept) == entry


def test_a_proof_is_for_this_certificate_and_time_only(database_url: str) -> None:
    with opened(database_url) as (_, log):
        record, entry = ssh_record()
        proof = log.append(record, entry)
        other = LogEntry(kind="ssh", issued_at_ms=entry.issued_at_ms, certificate=b"another")
        late = LogEntry(
            kind="ssh", issued_at_ms=entry.issued_at_ms + 1, certificate=entry.certificate
        )
        for wrong in (other, late):
            with pytest.raises(ProofError):
                proof.verify(wrong, log.key)


def test_a_serial_number_is_given_out_once(database_url: str) -> None:
    with opened(database_url) as (store, log):
        record, entry = ssh_record()
        log.append(record, entry)
        with pytest.raises(Conflict):
            log.append(record, entry)
        later, its = ssh_record()
        assert log.append(later, its).index == 1
        assert store.newest_checkpoint() is not None


def test_a_serial_number_stays_taken_when_the_certificate_is_forgotten(database_url: str) -> None:
    with opened(database_url) as (store, log):
        record, entry = ssh_record()
        log.append(record, entry)
        store.forget_audit(rows.NOW + timedelta(days=400))
        assert store.find_certificate(record.serial) is None
        with pytest.raises(Conflict):
            log.append(record, entry)
        assert check(log, entry, log.proof(record.serial)) == 1


async def test_callers_that_wait_together_share_a_transaction(database_url: str) -> None:
    with opened(database_url) as (store, log):
        made = [ssh_record() for _ in range(40)]
        proofs = await asyncio.gather(*(log.append_soon(*pair) for pair in made))
        sizes = {check(log, entry, proof) for (_, entry), proof in zip(made, proofs, strict=True)}
        assert sorted(proof.index for proof in proofs) == list(range(40))
        assert len(sizes) < 40
        newest = store.newest_checkpoint()
        assert newest is not None
        assert newest.tree_size == 40


async def test_who_stops_waiting_stops_nobody_else(database_url: str) -> None:
    with opened(database_url) as (store, log):
        pairs = [ssh_record() for _ in range(4)]
        waiting = [asyncio.ensure_future(log.append_soon(*pair)) for pair in pairs]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[2].cancel()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(answer, InclusionProof) for answer in answers] == [False, True] * 2
        assert (await log.append_soon(*ssh_record())).index == 4
        assert store.find_certificate(pairs[0][0].serial) is not None


async def test_in_a_group_only_the_clash_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(database_url) as (_, log):
        taken, its = ssh_record()
        log.append(taken, its)
        held = threading.Event()
        current = IssuanceLog._current

        def hold(self: IssuanceLog, transaction: LogTransaction) -> merkle.Frontier:
            assert held.wait(10)
            return current(self, transaction)

        monkeypatch.setattr(IssuanceLog, "_current", hold)
        pairs = [ssh_record(), ssh_record(), (taken, its), ssh_record()]
        waiting = [asyncio.ensure_future(log.append_soon(*pair)) for pair in pairs]
        await asyncio.sleep(0)
        held.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(answer, Conflict) for answer in answers] == [False, False, True, False]
        places = sorted(a.index for a in answers if isinstance(a, InclusionProof))
        assert places == [1, 2, 3]


def test_nothing_is_kept_of_a_transaction_that_fails(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(database_url) as (store, log):
        record, entry = ssh_record()

        def fail(self: LogTransaction, growth: object) -> None:
            add(self, growth)
            raise OSError("disk full")

        add: Any = LogTransaction.add
        monkeypatch.setattr(LogTransaction, "add", fail)
        with pytest.raises(OSError, match="disk full"):
            log.append(record, entry)
        monkeypatch.undo()
        assert store.find_certificate(record.serial) is None
        assert store.newest_checkpoint() is None
        assert check(log, entry, log.append(record, entry)) == 1


def test_two_gateways_grow_one_tree(database_url: str) -> None:
    with opened(database_url) as (store, one), opened(database_url) as (_, two):
        assert str(one.key) == str(two.key)
        pairs = [ssh_record() for _ in range(40)]
        with ThreadPoolExecutor(8) as pool:
            logs = [one, two] * 20
            proofs = list(pool.map(lambda log, pair: log.append(*pair), logs, pairs))
        assert sorted(proof.index for proof in proofs) == list(range(40))
        for (_, entry), proof in zip(pairs, proofs, strict=True):
            check(one, entry, proof)
        nodes = store.log_hashes((0, place) for place in range(40))
        grown, _ = merkle.Frontier().grow(nodes[0, place] for place in range(40))
        newest = store.newest_checkpoint()
        assert newest is not None
        assert newest.root_hash == grown.root


def test_old_leaves_and_sizes_are_proved_against_the_newest_checkpoint(database_url: str) -> None:
    with opened(database_url) as (_, log):
        pairs = [ssh_record() for _ in range(23)]
        roots = {0: merkle.EMPTY_ROOT}
        for record, entry in pairs:
            checkpoint = log.append(record, entry).verify(entry, log.key)
            roots[checkpoint.size] = checkpoint.root
        newest = log.key.open(log.checkpoint())
        for record, entry in pairs:
            assert check(log, entry, log.proof(record.serial)) == 23
        for size in range(24):
            assert merkle.verify_consistency(
                old=size,
                old_root=roots[size],
                new=23,
                new_root=newest.root,
                path=log.consistency(size, 23),
            )
        for old, new in ((5, 4), (-1, 4), (0, 24)):
            with pytest.raises(NotFound):
                log.consistency(old, new)
        with pytest.raises(NotFound):
            log.proof("never")


def test_an_empty_log_has_a_checkpoint(database_url: str) -> None:
    with opened(database_url) as (_, log):
        empty = log.key.open(log.checkpoint())
        assert (empty.size, empty.root) == (0, merkle.EMPTY_ROOT)
        assert log.consistency(0, 0) == ()


def test_old_checkpoints_are_forgotten_but_the_newest(database_url: str) -> None:
    with opened(database_url) as (store, log):
        for _ in range(3):
            log.append(*ssh_record())
        store.forget_checkpoints(rows.NOW + timedelta(days=1))
        assert log.key.open(log.checkpoint()).size == 3


def test_a_leaf_has_the_time_of_its_record(database_url: str) -> None:
    with opened(database_url) as (_, log):
        record, entry = ssh_record()
        wrong = LogEntry(kind="ssh", issued_at_ms=1, certificate=entry.certificate)
        with pytest.raises(ValueError, match="one time"):
            log.append(record, wrong)


def test_milliseconds_are_exact() -> None:
    at = rows.NOW + timedelta(microseconds=123_999)
    assert milliseconds(at) - milliseconds(rows.NOW) == 123
