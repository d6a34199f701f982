"""SSH certificates say what their spec says, or are not released."""

from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import ssh as wire
from hypothesis import given
from hypothesis import strategies as st

from ca import errors, ssh
from ca.formats import ssh_keys
from ca.formats.ssh_certificate import parse_certificate_line, verify
from ca.formats.ssh_keys import SK_ECDSA, SK_ED25519
from ca.signers import MemorySigner
from ca.specs import MAX_SSH_SERIAL, ORIGINAL_EXTENSIONS, HostCertSpec, UserCertSpec
from ca.subject_keys import SshPublicKey
from tests.support.subjects import (
    DRIFT,
    EMAIL,
    host_spec,
    security_key_subject,
    ssh_subject,
    user_spec,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SUBJECT = ssh_subject()
SUBJECTS = (
    SUBJECT,
    *(
        ssh_subject(key)
        for key in (
            ed25519.Ed25519PrivateKey.generate(),
            ec.generate_private_key(ec.SECP384R1()),
            ec.generate_private_key(ec.SECP521R1()),
            rsa.generate_private_key(65537, 3072),
        )
    ),
)
SIGNER = MemorySigner(name="property test", signing_key=ssh.make_user_ca_key())


def read(line: str) -> wire.SSHCertificate:
    certificate = wire.load_ssh_public_identity(line.encode())
    assert isinstance(certificate, wire.SSHCertificate)
    return certificate


def test_a_certificate_is_as_the_original_service_made_it(
    ssh_ca: MemorySigner, now: datetime
) -> None:
    spec = user_spec(now, public_key=SUBJECT, serial=42)
    issued = ssh.issue_user_certificate(ssh_ca, spec)
    certificate = read(issued.line)
    assert issued.line.startswith("ecdsa-sha2-nistp256-cert-v01@openssh.com AAAA")
    assert certificate.type is wire.SSHCertificateType.USER
    assert certificate.key_id == EMAIL.encode()
    assert certificate.valid_principals == [EMAIL.encode(), b"mysocket_ssh_signed"]
    assert certificate.extensions == {name.encode(): b"" for name in ORIGINAL_EXTENSIONS}
    assert certificate.critical_options == {}
    assert certificate.valid_before - certificate.valid_after == 600
    assert certificate.valid_after == int((now - DRIFT).timestamp())
    assert (issued.serial, certificate.serial) == (42, 42)
    assert issued.subject_fingerprint == SUBJECT.fingerprint
    assert issued.ca_fingerprint == ssh.fingerprint(ssh.ca_public_line(ssh_ca))


@given(
    st.integers(1, MAX_SSH_SERIAL),
    st.lists(st.from_regex(r"[a-z0-9._@+-]{1,40}", fullmatch=True), min_size=1, unique=True),
    st.sets(st.sampled_from(sorted(ORIGINAL_EXTENSIONS))),
    st.booleans(),
    st.sampled_from(SUBJECTS),
)
def test_every_spec_comes_back_from_the_bytes(
    serial: int, principals: list[str], flags: set[str], bound: bool, subject: SshPublicKey
) -> None:
    """Read by a parser that shares no code with ours."""
    spec = user_spec(
        NOW,
        public_key=subject,
        serial=serial,
        principals=tuple(principals),
        extensions=dict.fromkeys(sorted(flags, reverse=True), "") | {"decision@x.example": "d1"},
        source_addresses=(ip_network("192.0.2.1/32"),) if bound else None,
    )
    other = read(ssh.issue_user_certificate(SIGNER, spec).line)
    other.verify_cert_signature()
    assert ssh_keys.blob_of(other.public_key()) == subject.blob
    assert ssh_keys.blob_of(other.signature_key()) == ssh_keys.blob_of(SIGNER.public_key)
    assert (other.type, other.serial) == (wire.SSHCertificateType.USER, serial)
    assert other.key_id.decode() == spec.key_id
    assert other.valid_principals == [name.encode() for name in principals]
    assert other.valid_after == int(spec.not_before.timestamp())
    assert other.valid_before == int(spec.not_after.timestamp())
    assert texts(other.extensions) == dict(spec.extensions)
    assert texts(other.critical_options) == dict(spec.all_critical_options)
    assert bool(other.critical_options) is bound


def texts(options: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in options.items()}


AUTHORITIES: dict[str, Callable[[], Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 3072),
}


@pytest.mark.parametrize("make_key", AUTHORITIES.values(), ids=AUTHORITIES.keys())
def test_every_kind_of_ca_key_signs(make_key: Callable[[], Any], now: datetime) -> None:
    signer = MemorySigner(name="ca", signing_key=make_key())
    issued = ssh.issue_user_certificate(signer, user_spec(now, public_key=SUBJECT))
    read(issued.line).verify_cert_signature()


DIFFERENCES: dict[str, dict[str, Any]] = {
    "key_blob": {"public_key": ssh_subject()},
    "serial": {"serial": 8},
    "key_id": {"key_id": "mallory@example.com"},
    "principals": {"principals": (EMAIL, "root")},
    "valid_after": {"not_before": NOW - 2 * DRIFT},
    "valid_before": {"not_after": NOW + 2 * DRIFT},
    "critical_options": {"source_addresses": (ip_network("0.0.0.0/0"),)},
    "extensions": {"extensions": {}},
}


def _signed(signer: MemorySigner, spec: UserCertSpec | HostCertSpec) -> bytes:
    return ssh._sign(signer, ssh._Wanted.of(spec), ssh_keys.blob_of(signer.public_key))


@pytest.mark.parametrize("field", DIFFERENCES)
def test_a_certificate_that_differs_is_not_released(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate of the right CA that differs from the wanted one in one field."""
    other = _signed(
        SIGNER, user_spec(NOW, **({"public_key": SUBJECT, "serial": 7} | DIFFERENCES[field]))
    )
    monkeypatch.setattr(ssh, "_sign", lambda *_: other)
    with pytest.raises(errors.SelfCheckError, match=f"not as specified: {field}$"):
        ssh.issue_user_certificate(SIGNER, user_spec(NOW, public_key=SUBJECT, serial=7))


def test_a_user_certificate_is_not_released_as_a_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = host_spec(NOW, public_key=SUBJECT, serial=7)
    other = _signed(
        SIGNER,
        user_spec(
            NOW,
            public_key=SUBJECT,
            serial=7,
            key_id=spec.key_id,
            principals=spec.principals,
            not_before=spec.not_before,
            not_after=spec.not_before + DRIFT,
            extensions={},
        ),
    )
    monkeypatch.setattr(ssh, "_sign", lambda *_: other)
    with pytest.raises(errors.SelfCheckError, match="not as specified: kind, valid_before"):
        ssh.issue_host_certificate(SIGNER, spec)


def test_a_certificate_of_another_ca_is_not_released(
    ssh_ca: MemorySigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = user_spec(NOW, public_key=SUBJECT)
    other = _signed(ssh_ca, spec)
    monkeypatch.setattr(ssh, "_sign", lambda *_: other)
    with pytest.raises(errors.SelfCheckError, match="signature_key"):
        ssh.issue_user_certificate(SIGNER, spec)


def _spoiled() -> bytes:
    blob = bytearray(_signed(SIGNER, user_spec(NOW, public_key=SUBJECT)))
    blob[-1] ^= 1
    return bytes(blob)


@pytest.mark.parametrize(
    ("blob", "problem"),
    [
        (b"", "cannot be read back"),
        (SUBJECT.blob, "cannot be read back"),
        (_spoiled(), "refused by the linter: signature-invalid"),
    ],
)
def test_what_is_broken_is_not_released(
    blob: bytes, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "_sign", lambda *_: blob)
    with pytest.raises(errors.SelfCheckError, match=problem):
        ssh.issue_user_certificate(SIGNER, user_spec(NOW, public_key=SUBJECT))


def test_what_the_linter_refuses_is_not_released(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = user_spec(NOW, public_key=SUBJECT)
    object.__setattr__(spec, "principals", ("bob,root",))
    with pytest.raises(errors.SelfCheckError, match="refused by the linter: principal-comma"):
        ssh.issue_user_certificate(SIGNER, spec)


def test_a_signer_that_fails_is_a_typed_error() -> None:
    class Empty:
        name = "empty"
        public_key = SIGNER.public_key
        signing_key = None

    with pytest.raises(errors.IssuanceError, match="empty did not sign"):
        ssh.issue_user_certificate(Empty(), user_spec(NOW, public_key=SUBJECT))  # type: ignore[arg-type]


def test_a_signer_that_is_out_of_reach_keeps_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_reach(*_: object) -> bytes:
        raise errors.IssuanceError("the token is gone")

    monkeypatch.setattr(ssh_keys, "sign_blob", out_of_reach)
    with pytest.raises(errors.IssuanceError, match="the token is gone"):
        ssh.issue_user_certificate(SIGNER, user_spec(NOW, public_key=SUBJECT))


@pytest.mark.parametrize("key_type", [SK_ED25519, SK_ECDSA])
def test_a_security_key_is_certified_as_what_it_is(key_type: str) -> None:
    subject = security_key_subject(key_type)
    spec = user_spec(NOW, public_key=subject, critical_options={"verify-required": ""})
    issued = ssh.issue_user_certificate(SIGNER, spec)
    certificate = parse_certificate_line(issued.line)
    assert certificate.certificate_type == key_type.replace("@", "-cert-v01@")
    assert certificate.key_blob == subject.key_blob
    assert certificate.key_blob.application == "ssh:"
    assert issued.subject_fingerprint == subject.fingerprint
    verify(certificate)


def test_a_host_certificate_names_its_hosts_and_nothing_else() -> None:
    spec = host_spec(NOW, principals=("db.edge.localhost", "db"))
    issued = ssh.issue_host_certificate(SIGNER, spec)
    certificate = read(issued.line)
    assert certificate.type is wire.SSHCertificateType.HOST
    assert certificate.valid_principals == [b"db.edge.localhost", b"db"]
    assert (certificate.critical_options, certificate.extensions) == ({}, {})
    assert issued.principals == spec.principals
    assert b64decode(issued.line.split()[1]) == issued.blob


def test_options_are_written_in_the_order_of_their_bytes() -> None:
    spec = user_spec(
        NOW,
        public_key=SUBJECT,
        extensions={"permit-pty": "", "decision@mysocket.io": "d 1", "permit-X11-forwarding": ""},
    )
    certificate = parse_certificate_line(ssh.issue_user_certificate(SIGNER, spec).line)
    assert certificate.extensions == (
        (b"decision@mysocket.io", b"d 1"),
        (b"permit-X11-forwarding", b""),
        (b"permit-pty", b""),
    )


def test_two_certificates_of_one_spec_differ() -> None:
    """The nonce: nobody can choose what is signed."""
    spec = user_spec(NOW, public_key=SUBJECT)
    first, second = (ssh.issue_user_certificate(SIGNER, spec).blob for _ in range(2))
    assert first != second
