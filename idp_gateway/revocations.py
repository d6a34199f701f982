"""Taking certificates back: by person, by key, by serial, or everything of a socket.

What is revoked ends in three ways at once: no new certificate is issued, the socket's epoch ends
(which TLS and HTTP grants do not survive), and the lists that plain verifiers read name what would
still be good: a KRL for each socket's sshd and a CRL for the issuing CA.
"""

import re
import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from ca.crl import MAX_REVOKED, RevokedX509
from ca.formats.krl import Krl, RevokedByCa, renumbered
from ca.formats.krl_serials import MAX_SERIAL
from ca.formats.ssh_certificate import parse_certificate_line
from ca.formats.ssh_keys import parse_key_line
from idp_gateway.ca_generations import SSH_HOST, user_ca_id
from idp_gateway.capacity import AskedList
from idp_gateway.composition import Gateway
from idp_gateway.errors import InvalidInput, NotFound, QuotaExceeded
from idp_gateway.kept_lists import (
    LONG_LISTS_KEPT_FOR,
    SLOWEST_CLOCK,
    KeptList,
    ListQuestion,
    MadeList,
    Named,
    right_until,
)
from idp_gateway.records import (
    AccountRecord,
    CaGenerationRecord,
    CaState,
    CertificateKind,
    RevocationRecord,
    RevocationScope,
    SocketRecord,
)
from idp_gateway.serials import as_kept
from idp_gateway.store import Store
from idp_gateway.store.named import RevokedCertificate
from policy.addresses import EmailAddress
from policy.types import Reason

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}|[0-9a-f]{64}")
_SERIAL = re.compile(r"[1-9a-f][0-9a-f]{0,39}")


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revocation that stands, and how many certificates the lists name because of it."""

    record: RevocationRecord
    listed: int


def revoke(
    gateway: Gateway,
    account: AccountRecord,
    socket_id: str,
    *,
    scope: RevocationScope,
    value: str,
    reason: str,
) -> Revoked:
    """Revoke on one of the account's sockets; in force for new certificates when this returns.

    Raises:
        InvalidInput: the value does not fit the scope.
        NotFound: no such socket of the account, or no such certificate of the socket.
        QuotaExceeded: as many of this scope stand as may.
        TooManyAttempts: too much is being changed for the account at once.
    """
    value = _canonical(scope, value)
    wanted = RevocationRecord(
        revocation_id=str(uuid.uuid4()),
        socket_id=socket_id,
        scope=scope,
        value=value,
        reason=reason,
        created_by=account.email,
        created_at=gateway.clock(),
    )
    with _turn(gateway, account):
        record = gateway.store.add_revocation(account.account_id, wanted)
        # Of many certificates this takes longer than all the rest.
        listed = gateway.store.count_revoked_by(record, gateway.clock() - SLOWEST_CLOCK)
    return Revoked(record, listed)


def lift(
    gateway: Gateway, account: AccountRecord, socket_id: str, revocation_id: str
) -> RevocationRecord:
    """Readmit a person or key; certificates that were revoked stay revoked.

    Raises:
        NotFound: no such socket of the account, or no such revocation of the socket.
        Conflict: it is of certificates.
        TooManyAttempts: too much is being changed for the account at once.
    """
    with _turn(gateway, account):
        return gateway.store.lift_revocation(
            account.account_id, socket_id, revocation_id, gateway.clock()
        )


def _turn(gateway: Gateway, account: AccountRecord) -> AbstractContextManager[None]:
    """Beside that of the account's other changes: nothing that somebody does to sockets or policies
    keeps the account from throwing them out.
    """
    return gateway.store.database.turn_of(f"revoking:{account.account_id}")


def krl_of(gateway: Gateway, socket: SocketRecord) -> AskedList:
    """The socket's key revocation list: what is revoked and would still open its sshd.

    Its number is the newest revision of anything: it never goes back, on any gateway. Where more
    is revoked than a list may name, it names all that a CA signed: rather nobody than anybody.
    """
    question = _krl_question(socket)

    def look() -> bytes | None:
        kept = gateway.lists.find(question)
        return None if kept is None else _numbered(gateway, kept)

    def make() -> bytes:
        made = gateway.lists.get(question, partial(_new_krl, gateway, socket))
        return _numbered(gateway, made)

    return AskedList(name=question, whose=socket.account_id, look=look, make=make)


def _krl_question(socket: SocketRecord) -> ListQuestion:
    return ListQuestion(
        kinds=(CertificateKind.SSH_USER, CertificateKind.SSH_HOST), socket_id=socket.socket_id
    )


def _numbered(gateway: Gateway, kept: KeptList) -> bytes:
    """The list, which was right at that revision, whenever it was made."""
    return renumbered(
        kept.made.content,
        number=kept.position.revision,
        generated_at=int(gateway.clock().timestamp()),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found for a list."""

    ends: list[datetime] = field(default_factory=list)
    """When something leaves it."""
    serials: list[str] = field(default_factory=list)
    """What it names one by one."""


