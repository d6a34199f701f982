"""The keys of the CAs by generation: which one signs, which ones are trusted, and new ones.

One place knows how a generation's row, its private half and, for X.509, its certificate belong
together. Moving generations from state to state is ``idp_gateway.rotation``'s.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from cryptography.x509 import Certificate, load_pem_x509_certificate

from ca import ssh, x509
from ca.errors import CaError
from ca.signers.base import Signer
from ca.signers.probe import check_signs
from idp_gateway.ca_files import RootFiles
from idp_gateway.clock import Clock
from idp_gateway.errors import Conflict, NotFound
from idp_gateway.records import CaGenerationRecord, CaState
from idp_gateway.signing import FILE, MadeKey, Signing
from idp_gateway.store import Store
from idp_gateway.store.generations import USER_CA

log = logging.getLogger(__name__)

SSH_HOST = "ssh-host"
SSH_TUNNEL = "ssh-tunnel"
X509_ISSUING = "x509-issuing"

TRUSTED = frozenset({CaState.PUBLISHED, CaState.ACTIVE, CaState.DRAINING})
"""States in which verifiers are told to trust a key."""

RENEW_BEFORE = timedelta(days=60)
"""An issuing CA with less life left than this is followed by a new one."""

REMEMBERED_SECONDS = 1.0
"""How long a gateway goes on with the key it knows to sign, after another one moved on."""

_MOST_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGeneration:
    """A generation that can sign."""

    record: CaGenerationRecord
    signer: Signer


def user_ca_id(socket_id: str) -> str:
    """The id of a socket's own SSH user CA."""
    return f"{USER_CA}{socket_id}"


