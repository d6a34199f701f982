"""What the log keeps of a certificate for ever: enough to tell it from a forged one."""

import hashlib

from ca.formats.errors import FormatError
from ca.formats.log_proof import LogEntry
from ca.formats.ssh_certificate import read_key_id
from idp_gateway.records import CertificateRecord, LogLeafRecord


def leaf_record(
    certificate: CertificateRecord,
    entry: LogEntry,
    *,
    leaf_index: int,
    leaf_hash: bytes,
    account_id: str | None,
) -> LogLeafRecord:
    """The row of a leaf; ``account_id`` owns the certificate's socket, if it has one."""
    return LogLeafRecord(
        leaf_index=leaf_index,
        leaf_hash=leaf_hash,
        serial=certificate.serial,
        issued_at=certificate.issued_at,
        kind=certificate.kind,
        ca_key_id=certificate.ca_key_id,
        public_key_fingerprint=certificate.public_key_fingerprint,
        named_sha256=hashlib.sha256(_named(entry)).digest(),
        not_after=certificate.not_after,
        account_id=account_id,
    )


def _named(entry: LogEntry) -> bytes:
    """What the logs of servers say of a certificate beside serial, key and CA."""
    if entry.kind != "ssh":
        return entry.certificate
    try:
        return read_key_id(entry.certificate)
    except FormatError:
        return b""