def _new_krl(gateway: Gateway, socket: SocketRecord) -> MadeList:
    found = _Found()
    named = [one for ca in _krl_cas(socket) for one in _revoked_of(gateway, socket, *ca, found)]
    krl = Krl(
        comment=socket.dns_name.encode("ascii"),
        certificates=tuple(named),
        keys=_withdrawn_keys(gateway, socket),
    )
    until = right_until(gateway.clock(), found.ends)
    return MadeList(content=krl.encode(), until=until, named=Named(found.serials))


def socket_named(gateway: Gateway, dns_name: str) -> SocketRecord:
    """The socket of that public name.

    Raises:
        NotFound: there is none.
    """
    socket = gateway.store.find_socket_by_dns_name(dns_name.lower())
    if socket is None:
        raise NotFound("no such socket", reason=Reason.SOCKET_UNKNOWN)
    return socket


def crl_of(gateway: Gateway, ca_key_id: str | None) -> AskedList:
    """The DER list of the issuing CA that signs now, or of the trusted one of that key id.

    To look or to make raises QuotaExceeded if more is revoked than a list can name.

    Raises:
        NotFound: no such CA.
    """
    # Settled once: entries of one CA under the signature of another would undo revocations. And
    # before the list has a name: that of the CA that signs now is the same by its key id.
    issuing = gateway.authority.issuing_ca(ca_key_id)
    question = _crl_question(issuing)

    def look() -> bytes | None:
        kept = gateway.lists.find(question)
        return None if kept is None else _not_too_long(kept)

    def make() -> bytes:
        return _not_too_long(gateway.lists.get(question, partial(_new_crl, gateway, issuing)))

    return AskedList(name=question, whose=None, look=look, make=make)


def _crl_question(issuing: CaGenerationRecord) -> ListQuestion:
    return ListQuestion(kinds=(CertificateKind.X509_CLIENT,), ca_key_id=issuing.key_id)


def _new_crl(gateway: Gateway, issuing: CaGenerationRecord) -> MadeList:
    """The list; nothing, which is kept as well, if it would be too long."""
    now, position = gateway.clock(), gateway.store.position()
    found = gateway.store.live_revoked(
        now - SLOWEST_CLOCK, kinds=(CertificateKind.X509_CLIENT,), ca_key_id=issuing.key_id
    )
    until = right_until(now, [_leaves(one) for one in found])
    if len(found) > MAX_REVOKED:
        return MadeList(content=b"", until=until)
    revoked = [RevokedX509(serial=int(one.serial, 16), at=one.at) for one in found]
    content = gateway.authority.crl(issuing, revoked, position)
    return MadeList(content=content, until=until, named=Named(one.serial for one in found))


def _leaves(one: RevokedCertificate) -> datetime:
    """When a certificate leaves the lists: no verifier's clock is so slow that it is still good."""
    return one.not_after + SLOWEST_CLOCK