class Generations:
    """Reads, opens and makes generations; may be used from several threads."""

    def __init__(
        self,
        *,
        store: Store,
        signing: Signing,
        root: RootFiles,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._signing = signing
        self._root = root
        self._clock = clock
        self._monotonic = monotonic
        self._known: OrderedDict[str, tuple[float, CaGenerationRecord]] = OrderedDict()
        self._issuers: dict[str, x509.Issuer] = {}
        self._lock = Lock()

    def active(self, ca_id: str) -> OpenGeneration:
        """The generation that signs, opened.

        Raises:
            NotFound: there is no such CA.
            ca.errors.KeyStoreError: its key is gone or does not open.
            ca.errors.IssuanceError: the place of its key is out of reach.
        """
        record = self._remembered(ca_id)
        return OpenGeneration(record=record, signer=self._signing.open(record))

    def signing(self, ca_id: str) -> CaGenerationRecord:
        """The generation that signs, as it is on record: also while its key is out of reach.

        Raises:
            NotFound: there is no such CA.
        """
        return self._remembered(ca_id)

    def signs_here(self, ca_id: str) -> bool:
        """Whether this process itself signs for a CA: at once, and without waiting for anybody.

        Raises:
            NotFound: there is no such CA.
        """
        return self._remembered(ca_id).signer == FILE

    def issuer(self, record: CaGenerationRecord) -> x509.Issuer:
        """An X.509 generation as the issuer of certificates and revocation lists.

        Raises:
            ca.errors.KeyStoreError: its key or chain is not usable.
        """
        with self._lock:
            found = self._issuers.get(record.key_id)
        if found is None:
            found = x509.load_issuer(record.public.encode("ascii"), self._signing.open(record))
            with self._lock:
                self._issuers[record.key_id] = found
        return found

    def trusted(self, ca_id: str) -> tuple[CaGenerationRecord, ...]:
        """What verifiers are told to trust, oldest first, as the database has it now."""
        return tuple(r for r in self._store.generations(ca_id) if r.state in TRUSTED)

    def retired(self, ca_id: str) -> tuple[CaGenerationRecord, ...]:
        """What was trusted until the end of everything it had signed, oldest first."""
        return tuple(r for r in self._store.generations(ca_id) if r.state is CaState.RETIRED)

    def first(self, ca_id: str) -> CaGenerationRecord:
        """The generation that signs; the first one is made if there is none yet."""
        found = self._store.active_generation(ca_id)
        if found is not None:
            return found
        made = self.new(ca_id, generation=1, state=CaState.ACTIVE)
        kept = self._store.add_first_generation(made)
        if kept.key_id != made.key_id:
            self.give_back(made)
        return kept

    def next(self, ca_id: str, *, new_root: bool = False) -> CaGenerationRecord:
        """A key to follow the newest generation, kept as prepared. With ``new_root`` an issuing CA
        may be below another root than those before.

        Raises:
            NotFound: there is no such CA.
            Conflict: a rotation of this CA is under way.
            ca.errors.KeyStoreError: the root of the issuing CA is on another machine.
        """
        known = self._store.generations(ca_id)
        if not any(record.state is CaState.ACTIVE for record in known):
            raise NotFound(f"there is no CA {ca_id}", reason="ca-unknown")
        if ca_id == X509_ISSUING and not new_root:
            for record in known:
                if record.state in TRUSTED:
                    self._root.check_below(record.public, self._clock())
        made = self.new(ca_id, generation=known[-1].generation + 1, state=CaState.PREPARED)
        try:
            self._store.add_next_generation(made)
        except Conflict:
            self.give_back(made)
            raise
        return made

    def new(self, ca_id: str, *, generation: int, state: CaState) -> CaGenerationRecord:
        """A generation with a fresh key, not kept yet.

        Raises:
            ca.errors.IssuanceError: the place of the key is out of reach, or has none to give.
        """
        taken = self._store.key_references()
        return self.described(
            ca_id, self._signing.make(ca_id, taken=taken), generation=generation, state=state
        )

    def described(
        self,
        ca_id: str,
        made: MadeKey,
        *,
        generation: int,
        state: CaState,
        chain: str | None = None,
    ) -> CaGenerationRecord:
        """The row of a key; ``chain`` is the certificate it already has, if it is X.509."""
        now = self._clock()
        public, key_id = self._public(ca_id, made.signer, chain, now)
        return CaGenerationRecord(
            ca_id=ca_id,
            generation=generation,
            state=state,
            public=public,
            key_id=key_id,
            signer=made.backend,
            private_sealed=made.private_sealed,
            key_reference=made.key_reference,
            created_at=now,
            activated_at=now if state is CaState.ACTIVE else None,
        )

    def check_signs(self, record: CaGenerationRecord) -> None:
        """Let a key sign something before it has to.

        Raises:
            ca.errors.CaError: it cannot be had, or does not sign.
        """
        check_signs(self._signing.open(record))

    def try_new_key(self, ca_id: str) -> MadeKey:
        """Make a key as for a new generation, and give it back at once.

        Raises:
            ca.errors.CaError: there would be none.
        """
        return self._signing.try_out(ca_id, taken=self._store.key_references())

    def issuing_ca_outlived(self) -> bool:
        """Whether an issuing CA in use is near its end, or may not be limited as new ones are."""
        return any(
            self._outlived(record)
            for record in self.trusted(X509_ISSUING)
            if record.state in {CaState.ACTIVE, CaState.DRAINING}
        )

    def names_changed(self) -> bool:
        """Whether the issuing CA that signs is limited to other names than this gateway's."""
        # Not as an issuer: a gateway starts, and serves who is in, while a token is out of reach.
        certificate = _certificate(self._remembered(X509_ISSUING))
        return x509.is_limited(certificate) and not self._root.limits_fit(certificate)

    def _outlived(self, record: CaGenerationRecord) -> bool:
        certificate = _certificate(record)
        near = certificate.not_valid_after_utc - self._clock() <= RENEW_BEFORE
        return near or not self._root.limits_fit(certificate)

    def give_back(self, record: CaGenerationRecord) -> None:
        """Leave a key that no row was made for."""
        self._end(record, self._signing.give_back)

    def end_keys(self, records: Iterable[CaGenerationRecord]) -> None:
        """Make keys unusable that no row keeps any more; what is out of reach is logged."""
        for record in records:
            self._end(record, self._signing.destroy)

    @staticmethod
    def _end(record: CaGenerationRecord, end: Callable[[CaGenerationRecord], None]) -> None:
        try:
            end(record)
        except CaError as error:
            log.warning(
                "the key %s of %s is still in its %s: %s",
                *(record.key_id, record.ca_id, record.signer, error),
            )

    def forget(self) -> None:
        """Look anew at which keys sign."""
        with self._lock:
            self._known.clear()

    def _remembered(self, ca_id: str) -> CaGenerationRecord:
        with self._lock:
            at, record = self._known.get(ca_id, (0.0, None))
        if record is not None and self._monotonic() - at < REMEMBERED_SECONDS:
            return record
        looked = self._monotonic()
        record = self._store.active_generation(ca_id)
        if record is None:
            raise NotFound(f"there is no CA {ca_id}", reason="ca-unknown")
        with self._lock:
            self._known[ca_id] = (looked, record)
            self._known.move_to_end(ca_id)
            if len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)
        return record

    def _public(
        self, ca_id: str, signer: Signer, chain: str | None, now: datetime
    ) -> tuple[str, str]:
        """What a row shows of a key: public half or chain, and the id certificates name it by."""
        if ca_id != X509_ISSUING:
            line = ssh.ca_public_line(signer)
            return line, ssh.fingerprint(line)
        if chain is None:
            issuer = self._root.make_issuing_ca(signer, now)
        else:
            issuer = x509.load_issuer(chain.encode("ascii"), signer)
        key_id = format(issuer.certificate.serial_number, "x")
        return issuer.trust_pem.decode("ascii"), key_id


def _certificate(record: CaGenerationRecord) -> Certificate:
    """The CA's own certificate; its row was checked when it was made."""
    return load_pem_x509_certificate(record.public.encode("ascii"))
