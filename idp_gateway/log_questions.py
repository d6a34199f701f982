"""Whether a certificate somebody saw was ever issued: a stolen CA key shows as one that was not.

Answers rest on the log's leaves, which are never removed: neither the end of the audit trail nor
that of a socket makes a forged certificate pass, or a true one suspect.
"""

import hashlib
from collections.abc import Collection, Iterable
from datetime import timedelta

from ca.formats.host_messages import CLOCK_TOLERANCE_SECONDS
from idp_gateway.issuance_log import entry_of
from idp_gateway.log_leaves import leaf_record
from idp_gateway.records import CertificateKind, CertificateRecord, LogLeafRecord
from idp_gateway.schemas.ca_log import AnswerReply, QuestionForm
from idp_gateway.serials import as_kept
from idp_gateway.store import Store

CLOCK_TOLERANCE = timedelta(seconds=CLOCK_TOLERANCE_SECONDS)
"""How far the clock of a server may be behind before what it let in had ended."""
_X509 = (CertificateKind.X509_CLIENT, CertificateKind.X509_SERVER)


def answer(store: Store, account_id: str, questions: list[QuestionForm]) -> list[AnswerReply]:
    """One answer for each question, about certificates of this account's sockets alone."""
    serials = [as_kept(question.serial) for question in questions]
    kept = {record.serial: record for record in store.issued_among(serials)}
    leaves = {leaf.serial: leaf for leaf in store.logged_among(serials)}
    own = {socket.socket_id for socket in store.sockets_of(account_id)}
    before = (record for serial, record in kept.items() if serial not in leaves)
    known = leaves | _unlogged(before, account_id, own)
    replies = []
    for question, serial in zip(questions, serials, strict=True):
        leaf = known.get(serial)
        if leaf is None or leaf.account_id != account_id:
            replies.append(AnswerReply(serial=question.serial, verdict="unknown"))
        else:
            replies.append(_answer(question, leaf, kept.get(serial)))
    return replies


def _unlogged(
    records: Iterable[CertificateRecord], account_id: str, own: Collection[str]
) -> dict[str, LogLeafRecord]:
    """What was issued before there was a log, as if it had leaves."""
    return {
        record.serial: leaf_record(
            record, entry_of(record), leaf_index=-1, leaf_hash=b"", account_id=account_id
        )
        for record in records
        if record.socket_id in own
    }


def _answer(
    question: QuestionForm, leaf: LogLeafRecord, record: CertificateRecord | None
) -> AnswerReply:
    if not _fits(question, leaf):
        return AnswerReply(serial=question.serial, verdict="different", issued_at=leaf.issued_at)
    return AnswerReply(
        serial=question.serial,
        verdict="forgotten" if record is None else "issued",
        subject=None if record is None else record.subject,
        issued_at=leaf.issued_at,
    )


def _fits(question: QuestionForm, leaf: LogLeafRecord) -> bool:
    """Whether all that is said of a certificate is so, and it was good when it was seen."""
    if (question.kind == "x509") != (leaf.kind in _X509):
        return False
    if question.ca not in {None, leaf.ca_key_id}:
        return False
    if question.key_fingerprint not in {None, leaf.public_key_fingerprint}:
        return False
    if question.seen_at is not None and question.seen_at > leaf.not_after + CLOCK_TOLERANCE:
        return False
    return all(digest == leaf.named_sha256.hex() for digest in _digests(question))


def _digests(question: QuestionForm) -> list[str]:
    """What the leaf's ``named_sha256`` must be, in hex."""
    found = []
    if question.key_id is not None:
        is_ssh = question.kind == "ssh"
        name = question.key_id.encode("utf-8", "replace")
        found.append(hashlib.sha256(name).hexdigest() if is_ssh else "")
    if question.certificate_sha256 is not None:
        said = question.certificate_sha256.lower()
        found.append(said if question.kind == "x509" else "")
    return found