def _not_too_long(kept: KeptList) -> bytes:
    if not kept.made.content:
        raise QuotaExceeded(
            f"more than {MAX_REVOKED} certificates of this CA are revoked; it has to be rotated",
            reason="too-many-revoked",
        )
    return kept.made.content


def _krl_cas(socket: SocketRecord) -> tuple[tuple[CertificateKind, str], ...]:
    return (
        (CertificateKind.SSH_USER, user_ca_id(socket.socket_id)),
        (CertificateKind.SSH_HOST, SSH_HOST),
    )


def _withdrawn_keys(gateway: Gateway, socket: SocketRecord) -> tuple[bytes, ...]:
    """CA keys that were withdrawn, maybe because they are in other hands.

    A verifier somebody set up by hand may trust them still; naming the key ends all it signed.
    """
    return tuple(
        parse_key_line(record.public).blob
        for _, ca_id in _krl_cas(socket)
        for record in gateway.store.generations(ca_id)
        if record.state is CaState.WITHDRAWN
    )


def _revoked_of(
    gateway: Gateway,
    socket: SocketRecord,
    kind: CertificateKind,
    ca_id: str,
    found: _Found,
) -> tuple[RevokedByCa, ...]:
    """What is revoked of a CA; ``found`` is told of each certificate."""
    since = gateway.clock() - SLOWEST_CLOCK
    revoked_of = partial(
        gateway.store.live_revoked, since, kinds=(kind,), socket_id=socket.socket_id
    )
    try:
        revoked = revoked_of()
    except QuotaExceeded:
        # It may soon be few enough.
        found.ends.append(gateway.clock() + LONG_LISTS_KEPT_FOR)
        # Each CA by itself, so that a new one takes the place of one of which too much is revoked.
        trusted = gateway.authority.generations.trusted(ca_id)
        return tuple(_of_generation(record, revoked_of) for record in trusted)
    found.ends.extend(map(_leaves, revoked))
    found.serials.extend(one.serial for one in revoked)
    return tuple(_by_ca(gateway.store, revoked))


def _of_generation(
    record: CaGenerationRecord, revoked_of: Callable[..., tuple[RevokedCertificate, ...]]
) -> RevokedByCa:
    ca = parse_key_line(record.public).blob
    try:
        revoked = revoked_of(ca_key_id=record.key_id)
    except QuotaExceeded:
        return RevokedByCa(ca=ca, serials=((1, MAX_SERIAL),))
    return RevokedByCa.of_serials(ca, [int(one.serial) for one in revoked])


def _by_ca(store: Store, revoked: Iterable[RevokedCertificate]) -> Iterable[RevokedByCa]:
    serials: dict[str, list[int]] = {}
    for one in revoked:
        serials.setdefault(one.ca_key_id, []).append(int(one.serial))
    for ca_key_id, named in serials.items():
        body = store.a_certificate_by(ca_key_id)
        # Without the CA's key the serials hold for any CA: random, they name nobody else's.
        ca = parse_certificate_line(body).signature_key if body is not None else b""
        yield RevokedByCa.of_serials(ca, named)


def _canonical(scope: RevocationScope, value: str) -> str:
    """The value as certificates are looked up by.

    Raises:
        InvalidInput: it does not fit the scope.
        policy.errors.AddressError: no e-mail address.
    """
    if scope is RevocationScope.PERSON:
        return str(EmailAddress.parse(value))
    if scope is RevocationScope.SOCKET:
        if value:
            raise InvalidInput(
                "a whole socket takes no value", field="value", reason="revocation-invalid"
            )
        return ""
    if scope is RevocationScope.SERIAL:
        value = as_kept(value)
    pattern, what = (
        (_FINGERPRINT, "SHA256:… as ssh-keygen -l shows it")
        if scope is RevocationScope.KEY
        else (_SERIAL, "a serial number as the audit shows it")
    )
    if not pattern.fullmatch(value):
        raise InvalidInput(
            f"the value has to be {what}", field="value", reason="revocation-invalid"
        )
    return value
