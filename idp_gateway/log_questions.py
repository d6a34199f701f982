"""Whether a certificate somebody saw was ever issued: a stolen CA key shows as one that was not."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Literal

from ca.formats.errors import FormatError
from ca.formats.log_proof import LogEntry
from ca.formats.ssh_certificate import parse_certificate_blob
from idp_gateway.issuance_log import entry_of
from idp_gateway.records import CertificateRecord
from idp_gateway.schemas.ca_log import AnswerReply, QuestionForm
from idp_gateway.store import Store

Verdict = Literal["issued", "forgotten", "different", "unknown"]


def answer(store: Store, account_id: str, questions: list[QuestionForm]) -> list[AnswerReply]:
    """One answer for each question, about certificates of this account's sockets alone."""
    own = {socket.socket_id for socket in store.sockets_of(account_id)}
    serials = [_serial(question) for question in questions]
    kept = {record.serial: record for record in store.issued_among(serials)}
    logged = store.logged_among(serial for serial in serials if serial not in kept)
    return [_answer(question, kept, own, logged) for question in questions]


def _answer(
    question: QuestionForm,
    kept: Mapping[str, CertificateRecord],
    own: Collection[str],
    logged: Collection[str],
) -> AnswerReply:
    serial = _serial(question)
    record = kept.get(serial)
    if record is None or record.socket_id not in own:
        verdict: Verdict = "forgotten" if record is None and serial in logged else "unknown"
        return AnswerReply(serial=question.serial, verdict=verdict)
    return AnswerReply(
        serial=question.serial,
        verdict="issued" if _fits(question, record) else "different",
        subject=record.subject,
        issued_at=record.issued_at,
    )


def _serial(question: QuestionForm) -> str:
    """As the store spells it: hex digits are lower case there, without leading zeros."""
    if question.kind == "ssh":
        return question.serial
    return question.serial.replace(":", "").lower().lstrip("0")


def _fits(question: QuestionForm, record: CertificateRecord) -> bool:
    entry = entry_of(record)
    if entry.kind != question.kind or question.ca not in {None, record.ca_key_id}:
        return False
    if question.key_fingerprint not in {None, record.public_key_fingerprint}:
        return False
    said: tuple[tuple[str | None, Callable[[LogEntry], str]], ...] = (
        (question.key_id, _key_id),
        (question.certificate_sha256, _digest),
    )
    return all(value is None or value == read(entry) for value, read in said)


def _key_id(entry: LogEntry) -> str:
    if entry.kind != "ssh":
        return ""
    try:
        return parse_certificate_blob(entry.certificate).key_id.decode("utf-8", "replace")
    except FormatError:
        return ""


def _digest(entry: LogEntry) -> str:
    return hashlib.sha256(entry.certificate).hexdigest()
