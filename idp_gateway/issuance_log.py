"""The transparency log: no certificate leaves that is not on record and in the tree.

``append`` makes the certificate's row, its leaf and a signed checkpoint durable in one transaction
and only then returns the proof. Callers that come while a transaction is under way share the next
one: its disk write and its checkpoint are one for all of them (group commit).
"""

import asyncio
import base64
import binascii
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ca.formats import merkle
from ca.formats.checkpoint import Checkpoint, LogKey
from ca.formats.log_proof import InclusionProof, LogEntry
from ca.keybox import KeyBox
from idp_gateway.clock import Clock
from idp_gateway.errors import Conflict, NotFound
from idp_gateway.log_leaves import leaf_record
from idp_gateway.records import (
    CertificateRecord,
    DecisionRecord,
    LogCheckpointRecord,
    SigningKeyRecord,
)
from idp_gateway.store import Store
from idp_gateway.store.log import LogGrowth, LogTransaction

LARGEST_GROUP = 256
"""Certificates that share one transaction, at most."""
MOST_GATHERING = 0.005
"""Seconds for which others may join a transaction before it begins."""

_PURPOSE = "ca-log"
_REMEMBERED_OWNERS = 4096
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
    settle: Callable[[InclusionProof | BaseException], None]
    """Tells the caller, from the writer's thread."""


class _Gathering:
    """What an event loop wants written. It is handed over when the loop has nothing to add for the
    moment, and nothing is being written: a group costs little more than one alone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: "_Writer") -> None:
        self._loop = loop
        self._writer = writer
        self._items: list[_Waiting] = []
        self._seen = 0
        self._began: float | None = None

    def add(self, waiting: _Waiting) -> None:
        self._items.append(waiting)
        if self._began is None:
            self._began, self._seen = self._loop.time(), 0
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """One turn of the loop later: hand over, or let those who just came in join."""
        if self._writer.call_when_idle(self._turn_soon):
            return
        grew, self._seen = len(self._items) > self._seen, len(self._items)
        late = self._loop.time() - (self._began or 0) > MOST_GATHERING
        if grew and not late and self._seen < LARGEST_GROUP:
            self._loop.call_soon(self._turn)
            return
        items, self._items, self._began = self._items, [], None
        try:
            self._writer.write(items)
        except RuntimeError as error:  # closed
            for waiting in items:
                waiting.settle(error)

    def _turn_soon(self) -> None:
        with suppress(RuntimeError):  # the loop was closed, and with it whoever waited
            self._loop.call_soon_threadsafe(self._turn)


class _Writer:
    """One thread that writes groups, in the order they came in."""

    def __init__(self, write: Callable[[Sequence[_Waiting]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._busy = False
        self._when_idle: list[Callable[[], None]] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="issuance-log")

    def write(self, items: Sequence[_Waiting]) -> None:
        with self._lock:
            self._queue += items
            start, self._busy = not self._busy, True
        if start:
            self._thread.submit(self._run)

    def call_when_idle(self, told: Callable[[], None]) -> bool:
        """Have ``told`` called when the writing is over; not, and ``False``, if nothing is."""
        with self._lock:
            if self._busy:
                self._when_idle.append(told)
            return self._busy

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def _run(self) -> None:
        while group := self._next():
            self._write(group)

    def _next(self) -> Sequence[_Waiting]:
        with self._lock:
            group = self._queue[:LARGEST_GROUP]
            del self._queue[:LARGEST_GROUP]
            self._busy = bool(group)
            told = [] if group else self._when_idle
            if told:
                self._when_idle = []
        for call in told:
            call()
        return group


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
        # A socket never changes hands.
        self._owner = lru_cache(_REMEMBERED_OWNERS)(partial(_owner_of, store))
        self._writer = _Writer(self._write_group)
        self._gatherings: WeakKeyDictionary[asyncio.AbstractEventLoop, _Gathering] = (
            WeakKeyDictionary()
        )

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
        proof: Future[InclusionProof] = Future()
        settle = partial(_settle, proof)
        self._writer.write([_checked(_Waiting(certificate, entry, decision, settle))])
        return proof.result()

    async def append_soon(
        self,
        certificate: CertificateRecord,
        entry: LogEntry,
        *,
        decision: DecisionRecord | None = None,
    ) -> InclusionProof:
        """As ``append``, without a thread that waits."""
        loop = asyncio.get_running_loop()
        proof: asyncio.Future[InclusionProof] = loop.create_future()
        settle = partial(_settle_soon, loop, proof)
        waiting = _checked(_Waiting(certificate, entry, decision, settle))
        gathering = self._gatherings.get(loop)
        if gathering is None:
            gathering = self._gatherings[loop] = _Gathering(loop, self._writer)
        gathering.add(waiting)
        return await proof

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
        self._writer.close()

    def _walk(self, path: Callable[[merkle.Lookup], tuple[bytes, ...]]) -> tuple[bytes, ...]:
        hashes = self._store.log_hashes(merkle.nodes_needed(path))
        return path(hashes.__getitem__)

    def _write_group(self, group: Sequence[_Waiting]) -> None:
        """Write a group and tell everybody in it; of a clash, only who brought it is told."""
        try:
            outcomes: Sequence[InclusionProof | BaseException] = self._write(group)
        except Conflict as error:
            if len(group) > 1:
                for waiting in group:
                    self._write_group([waiting])
                return
            outcomes = [error]
        except BaseException as error:  # noqa: BLE001 - it is the callers'
            outcomes = [error] * len(group)
        for waiting, outcome in zip(group, outcomes, strict=True):
            waiting.settle(outcome)

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
                        leaf_record(
                            waiting.certificate,
                            waiting.entry,
                            leaf_index=before.size + place,
                            leaf_hash=leaves[place],
                            account_id=self._owner(waiting.certificate.socket_id),
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


def _checked(waiting: _Waiting) -> _Waiting:
    if waiting.entry.issued_at_ms != milliseconds(waiting.certificate.issued_at):
        raise ValueError("record and leaf are of one time")
    return waiting


def _owner_of(store: Store, socket_id: str | None) -> str | None:
    socket = None if socket_id is None else store.find_socket(socket_id)
    return None if socket is None else socket.account_id


def _settle(
    proof: "Future[InclusionProof] | asyncio.Future[InclusionProof]",
    outcome: InclusionProof | BaseException,
) -> None:
    if proof.done():  # whoever waited has gone
        return
    if isinstance(outcome, BaseException):
        proof.set_exception(outcome)
    else:
        proof.set_result(outcome)


def _settle_soon(
    loop: asyncio.AbstractEventLoop,
    proof: "asyncio.Future[InclusionProof]",
    outcome: InclusionProof | BaseException,
) -> None:
    with suppress(RuntimeError):  # the loop was closed, and with it whoever waited
        loop.call_soon_threadsafe(_settle, proof, outcome)


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
