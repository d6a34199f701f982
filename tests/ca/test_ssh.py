"""SSH certificates say what their spec says, or are not released."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import ssh as wire
from hypothesis import given
from hypothesis import strategies as st

from ca import errors, ssh
from ca.signers import MemorySigner
from ca.specs import MAX_SSH_SERIAL, ORIGINAL_EXTENSIONS
from tests.support.subjects import DRIFT, EMAIL, ssh_subject, user_spec

SUBJECT = ssh_subject()
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
)
def test_every_spec_comes_back_from_the_bytes(
    serial: int, principals: list[str], flags: set[str], bound: bool
) -> None:
    spec = user_spec(
        datetime.fromisoformat("2026-11-23T12:00:00Z"),
        public_key=SUBJECT,
        serial=serial,
        principals=tuple(principals),
        extensions=dict.fromkeys(sorted(flags, reverse=True), "") | {"decision@x.example": "d1"},
        critical_options={"source-address": "192.0.2.1/32"} if bound else {},
    )
    certificate = read(ssh.issue_user_certificate(SIGNER, spec).line)
    assert certificate.serial == serial
    assert certificate.valid_principals == [name.encode() for name in principals]
    assert set(certificate.extensions) == {name.encode() for name in spec.extensions}
    assert bool(certificate.critical_options) is bound


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


def _other_certificate(field: str, now: datetime) -> bytes:
    """A certificate of the right CA that differs from the wanted one in ``field``."""
    changes: dict[str, Any] = {
        "public key": {"public_key": ssh_subject()},
        "serial": {"serial": 8},
        "key id": {"key_id": "mallory@example.com"},
        "principals": {"principals": (EMAIL, "root")},
        "start": {"not_before": now - 2 * DRIFT},
        "end": {"not_after": now + 2 * DRIFT},
        "critical options": {"critical_options": {"source-address": "0.0.0.0/0"}},
        "extensions": {"extensions": {}},
    }
    spec = user_spec(now, **({"public_key": SUBJECT, "serial": 7} | changes[field]))
    return ssh._sign(SIGNER, spec)


@pytest.mark.parametrize(
    "field",
    [
        "public key",
        "serial",
        "key id",
        "principals",
        "start",
        "end",
        "critical options",
        "extensions",
    ],
)
def test_a_certificate_that_differs_is_not_released(
    field: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = _other_certificate(field, now)
    monkeypatch.setattr(ssh, "_sign", lambda _signer, _spec: other)
    with pytest.raises(errors.SelfCheckError, match=f"not as specified: {field}"):
        ssh.issue_user_certificate(SIGNER, user_spec(now, public_key=SUBJECT, serial=7))


def test_a_certificate_of_another_ca_is_not_released(
    ssh_ca: MemorySigner, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = user_spec(now, public_key=SUBJECT)
    other = ssh._sign(ssh_ca, spec)
    monkeypatch.setattr(ssh, "_sign", lambda _signer, _spec: other)
    with pytest.raises(errors.SelfCheckError, match="CA key"):
        ssh.issue_user_certificate(SIGNER, spec)


@pytest.mark.parametrize(
    ("line", "rule"),
    [(b"", "certificate-malformed"), (SUBJECT.line.encode(), "not-a-certificate")],
)
def test_what_the_linter_refuses_is_not_released(
    line: bytes, rule: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "_sign", lambda _signer, _spec: line)
    with pytest.raises(errors.SelfCheckError, match=rule):
        ssh.issue_user_certificate(SIGNER, user_spec(now, public_key=SUBJECT))


def test_a_signer_that_fails_is_a_typed_error(now: datetime) -> None:
    class Empty:
        name = "empty"
        public_key = SIGNER.public_key
        signing_key = None

    with pytest.raises(errors.IssuanceError, match="empty did not sign"):
        ssh.issue_user_certificate(Empty(), user_spec(now, public_key=SUBJECT))  # type: ignore[arg-type]
