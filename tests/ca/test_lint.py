"""The linter names each fault in a finished certificate, and survives any bytes."""

import contextlib
import subprocess
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.lint import lint_ssh, lint_x509
from tests.support import ssh_wire
from tests.support.subjects import ec_key, public_line

CA = ed25519.Ed25519PrivateKey.generate()
GOOD = ssh_wire.certificate(CA)


def rules(line: bytes) -> set[str]:
    return {finding.rule for finding in lint_ssh(line)}


def test_a_good_certificate_has_no_findings() -> None:
    assert lint_ssh(GOOD) == ()


FORCED = ((b"force-command", b"id"),)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"certificate_type": 2}, "type-not-user"),
        ({"certificate_type": 3}, "certificate-malformed"),
        ({"serial": 0}, "serial-zero"),
        ({"key_id": b""}, "key-id-empty"),
        ({"principals": ()}, "principals-empty"),
        ({"principals": (b"bob,root",)}, "principal-odd"),
        ({"principals": (b"*",)}, "principal-odd"),
        ({"principals": (b"",)}, "principal-odd"),
        ({"principals": (b"a\0",)}, "principal-odd"),
        ({"principals": (b"\xc3\xa4",)}, "principal-odd"),
        ({"principals": [b"p%d" % n for n in range(257)]}, "principals-too-many"),
        ({"valid": (0, 2**64 - 1)}, "validity-endless"),
        ({"valid": (0, 2**63)}, "validity-too-long"),
        ({"valid": (10, 10)}, "validity-empty"),
        ({"critical": FORCED, "extensions": ((b"permit-port-forwarding", b""),)}, "force-command"),
        ({"extensions": ((b"permit-anything", b""),)}, "extension-unknown"),
        ({"extensions": ((b"b", b""), (b"a", b""))}, "certificate-malformed"),
        ({"extensions": ((b"a", b""), (b"a", b""))}, "certificate-malformed"),
        ({"spoil": True}, "signature-invalid"),
    ],
)
def test_each_fault_has_its_rule(changes: dict[str, Any], rule: str) -> None:
    found = rules(ssh_wire.certificate(CA, **changes))
    assert any(name.startswith(rule) for name in found), found


def test_sha1_is_found_in_what_ssh_keygen_signs(tmp_path: Path) -> None:
    for name, words in (("ca", ["-t", "rsa", "-b", "3072"]), ("id", ["-t", "ed25519"])):
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", tmp_path / name, *words], check=True)
    sign = ["ssh-keygen", "-q", "-s", tmp_path / "ca", "-I", "x", "-z", "7", "-n", "alice"]
    for algorithm, expected in (("ssh-rsa", {"signature-sha1"}), ("rsa-sha2-512", set())):
        window = ["-V", "-5m:+5m", "-t", algorithm]
        subprocess.run([*sign, *window, tmp_path / "id.pub"], check=True)
        line = (tmp_path / "id-cert.pub").read_bytes().split()
        assert rules(b" ".join(line[:2])) == expected


def test_a_plain_key_is_no_certificate() -> None:
    assert rules(public_line(ec_key()).encode()) == {"not-a-certificate"}


@given(st.binary())
def test_any_bytes_are_findings(line: bytes) -> None:
    assert lint_ssh(line)


@settings(max_examples=300)
@given(st.data())
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    key_type, encoded = GOOD.split()
    blob = bytearray(b64decode(encoded))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    assert lint_ssh(key_type + b" " + b64encode(bytes(blob)))


def leaf(**changes: Any) -> cryptography_x509.Certificate:
    """A self-signed certificate that differs from a good leaf in ``changes``."""
    values: dict[str, Any] = {
        "serial": 1 << 130,
        "life": timedelta(minutes=10),
        "ca": False,
        "critical": True,
        "signs": False,
        "purposes": [ExtendedKeyUsageOID.CLIENT_AUTH],
        "names": True,
    } | changes
    key = ec.generate_private_key(ec.SECP256R1())
    name = cryptography_x509.Name(
        [cryptography_x509.NameAttribute(NameOID.COMMON_NAME, "alice@example.com")]
    )
    start = datetime(2026, 11, 23, tzinfo=UTC)
    identifier = cryptography_x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        cryptography_x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(values["serial"])
        .not_valid_before(start)
        .not_valid_after(start + values["life"])
        .add_extension(
            cryptography_x509.BasicConstraints(ca=values["ca"], path_length=None),
            critical=values["critical"],
        )
        .add_extension(
            cryptography_x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=values["signs"],
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(cryptography_x509.ExtendedKeyUsage(values["purposes"]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            cryptography_x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    if values["names"]:
        names = [cryptography_x509.RFC822Name("alice@example.com")]
        builder = builder.add_extension(
            cryptography_x509.SubjectAlternativeName(names), critical=False
        )
    return builder.sign(key, hashes.SHA256())


BOTH = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"serial": 1}, {"serial-short"}),
        ({"life": timedelta(0)}, {"validity-empty"}),
        ({"life": timedelta(days=400)}, {"validity-too-long"}),
        ({"ca": True}, {"leaf-is-ca"}),
        ({"critical": False}, {"leaf-is-ca"}),
        ({"ca": True, "signs": True}, {"leaf-is-ca", "key-usage-too-wide"}),
        ({"purposes": BOTH}, {"purpose-not-one"}),
        ({"purposes": [ExtendedKeyUsageOID.CODE_SIGNING]}, {"purpose-not-one"}),
        ({"names": False}, {"extension-missing"}),
    ],
)
def test_each_fault_of_a_leaf_has_its_rule(changes: dict[str, Any], expected: set[str]) -> None:
    assert {finding.rule for finding in lint_x509(leaf(**changes))} == expected


LEAF = leaf().public_bytes(serialization.Encoding.DER)


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn.t positive")
@settings(max_examples=500)
@given(st.integers(0, len(LEAF) - 1), st.integers(1, 255))
def test_any_leaf_the_parser_takes_can_be_linted(place: int, change: int) -> None:
    changed = bytearray(LEAF)
    changed[place] ^= change
    with contextlib.suppress(ValueError, cryptography_x509.InvalidVersion):
        lint_x509(cryptography_x509.load_der_x509_certificate(bytes(changed)))
