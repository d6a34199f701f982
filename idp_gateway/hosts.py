"""Servers behind sockets: enrolled by the socket's owner, kept up to date by their own host key.

A host proves itself with its host key each time it asks. It gets one signed bundle: whom to trust,
what is revoked, and in the second half of its certificate's life a new one.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ca.errors import IssuanceError, KeyStoreError, SpecError
from ca.formats.errors import FormatError
from ca.formats.host_messages import (
    BUNDLE_NAMESPACE,
    CLOCK_TOLERANCE_SECONDS,
    ENROL_NAMESPACE,
    SYNC_NAMESPACE,
    Bundle,
    EnrolStatement,
    SyncStatement,
)
from ca.formats.log_proof import InclusionProof
from ca.formats.ssh_certificate import parse_certificate_line
from ca.formats.ssh_keys import KeyBlob
from ca.formats.sshsig import make_sshsig, verify_sshsig
from ca.ssh import ca_public_line
from ca.subject_keys import SshPublicKey, parse_ssh_public_key
from idp_gateway.ca_generations import SSH_HOST
from idp_gateway.composition import Gateway
from idp_gateway.errors import Forbidden, InvalidInput, NotFound, TooManyCertificates
from idp_gateway.records import (
    AccountRecord,
    CertificateKind,
    CertificateRecord,
    HostRecord,
    SocketRecord,
)
from idp_gateway.store.database import DatabaseFailure, words_of
from policy.conditions import offers
from policy.types import Action

log = logging.getLogger(__name__)

MAX_PRINCIPALS = 16
DUMMY_SUFFIX = ".mysocket-dummy"
"""What the original service's ``ssh_config`` calls the inner connection to a socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostQuestion:
    """What an enrolled host asked, and proved to be its own question."""

    host: HostRecord
    socket: SocketRecord
    statement: SyncStatement
    number: int
    """How far everything had come when it asked: what it is told is no older."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBundle:
    """A bundle as it is sent."""

    bundle: str
    signature: str
    """Armored SSHSIG by the bundle key."""
    log_proof: InclusionProof | None
    """Of the host certificate in the bundle, if there is one."""


def bundle_key_line(gateway: Gateway) -> str:
    """The key hosts check bundles with, one line."""
    return ca_public_line(gateway.authority.bundle_signer)


def log_proof(gateway: Gateway, certificate: str) -> InclusionProof:
    """The proof that one of our certificates, one line, is in the log as it stands now."""
    return gateway.log.proof(str(parse_certificate_line(certificate.encode()).serial))


def enrol(
    gateway: Gateway,
    account: AccountRecord,
    *,
    name: str,
    statement: EnrolStatement,
    proof: str,
) -> tuple[HostRecord, str]:
    """Enrol a host for one of the account's sockets; its record and its certificate.

    Raises:
        InvalidInput: a name outside the socket's own, no SSH behind this type of socket, a clock
            that is off, or a proof that is not the host key's.
        NotFound: no such socket of the account.
        TooManyCertificates: the socket or its account was given very many lately.
        ca.errors.SubjectKeyError: the host key is refused.
    """
    socket = gateway.store.get_socket(account.account_id, statement.socket_id)
    if not offers(socket.socket_type, Action.SSH):
        raise InvalidInput(
            f"there is no sshd behind a {socket.socket_type} socket; use the type tls",
            reason="action-not-offered",
        )
    principals = _own_names(socket, statement.principals)
    key = parse_ssh_public_key(statement.host_key)
    _check_clock(gateway, statement.at)
    signer = _signed_by(proof, statement.signed, ENROL_NAMESPACE)
    if signer.blob != key.blob:
        raise InvalidInput(
            "the proof was not made with this host key", field="proof", reason="key-proof-invalid"
        )
    return _keep(gateway, account, socket, name=name, key=key, principals=principals)


def recognise(gateway: Gateway, statement: SyncStatement, signature: str) -> HostQuestion:
    """The question of a host that asks for news; nothing is kept of it yet.

    Raises:
        NotFound: no host of this id.
        Forbidden: it was removed, or the signature is not its enrolled host key's.
        InvalidInput: a clock that is off, or a malformed signature.
    """
    host = gateway.store.find_host(statement.host_id)
    if host is None:
        raise NotFound("no such host; run: mysocketctl host enrol", reason="host-unknown")
    signer = _signed_by(signature, statement.signed, SYNC_NAMESPACE)
    if signer.fingerprint != host.fingerprint:
        raise Forbidden(
            f"host {host.name} was enrolled with another host key; enrol it again",
            reason="host-key-changed",
        )
    if host.removed_at is not None:
        raise Forbidden(f"host {host.name} was removed by its owner", reason="host-removed")
    _check_clock(gateway, statement.at)
    socket = gateway.store.find_socket(host.socket_id)
    if socket is None:
        raise NotFound("the socket of this host is gone", reason="socket-unknown")
    number = gateway.store.revision()
    return HostQuestion(host=host, socket=socket, statement=statement, number=number)


def answer(gateway: Gateway, question: HostQuestion, krl: bytes) -> SignedBundle:
    """The news for a host with its socket's revocation list, asked for after the question came;
    what the host says it has is kept.

    A database that takes no write keeps no revocation from a server. It is only given no new
    certificate then, and a rotation goes on waiting for it.
    """
    bundle = _bundle(gateway, question, krl)
    text = bundle.encode()
    signer = gateway.authority.bundle_signer
    signature = make_sshsig(signer.signing_key, text.encode("ascii"), BUNDLE_NAMESPACE)
    proof = log_proof(gateway, bundle.host_certificate) if bundle.host_certificate else None
    return SignedBundle(bundle=text, signature=signature, log_proof=proof)


def _keep(
    gateway: Gateway,
    account: AccountRecord,
    socket: SocketRecord,
    *,
    name: str,
    key: SshPublicKey,
    principals: tuple[str, ...],
) -> tuple[HostRecord, str]:
    known = gateway.store.find_enrolled(socket.socket_id, key.fingerprint)
    now = gateway.clock()
    host = HostRecord(
        host_id=known.host_id if known is not None else str(uuid.uuid4()),
        socket_id=socket.socket_id,
        name=name,
        public_key=key.line,
        fingerprint=key.fingerprint,
        principals=principals,
        serial="",
        not_after=now,
        enrolled_at=now,
        enrolled_by=account.account_id,
        seen_at=now,
    )
    try:
        line = _certified(gateway, host)
    except SpecError as error:
        raise InvalidInput(str(error), reason=error.reason) from error
    certificate = parse_certificate_line(line.encode("ascii"))
    record = gateway.store.keep_host(
        account.account_id,
        replace(
            host,
            serial=str(certificate.serial),
            not_after=datetime.fromtimestamp(certificate.valid_before, UTC),
        ),
    )
    return record, line


def _bundle(gateway: Gateway, question: HostQuestion, krl: bytes) -> Bundle:
    host, socket, statement = question.host, question.socket, question.statement
    shown = _on_record(gateway, host, statement.certificate)
    noted = _note(gateway, question, shown)
    good = _good(gateway, host, shown)
    return Bundle(
        host_id=host.host_id,
        dns_name=socket.dns_name,
        nonce=statement.nonce,
        number=question.number,
        issued_at=int(gateway.clock().timestamp()),
        krl=krl,
        user_cas=gateway.authority.trusted_user_cas(socket.socket_id),
        host_cas=gateway.authority.host_ca_lines,
        host_certificate=_given(gateway, host, good, has_it=good is shown, may_renew=noted),
        enrol_again=good is None,
    )


def _note(gateway: Gateway, question: HostQuestion, shown: CertificateRecord | None) -> bool:
    """Keep what a host says it has; whether that could be written."""
    host, statement = question.host, question.statement
    try:
        gateway.store.note_sync(
            host.host_id,
            number=max(host.synced_number, statement.number),
            trusted_cas=statement.trusted_cas,
            now=gateway.clock(),
        )
        if shown is not None and shown.serial != host.serial:
            # Only now is it known to have arrived; a CA that drains goes by this.
            gateway.store.note_shown(host.host_id, serial=shown.serial, not_after=shown.not_after)
    except DatabaseFailure as error:
        # Another write would be waited for as long, and in vain.
        log.warning("what host %s has cannot be kept: %s", host.host_id, words_of(error))
        return False
    return True


def _good(
    gateway: Gateway, host: HostRecord, shown: CertificateRecord | None
) -> CertificateRecord | None:
    """A host's certificate that has not ended: what it shows, or else, since that file may be
    damaged, the newest it was given. Whoever proves the host key could have kept it.
    """
    if shown is not None and _has_not_ended(gateway, host, shown):
        return shown
    newest = gateway.store.newest_host_certificate(host.socket_id, host.fingerprint)
    return newest if newest is not None and _has_not_ended(gateway, host, newest) else None


def _has_not_ended(gateway: Gateway, host: HostRecord, one: CertificateRecord) -> bool:
    return one.not_after > gateway.clock() and not _is_revoked(gateway, host, one.serial)


def _given(
    gateway: Gateway,
    host: HostRecord,
    good: CertificateRecord | None,
    *,
    has_it: bool,
    may_renew: bool,
) -> str:
    """The certificate to send; none if the host has what there is."""
    if good is None:
        return ""
    new = _renewed(gateway, host) if may_renew and _is_due(gateway, good) else ""
    return new or ("" if has_it else good.body)


def _is_due(gateway: Gateway, certificate: CertificateRecord) -> bool:
    signs_now = gateway.authority.generations.signing(SSH_HOST).key_id
    life = certificate.not_after - certificate.not_before
    return certificate.not_after - gateway.clock() < life / 2 or certificate.ca_key_id != signs_now


def _is_revoked(gateway: Gateway, host: HostRecord, serial: str) -> bool:
    kinds = (CertificateKind.SSH_HOST,)
    return bool(
        gateway.store.live_revoked(
            gateway.clock(), kinds=kinds, socket_id=host.socket_id, serial=serial
        )
    )


def _on_record(gateway: Gateway, host: HostRecord, line: str) -> CertificateRecord | None:
    """The issuance a host's certificate line is of; None unless it is ours and this host's."""
    try:
        serial = parse_certificate_line(line.encode("utf-8", "surrogatepass")).serial
    except FormatError:
        return None
    found = gateway.store.find_certificate(str(serial))
    if (
        found is None
        or found.kind is not CertificateKind.SSH_HOST
        or (found.socket_id, found.public_key_fingerprint) != (host.socket_id, host.fingerprint)
        or found.body.split()[:2] != line.split()[:2]
    ):
        return None
    return found


def _renewed(gateway: Gateway, host: HostRecord) -> str:
    """A new certificate; none while there can be none: the other news do not wait for it."""
    try:
        return _certified(gateway, host)
    except (TooManyCertificates, IssuanceError, KeyStoreError) as error:
        log.warning("host %s gets no new certificate: %s", host.host_id, error)
    except DatabaseFailure as error:
        log.warning("host %s gets no new certificate: %s", host.host_id, words_of(error))
    return ""


def _certified(gateway: Gateway, host: HostRecord) -> str:
    """A certificate for the host: the newest it was given, as long as that is good, so that asking
    again makes none.
    """
    sent = gateway.store.newest_host_certificate(host.socket_id, host.fingerprint)
    if sent is not None and _is_good(gateway, host, sent):
        return sent.body
    return gateway.authority.issue_host_certificate(
        socket_id=host.socket_id,
        key_id=host.host_id,
        public_key=host.public_key,
        principals=host.principals,
    ).certificate.line


def _is_good(gateway: Gateway, host: HostRecord, sent: CertificateRecord) -> bool:
    if _is_due(gateway, sent) or _is_revoked(gateway, host, sent.serial):
        return False
    certificate = parse_certificate_line(sent.body)
    wanted = tuple(name.encode("ascii") for name in host.principals)
    return (certificate.key_id, certificate.principals) == (host.host_id.encode("ascii"), wanted)


def _own_names(socket: SocketRecord, wanted: Sequence[str]) -> tuple[str, ...]:
    """The names a host may be certified under: the socket's own, and names below it.

    Raises:
        InvalidInput: any other, or too many.
    """
    if not wanted:
        return (socket.dns_name, socket.dns_name + DUMMY_SUFFIX)
    if len(set(wanted)) > MAX_PRINCIPALS:
        raise InvalidInput(f"at most {MAX_PRINCIPALS} names", field="principals")
    for name in wanted:
        bare = name.removesuffix(DUMMY_SUFFIX)
        if bare != socket.dns_name and not bare.endswith(f".{socket.dns_name}"):
            raise InvalidInput(
                f"a host of this socket may be called {socket.dns_name}, or something below it",
                field="principals",
                reason="principal-not-own",
            )
    return tuple(dict.fromkeys(wanted))


def _check_clock(gateway: Gateway, at: int) -> None:
    off = at - int(gateway.clock().timestamp())
    if abs(off) > CLOCK_TOLERANCE_SECONDS:
        raise InvalidInput(
            f"the host's clock is {abs(off)} s {'ahead' if off > 0 else 'behind'}",
            field="at",
            reason="host-clock-off",
        )


def _signed_by(signature: str, message: bytes, namespace: str) -> KeyBlob:
    try:
        return verify_sshsig(signature, message, namespace)
    except FormatError as error:
        raise InvalidInput(
            f"the host's signature does not hold: {error}", reason="key-proof-invalid"
        ) from error
