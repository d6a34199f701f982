"""The transparency log: no certificate leaves that is not on record and in the tree.

``append`` makes the certificate's row, its leaf and a signed checkpoint durable in one transaction
and only then returns the proof. Callers that come while a transaction is under way share the next
one: its disk write and its checkpoint are one for all of them (group commit).
"""

import asyncio
import base64
import binascii
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ca.formats import merkle
from ca.formats.checkpoint import Checkpoint, LogKey
from ca.formats.log_proof import InclusionProof, LogEntry
from ca.keybox import KeyBox
from idp_gateway.clock import Clock
from idp_gateway.errors import Conflict, NotFound
from idp_gateway.records import (
    CertificateRecord,
    DecisionRecord,
    LogCheckpointRecord,
    LogLeafRecord,
    SigningKeyRecord,
)
from idp_gateway.store import Store
from idp_gateway.store.log import LogGrowth, LogTransaction

LARGEST_GROUP = 256
"""Certificates that share one transaction, at most."""

_PURPOSE = "ca-log"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(at: datetime) -> int:
    """``at`` as the log counts time: milliseconds since 1970 UTC, rounded down."""
    return (at - _BEGINNING) // timedelta(milliseconds=1)


def entry_of(certificate: CertificateRecord) -> LogEntry:
    """The leaf a certificate on record must have.

    Raises:
        ValueError: the record's body is no certificate.
    """
    at = milliseconds(certificate.issued_at)
    if certificate.body.startswith("-----BEGIN"):
        parsed = x509.load_pem_x509_certificate(certificate.body.encode("ascii"))
        der = parsed.public_bytes(serialization.Encoding.DER)
        return LogEntry(kind="x509", issued_at_ms=at, certificate=der)
    words = certificate.body.split(" ")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error) as error:
        raise ValueError("the body is no SSH certificate") from error
    return LogEntry(kind="ssh", issued_at_ms=at, certificate=blob)


@dataclass(frozen=True, slots=True)
class _Waiting:
    certificate: CertificateRecord
    entry: LogEntry
    decision: DecisionRecord | None
    proof: "Future[InclusionProof]"


