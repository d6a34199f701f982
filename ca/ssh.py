"""Makes SSH CA keys and signs user and host certificates (PROTOCOL.certkeys of OpenSSH).

One encoder for every type of key, our own, since the library knows no security keys. Each
certificate is read back from its own bytes before it is returned: every field against the spec, the
signature against the CA's key, the whole against the linter. That others read the same in it is
for the tests, with ``ssh-keygen``, ``sshd`` and the parser of ``cryptography``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519

from ca import errors
from ca.formats import ssh_certificate, ssh_keys
from ca.formats.errors import FormatError
from ca.formats.ssh_certificate import SshCertificate
from ca.formats.ssh_keys import KeyBlob
from ca.formats.ssh_lint import Profile, lint_certificate
from ca.formats.wire import string
from ca.signers.base import Signer
from ca.specs import HostCertSpec, UserCertSpec

NONCE_BYTES = 32
"""Makes what is signed unpredictable to who asked for it (PROTOCOL.certkeys)."""

SshSpec = UserCertSpec | HostCertSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedSshCertificate:
    """A finished, checked SSH certificate, and what its record needs."""

    line: str
    """``type base64``, as in a ``-cert.pub`` file; no comment, no newline."""
    blob: bytes
    """The same in SSH wire format."""
    serial: int
    key_id: str
    principals: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    subject_fingerprint: str
    """``SHA256:…`` of the certified key."""
    ca_fingerprint: str
    """``SHA256:…`` of the CA's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A spec in the words of the format; the fields are named as in ``SshCertificate``."""

    key_blob: KeyBlob
    serial: int
    kind: str | int
    key_id: bytes
    principals: tuple[bytes, ...]
    valid_after: int
    valid_before: int
    critical_options: ssh_certificate.Options
    extensions: ssh_certificate.Options

    @classmethod
    def of(cls, spec: SshSpec) -> Self:
        critical_options: Mapping[str, str] = {}
        extensions: Mapping[str, str] = {}
        kind = ssh_certificate.HOST
        if isinstance(spec, UserCertSpec):
            kind = ssh_certificate.USER
            critical_options, extensions = spec.all_critical_options, spec.extensions
        return cls(
            key_blob=spec.public_key.key_blob,
            serial=spec.serial,
            kind=kind,
            key_id=spec.key_id.encode("ascii"),
            principals=tuple(principal.encode("ascii") for principal in spec.principals),
            valid_after=int(spec.not_before.timestamp()),
            valid_before=int(spec.not_after.timestamp()),
            critical_options=_ordered(critical_options),
            extensions=_ordered(extensions),
        )


def _ordered(pairs: Mapping[str, str]) -> ssh_certificate.Options:
    """In the order the format demands: by the bytes of the name."""
    encoded = ((name.encode("ascii"), value.encode("ascii")) for name, value in pairs.items())
    return tuple(sorted(encoded))


def make_user_ca_key() -> ed25519.Ed25519PrivateKey:
    """A fresh SSH user CA key. Ed25519: smallest lines, every sshd since 6.5 verifies it."""
    return ed25519.Ed25519PrivateKey.generate()


def ca_public_line(signer: Signer) -> str:
    """The CA's public key for ``TrustedUserCAKeys``: ``type base64``."""
    return ssh_keys.parse_key_blob(ssh_keys.blob_of(signer.public_key)).line


def fingerprint(line: str) -> str:
    """``SHA256:…`` of a public key line of ours, as ``ssh-keygen -l`` shows it."""
    return ssh_keys.parse_key_line(line).fingerprint


def issue_user_certificate(signer: Signer, spec: UserCertSpec) -> IssuedSshCertificate:
    """Sign ``spec`` and check the result. Keeping a record of it is the caller's duty.

    Raises:
        IssuanceError: the signer failed.
        SelfCheckError: the finished certificate is not what the spec says; it is thrown away.
    """
    return _issue(signer, spec)


def issue_host_certificate(signer: Signer, spec: HostCertSpec) -> IssuedSshCertificate:
    """Sign ``spec`` and check the result. Keeping a record of it is the caller's duty.

    Raises:
        IssuanceError: the signer failed.
        SelfCheckError: the finished certificate is not what the spec says; it is thrown away.
    """
    return _issue(signer, spec)


def _issue(signer: Signer, spec: SshSpec) -> IssuedSshCertificate:
    authority, wanted = ssh_keys.blob_of(signer.public_key), _Wanted.of(spec)
    blob = _sign(signer, wanted, authority)
    certificate = _read_back(blob)
    differing = _differences(certificate, wanted, authority)
    if differing:
        raise errors.SelfCheckError(f"not as specified: {', '.join(differing)}")
    return IssuedSshCertificate(
        line=certificate.line,
        blob=certificate.blob,
        serial=spec.serial,
        key_id=spec.key_id,
        principals=spec.principals,
        not_before=spec.not_before,
        not_after=spec.not_after,
        subject_fingerprint=spec.public_key.fingerprint,
        ca_fingerprint=certificate.ca_fingerprint,
    )


def _sign(signer: Signer, wanted: _Wanted, authority: bytes) -> bytes:
    to_be_signed = ssh_certificate.encode_to_be_signed(
        key_blob=wanted.key_blob,
        nonce=os.urandom(NONCE_BYTES),
        serial=wanted.serial,
        kind=wanted.kind,
        key_id=wanted.key_id,
        principals=wanted.principals,
        valid_after=wanted.valid_after,
        valid_before=wanted.valid_before,
        critical_options=wanted.critical_options,
        extensions=wanted.extensions,
        signature_key=authority,
    )
    try:
        return to_be_signed + string(ssh_keys.sign_blob(signer.signing_key, to_be_signed))
    except errors.CaError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise errors.IssuanceError(f"the SSH CA {signer.name} did not sign") from error


def _read_back(blob: bytes) -> SshCertificate:
    try:
        certificate = ssh_certificate.parse_certificate_blob(blob)
    except FormatError as error:
        raise errors.SelfCheckError(f"cannot be read back: {error}") from error
    findings = lint_certificate(certificate, profile=Profile.OURS)  # verifies the signature too
    if findings:
        raise errors.SelfCheckError(f"refused by the linter: {findings[0].rule}")
    return certificate


_COMPARED = tuple(field.name for field in fields(_Wanted))


def _differences(certificate: SshCertificate, wanted: _Wanted, authority: bytes) -> list[str]:
    """Names of the fields in which the finished certificate is not the spec."""
    found = [name for name in _COMPARED if getattr(certificate, name) != getattr(wanted, name)]
    if certificate.signature_key != authority:
        found.append("signature_key")
    return found
