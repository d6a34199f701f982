"""A certificate on its way out: signed, with the record and the leaf that must be durable first."""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ca import ssh, x509
from ca.formats.log_proof import InclusionProof, LogEntry
from idp_gateway.issuance_log import milliseconds
from idp_gateway.records import CertificateRecord
from policy.types import Grant

CertificateType = TypeVar("CertificateType", ssh.IssuedSshCertificate, x509.IssuedCertificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued(Generic[CertificateType]):
    """A certificate that is on record, and where the transparency log has it."""

    certificate: CertificateType
    proof: InclusionProof


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared(Generic[CertificateType]):
    """A certificate that is signed and checked, and must not leave before it is on record."""

    certificate: CertificateType = field(repr=False)
    record: CertificateRecord = field(repr=False)
    entry: LogEntry = field(repr=False)


def policy_version(grant: Grant) -> str:
    """Version of the rules a grant's decision rested on: they change with the socket's epoch."""
    return str(grant.epoch)


def prepared_ssh(
    issued: ssh.IssuedSshCertificate, record: CertificateRecord
) -> Prepared[ssh.IssuedSshCertificate]:
    """An SSH certificate with its record and its leaf in the log."""
    at = milliseconds(record.issued_at)
    entry = LogEntry(kind="ssh", issued_at_ms=at, certificate=issued.blob)
    return Prepared(certificate=issued, record=record, entry=entry)


def prepared_x509(
    issued: x509.IssuedCertificate, record: CertificateRecord
) -> Prepared[x509.IssuedCertificate]:
    """An X.509 certificate with its record and its leaf in the log."""
    at = milliseconds(record.issued_at)
    entry = LogEntry(kind="x509", issued_at_ms=at, certificate=issued.der)
    return Prepared(certificate=issued, record=record, entry=entry)


def of_grant(grant: Grant) -> dict[str, Any]:
    """What a record takes from the grant."""
    return {
        "socket_id": grant.socket_id,
        "epoch": grant.epoch,
        "grant_id": grant.grant_id,
        "decision_id": grant.decision_id,
        "policy_version": policy_version(grant),
        "holder_issuer": grant.identity.issuer,
        "holder_subject": grant.identity.subject,
    }


def of_x509(issued: x509.IssuedCertificate) -> dict[str, Any]:
    """What a record takes from an X.509 certificate."""
    return {
        "serial": format(issued.serial, "x"),
        "not_before": issued.not_before,
        "not_after": issued.not_after,
        "body": issued.pem.decode("ascii"),
    }


def of_ssh(issued: ssh.IssuedSshCertificate) -> dict[str, Any]:
    """What a record takes from an SSH certificate."""
    return {
        "serial": str(issued.serial),
        "public_key_fingerprint": issued.subject_fingerprint,
        "not_before": issued.not_before,
        "not_after": issued.not_after,
        "body": issued.line,
    }