class IssuanceLog:
    """The one log of a gateway's database; safe in any thread."""

    def __init__(self, *, store: Store, box: KeyBox, origin: str, clock: Clock) -> None:
        """Load the log's key, or make it; ``origin`` names the log when its key is made.

        Raises:
            ca.errors.SealBrokenError: the key does not open with this master key.
        """
        self._store = store
        self._clock = clock
        self.key, self._private = _load_key(store, box, f"{origin}/ca/log", clock)
        self._key_hash = self.key.key_hash
        self._frontier = merkle.Frontier()
        self._lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._writing = False
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="issuance-log")

    def append(
        self,
        certificate: CertificateRecord,
        entry: LogEntry,
        *,
        decision: DecisionRecord | None = None,
    ) -> InclusionProof:
        """Put an issuance on record; durable when this returns, and only then may it leave.

        ``decision`` is what the certificate rests on, if that is to be kept with it.

        Raises:
            Conflict: the serial number was given out before.
        """
        return self._submit(certificate, entry, decision).result()

    async def append_soon(
        self,
        certificate: CertificateRecord,
        entry: LogEntry,
        *,
        decision: DecisionRecord | None = None,
    ) -> InclusionProof:
        """As ``append``, without a thread that waits."""
        return await asyncio.wrap_future(self._submit(certificate, entry, decision))

    def checkpoint(self) -> str:
        """The newest signed checkpoint."""
        kept = self._store.newest_checkpoint()
        return self._sign(merkle.Frontier()) if kept is None else kept.note

    def proof(self, serial: str) -> InclusionProof:
        """The proof of a certificate's leaf against the newest checkpoint.

        Raises:
            NotFound: no leaf has this serial number.
        """
        leaf = self._store.find_leaf(serial)
        kept = self._store.newest_checkpoint()
        if leaf is None or kept is None:
            raise NotFound("no certificate with this serial number is in the log")
        path = self._walk(lambda node: merkle.inclusion_path(leaf.leaf_index, kept.tree_size, node))
        return InclusionProof(
            index=leaf.leaf_index,
            issued_at_ms=milliseconds(leaf.issued_at),
            hashes=path,
            checkpoint=kept.note,
        )

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Proof that the tree of ``old`` leaves is a prefix of that of ``new``.

        Raises:
            NotFound: the log has no such sizes, in this order.
        """
        kept = self._store.newest_checkpoint()
        if not 0 <= old <= new <= (kept.tree_size if kept else 0):
            raise NotFound("the log has no such sizes", reason="log-size-unknown")
        return self._walk(lambda node: merkle.consistency_path(old, new, node))

    def close(self) -> None:
        """Finish what is under way; nothing may be appended afterwards."""
        self._writer.shutdown(wait=True)

    def _walk(self, path: Callable[[merkle.Lookup], tuple[bytes, ...]]) -> tuple[bytes, ...]:
        hashes = self._store.log_hashes(merkle.nodes_needed(path))
        return path(hashes.__getitem__)

    def _submit(
        self, certificate: CertificateRecord, entry: LogEntry, decision: DecisionRecord | None
    ) -> "Future[InclusionProof]":
        if entry.issued_at_ms != milliseconds(certificate.issued_at):
            raise ValueError("record and leaf are of one time")
        proof: Future[InclusionProof] = Future()
        # What is queued gets written: a caller who stops waiting must not stop the others.
        proof.set_running_or_notify_cancel()
        waiting = _Waiting(certificate, entry, decision, proof)
        with self._lock:
            self._queue.append(waiting)
            start, self._writing = not self._writing, True
        if start:
            self._writer.submit(self._write_all)
        return waiting.proof

    def _write_all(self) -> None:
        while group := self._next_group():
            try:
                proofs = self._write(group)
            except Conflict as error:
                self._one_by_one(group, error)
            except BaseException as error:  # noqa: BLE001 - it is the callers'
                _fail(group, error)
            else:
                for waiting, proof in zip(group, proofs, strict=True):
                    waiting.proof.set_result(proof)

    def _next_group(self) -> Sequence[_Waiting]:
        with self._lock:
            group = self._queue[:LARGEST_GROUP]
            del self._queue[:LARGEST_GROUP]
            self._writing = bool(group)
        return group

    def _one_by_one(self, group: Sequence[_Waiting], error: Conflict) -> None:
        """Only who brought the clash is refused."""
        if len(group) == 1:
            _fail(group, error)
            return
        for waiting in group:
            try:
                (proof,) = self._write([waiting])
            except BaseException as failure:  # noqa: BLE001 - it is the caller's
                waiting.proof.set_exception(failure)
            else:
                waiting.proof.set_result(proof)

    def _write(self, group: Sequence[_Waiting]) -> list[InclusionProof]:
        with self._store.appending() as transaction:
            before = self._current(transaction)
            leaves = [waiting.entry.leaf_hash() for waiting in group]
            after, made = before.grow(leaves)
            note = self._sign(after)
            transaction.add(
                LogGrowth(
                    certificates=[
                        replace(waiting.certificate, log_index=before.size + place)
                        for place, waiting in enumerate(group)
                    ],
                    decisions=[w.decision for w in group if w.decision is not None],
                    leaves=[
                        LogLeafRecord(
                            leaf_index=before.size + place,
                            leaf_hash=leaves[place],
                            serial=waiting.certificate.serial,
                            issued_at=waiting.certificate.issued_at,
                        )
                        for place, waiting in enumerate(group)
                    ],
                    nodes={node: made[node] for node in made if node[0] > 0},
                    checkpoint=LogCheckpointRecord(
                        tree_size=after.size, root_hash=after.root, note=note, at=self._clock()
                    ),
                )
            )
        self._frontier = after
        known = {**before.nodes(), **made}
        return [
            InclusionProof(
                index=before.size + place,
                issued_at_ms=waiting.entry.issued_at_ms,
                hashes=merkle.inclusion_path(before.size + place, after.size, known.__getitem__),
                checkpoint=note,
            )
            for place, waiting in enumerate(group)
        ]

    def _current(self, transaction: LogTransaction) -> merkle.Frontier:
        """The tree as the database has it now: another gateway may have gone on with it."""
        size, root = transaction.tip() or (0, merkle.EMPTY_ROOT)
        if (self._frontier.size, self._frontier.root) != (size, root):
            hashes = transaction.hashes(merkle.peaks_of(size))
            self._frontier = merkle.Frontier.read(size, hashes.__getitem__)
        return self._frontier

    def _sign(self, tree: merkle.Frontier) -> str:
        checkpoint = Checkpoint(origin=self.key.origin, size=tree.size, root=tree.root)
        return checkpoint.sign(self._private, key_hash=self._key_hash)


def _fail(group: Iterable[_Waiting], error: BaseException) -> None:
    for waiting in group:
        waiting.proof.set_exception(error)


def _load_key(
    store: Store, box: KeyBox, origin: str, clock: Clock
) -> tuple[LogKey, Ed25519PrivateKey]:
    def make() -> SigningKeyRecord:
        private = Ed25519PrivateKey.generate()
        key = LogKey(origin=origin, public=private.public_key())
        return SigningKeyRecord(
            purpose=_PURPOSE,
            key_id=key.key_hash.hex(),
            public={"key": str(key)},
            private_sealed=box.seal(
                private.private_bytes_raw(), purpose=_PURPOSE, object_id=_PURPOSE
            ),
            created_at=clock(),
        )

    record = store.signing_key(_PURPOSE, make)
    raw = box.open(record.private_sealed, purpose=_PURPOSE, object_id=_PURPOSE)
    return LogKey.parse(record.public["key"]), Ed25519PrivateKey.from_private_bytes(raw)
