"""Makes SSH user CA keys and signs user certificates (PROTOCOL.certkeys of OpenSSH).

Each certificate is read back from its own bytes before it is returned: every field against the
spec, the signature against the CA's key, the whole against ``ca.lint``.
"""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import ssh

from ca import errors
from ca.lint import lint_ssh
from ca.signers.base import Signer
from ca.specs import UserCertSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedSshCertificate:
    """A finished, checked SSH certificate, and what its record needs."""

    line: str
    """``type base64``, as in a ``-cert.pub`` file; no comment, no newline."""
    serial: int
    key_id: str
    principals: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    subject_fingerprint: str
    """``SHA256:…`` of the certified key."""
    ca_fingerprint: str
    """``SHA256:…`` of the CA's key."""


def make_user_ca_key() -> ed25519.Ed25519PrivateKey:
    """A fresh SSH user CA key. Ed25519: smallest lines, every sshd since 6.5 verifies it."""
    return ed25519.Ed25519PrivateKey.generate()


def ca_public_line(signer: Signer) -> str:
    """The CA's public key for ``TrustedUserCAKeys``: ``type base64``."""
    return ssh.serialize_ssh_public_key(signer.public_key).decode("ascii")


def fingerprint(line: str) -> str:
    """``SHA256:…`` of a public key line of ours, as ``ssh-keygen -l`` shows it."""
    digest = sha256(binascii.a2b_base64(line.split(" ")[1])).digest()
    encoded = binascii.b2a_base64(digest, newline=False).decode("ascii")
    return "SHA256:" + encoded.rstrip("=")


def issue_user_certificate(signer: Signer, spec: UserCertSpec) -> IssuedSshCertificate:
    """Sign ``spec`` and check the result. Keeping a record of it is the caller's duty.

    Raises:
        IssuanceError: the signer failed.
        SelfCheckError: the finished certificate is not what the spec says; it is thrown away.
    """
    line = _sign(signer, spec)
    _check_finished(line, signer, spec)
    return IssuedSshCertificate(
        line=line.decode("ascii"),
        serial=spec.serial,
        key_id=spec.key_id,
        principals=spec.principals,
        not_before=spec.not_before,
        not_after=spec.not_after,
        subject_fingerprint=spec.public_key.fingerprint,
        ca_fingerprint=fingerprint(ca_public_line(signer)),
    )


def _sign(signer: Signer, spec: UserCertSpec) -> bytes:
    builder = (
        ssh.SSHCertificateBuilder()
        .type(ssh.SSHCertificateType.USER)
        .public_key(spec.public_key.key)
        .serial(spec.serial)
        .key_id(spec.key_id.encode("ascii"))
        .valid_principals([principal.encode("ascii") for principal in spec.principals])
        .valid_after(int(spec.not_before.timestamp()))
        .valid_before(int(spec.not_after.timestamp()))
    )
    for name, value in spec.critical_options.items():
        builder = builder.add_critical_option(name.encode("ascii"), value.encode("ascii"))
    for name, value in spec.extensions.items():
        builder = builder.add_extension(name.encode("ascii"), value.encode("ascii"))
    try:
        return builder.sign(signer.signing_key).public_bytes()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise errors.IssuanceError(f"the SSH CA {signer.name} did not sign") from error


def _check_finished(line: bytes, signer: Signer, spec: UserCertSpec) -> None:
    findings = lint_ssh(line)  # verifies the signature too
    if findings:
        raise errors.SelfCheckError(f"refused by the linter: {findings[0].rule}")
    certificate = ssh.load_ssh_public_identity(line)
    if not isinstance(certificate, ssh.SSHCertificate):
        raise errors.SelfCheckError("the result is not a certificate")
    differing = _differences(certificate, signer, spec)
    if differing:
        raise errors.SelfCheckError(f"not as specified: {', '.join(differing)}")


def _differences(certificate: ssh.SSHCertificate, signer: Signer, spec: UserCertSpec) -> list[str]:
    """Names of the fields in which the finished certificate is not the spec."""
    found: dict[str, tuple[object, object]] = {
        "type": (certificate.type, ssh.SSHCertificateType.USER),
        "public key": (certificate.public_key(), spec.public_key.key),
        "serial": (certificate.serial, spec.serial),
        "key id": (certificate.key_id, spec.key_id.encode("ascii")),
        "principals": (certificate.valid_principals, [p.encode() for p in spec.principals]),
        "start": (certificate.valid_after, int(spec.not_before.timestamp())),
        "end": (certificate.valid_before, int(spec.not_after.timestamp())),
        "critical options": (certificate.critical_options, _encoded(spec.critical_options)),
        "extensions": (certificate.extensions, _encoded(spec.extensions)),
        "CA key": (certificate.signature_key(), signer.public_key),
    }
    return [name for name, (is_, should_be) in found.items() if is_ != should_be]


def _encoded(pairs: Mapping[str, str]) -> dict[bytes, bytes]:
    return {name.encode("ascii"): value.encode("ascii") for name, value in pairs.items()}
