"""The root's own revocation list: the issuing CAs that were withdrawn.

Edges are told which issuing CAs to trust. Whoever trusts the root, as browsers do, takes what an
issuing CA signs until that has ended, whoever has its key; this list is what says otherwise. The
root's key may be on another machine, or in a safe. So a list is made whenever an issuing CA is
withdrawn where the key is at hand, kept in the database, and given out from there by every gateway.
"""

import logging
from datetime import datetime, timedelta

from cryptography import x509

from ca.crl import RevokedX509, make_crl
from ca.errors import CaError
from idp_gateway.ca_files import CLOCKS_DIFFER, RootFiles
from idp_gateway.ca_generations import X509_ISSUING
from idp_gateway.clock import Clock
from idp_gateway.errors import NotFound
from idp_gateway.records import CaGenerationRecord, CaState, RootListRecord
from idp_gateway.store import Store

log = logging.getLogger(__name__)

ROOT_LIST_LIFE = timedelta(days=365)
"""So long may the root's key stay in a safe; a verifier that asks for lists then takes nothing."""
MADE_ANEW_AFTER = timedelta(days=30)
"""Where the root's key is at hand, a list is made anew at this age although nothing happened."""


class RootList:
    """Makes and gives out the list of the root that is above the issuing CA in use."""

    def __init__(self, *, store: Store, root: RootFiles, clock: Clock) -> None:
        self._store = store
        self._root = root
        self._clock = clock

    def current(self) -> bytes:
        """The newest list, DER.

        Raises:
            NotFound: none was ever made.
        """
        kept = self._kept(self._store.generations(X509_ISSUING))
        if kept is None:
            raise NotFound("the root has no list yet", reason="root-list-missing")
        return kept.content

    def may_name(self, record: CaGenerationRecord) -> bool:
        """Whether an issuing CA is below the root whose list this is: one that is below a root that
        was replaced is named by no list.
        """
        return _root(record) == _root(_in_use(self._store.generations(X509_ISSUING)))

    def follow(self, *, anew: bool = False) -> bool:
        """Make the list anew if it is due, or asked for; whether it then says what it has to.

        It does not if the root's key is not here, or unusable, which is logged.
        """
        known = self._store.generations(X509_ISSUING)
        kept = self._kept(known)
        root = _root(_in_use(known))
        withdrawn = [
            _entry(one) for one in known if one.state is CaState.WITHDRAWN and _root(one) == root
        ]
        is_whole = kept is not None and _serials(kept) == {one.serial for one in withdrawn}
        if is_whole and kept is not None and not anew:
            age = self._clock() - kept.made_at
            if -CLOCKS_DIFFER <= age < MADE_ANEW_AFTER:
                return True
        try:
            return self._make(_in_use(known), withdrawn, kept) or (is_whole and not anew)
        except CaError as error:
            log.warning("the root signs no list: %s", error)
            return is_whole and not anew

    def _make(
        self, in_use: CaGenerationRecord, withdrawn: list[RevokedX509], kept: RootListRecord | None
    ) -> bool:
        root = self._root.root_above(in_use.public)
        if root is None:
            return False
        now = self._clock()
        number = 1 if kept is None else kept.number + 1
        start = now - CLOCKS_DIFFER
        content = make_crl(
            root,
            number=number,
            revoked=withdrawn,
            this_update=start,
            next_update=min(start + ROOT_LIST_LIFE, root.not_after),
            longest=ROOT_LIST_LIFE,
        )
        record = RootListRecord(root=_root(in_use), number=number, made_at=now, content=content)
        return self._store.keep_root_list(record)

    def _kept(self, known: tuple[CaGenerationRecord, ...]) -> RootListRecord | None:
        return self._store.root_list(_root(_in_use(known)))


def _in_use(known: tuple[CaGenerationRecord, ...]) -> CaGenerationRecord:
    return next(one for one in known if one.state is CaState.ACTIVE)


def _root(record: CaGenerationRecord) -> str:
    """The serial number of the root above an issuing CA, hex."""
    chain = x509.load_pem_x509_certificates(record.public.encode("ascii"))
    return format(chain[-1].serial_number, "x")


def _entry(record: CaGenerationRecord) -> RevokedX509:
    at: datetime = record.retired_at or record.created_at
    return RevokedX509(serial=int(record.key_id, 16), at=at)


def _serials(kept: RootListRecord) -> set[int]:
    return {one.serial_number for one in x509.load_der_x509_crl(kept.content)}
