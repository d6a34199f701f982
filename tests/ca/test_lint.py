"""The linter names each fault in a finished X.509 certificate, of a leaf or of a CA."""

import contextlib
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.formats.ssh_lint import Profile, lint
from ca.lint import lint_ca, lint_ssh, lint_x509
from tests.support import ssh_wire

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
BOTH = [CLIENT, SERVER]
EMAIL = x509.RFC822Name("alice@example.com")
FROM_OFFICE, FROM_LAB = (
    x509.UniformResourceIdentifier(f"urn:mysocket:socket:s:1:from:{source_id}")
    for source_id in ("0123456789abcdef", "fedcba9876543210")
)
URI = x509.UniformResourceIdentifier("urn:mysocket:socket:s:1")
DNS = x509.DNSName("box.example.com")
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\5\0")
KEY = ec.generate_private_key(ec.SECP256R1())
START = datetime(2026, 11, 23, tzinfo=UTC)


def name(text: str | None) -> x509.Name:
    """``a`` is one common name, ``O=a`` an organization, ``a+O=a`` both."""
    kinds = [
        (NameOID.ORGANIZATION_NAME if part.startswith("O=") else NameOID.COMMON_NAME, part)
        for part in (text or "").split("+")
        if part
    ]
    return x509.Name([x509.NameAttribute(oid, part.removeprefix("O=")) for oid, part in kinds])


def usage(*allowed: str) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{one: one in allowed for one in every})


def made(values: dict[str, Any]) -> x509.Certificate:
    """A certificate of exactly these parts."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    parts: dict[str, tuple[x509.ExtensionType | None, bool]] = {
        "basic": (x509.BasicConstraints(values["ca"], values["length"]), values["critical"]),
        "usage": (usage(*values["usage"]), True),
        "purposes": (values["purposes"] and x509.ExtendedKeyUsage(values["purposes"]), False),
        "names": (
            values["names"] and x509.SubjectAlternativeName(values["names"]),
            values["names_critical"],
        ),
        "limits": (
            values["limits"] and x509.NameConstraints([values["limits"]], None),
            values["limits_critical"],
        ),
        "key": (identifier, False),
        "authority": (authority, False),
        "extra": (values["extra"], False),
    }
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(values["subject"]))
        .issuer_name(name(values["issuer"]))
        .public_key(KEY.public_key())
        .serial_number(values["serial"])
        .not_valid_before(START)
        .not_valid_after(START + values["life"])
    )
    for part, (extension, critical) in parts.items():
        if extension and part not in values["without"]:
            builder = builder.add_extension(extension, critical=critical)
    return builder.sign(KEY, values["digest"])


def leaf(**changes: Any) -> x509.Certificate:
    """A client's certificate that differs from a good one in ``changes``."""
    return made(
        {
            "subject": "alice@example.com",
            "issuer": "issuing",
            "serial": 1 << 130,
            "life": timedelta(minutes=10),
            "ca": False,
            "length": None,
            "critical": True,
            "usage": ("digital_signature",),
            "purposes": [CLIENT],
            "names": [URI, EMAIL],
            "names_critical": False,
            "limits": None,
            "limits_critical": True,
            "without": (),
            "extra": None,
            "digest": hashes.SHA256(),
        }
        | changes
    )


def issuing(**changes: Any) -> x509.Certificate:
    """An issuing CA that differs from a good one in ``changes``."""
    values = {
        "subject": "issuing",
        "issuer": "root",
        "life": timedelta(days=1000),
        "ca": True,
        "length": 0,
        "usage": ("key_cert_sign", "crl_sign"),
        "purposes": BOTH,
        "names": None,
        "limits": DNS,
    }
    return leaf(**(values | changes))


def root(**changes: Any) -> x509.Certificate:
    """A root that differs from a good one in ``changes``."""
    values = {"subject": "root", "length": 1, "purposes": None, "limits": None}
    return issuing(**(values | {"without": ("authority",)} | changes))


SERVER_LEAF = {"subject": None, "purposes": [SERVER], "names": [DNS], "names_critical": True}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        (SERVER_LEAF, set()),
        ({"serial": 1}, {"serial-short"}),
        ({"life": timedelta(0)}, {"validity-empty"}),
        ({"life": timedelta(days=400)}, {"validity-too-long"}),
        ({"ca": True}, {"leaf-is-ca"}),
        ({"critical": False}, {"leaf-is-ca"}),
        ({"usage": ("digital_signature", "key_cert_sign")}, {"key-usage-too-wide"}),
        ({"usage": ("digital_signature", "crl_sign")}, {"key-usage-too-wide"}),
        ({"usage": ("key_agreement",)}, {"key-usage-too-narrow"}),
        ({"purposes": BOTH}, {"purpose-not-one"}),
        ({"purposes": [ExtendedKeyUsageOID.CODE_SIGNING]}, {"purpose-not-one"}),
        ({"names": None}, {"extension-missing"}),
        ({"purposes": None}, {"extension-missing"}),
        ({"without": ("authority",)}, {"extension-missing"}),
        ({"without": ("key",)}, {"extension-missing"}),
        ({"without": ("basic",)}, {"extension-missing"}),
        ({"names": [URI, EMAIL, DNS]}, {"name-of-another-kind"}),
        ({"names": [URI, FROM_OFFICE, EMAIL]}, {"name-undoes-another"}),
        ({"names": [FROM_OFFICE, FROM_LAB, EMAIL]}, set()),
        ({"names": [EMAIL, x509.IPAddress(IPv4Address("192.0.2.1"))]}, {"name-of-another-kind"}),
        (SERVER_LEAF | {"names": [DNS, EMAIL]}, {"name-of-another-kind"}),
        (SERVER_LEAF | {"names_critical": False}, {"names-not-critical"}),
        (SERVER_LEAF | {"subject": "other.example.com"}, {"common-name-alone"}),
        ({"subject": "mallory@example.com"}, {"common-name-alone"}),
        ({"subject": "alice@example.com+alice@example.com"}, {"subject-odd"}),
        ({"subject": "O=alice@example.com"}, {"subject-odd"}),
        ({"extra": x509.InhibitAnyPolicy(0)}, {"extension-unknown"}),
        ({"extra": STRANGE}, {"extension-unknown"}),
        ({"limits": DNS}, {"extension-unknown"}),
    ],
)
def test_each_fault_of_a_leaf_has_its_rule(changes: dict[str, Any], expected: set[str]) -> None:
    assert {finding.rule for finding in lint_x509(leaf(**changes))} == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"limits": None}, {"limits-missing"}),
        ({"serial": 7}, {"serial-short"}),
        ({"life": timedelta(days=4000)}, {"validity-too-long"}),
        ({"ca": False, "length": None}, {"ca-is-leaf", "path-length-wrong"}),
        ({"critical": False}, {"ca-is-leaf"}),
        ({"length": None}, {"path-length-wrong"}),
        ({"length": 1}, {"path-length-wrong"}),
        ({"usage": ("key_cert_sign",)}, {"key-usage-too-narrow"}),
        ({"usage": ("crl_sign",)}, {"key-usage-too-narrow"}),
        ({"usage": ("key_cert_sign", "crl_sign", "digital_signature")}, {"key-usage-too-wide"}),
        ({"usage": ("key_cert_sign", "crl_sign", "key_agreement")}, {"key-usage-too-wide"}),
        ({"purposes": None}, {"extension-missing"}),
        ({"without": ("authority",)}, {"extension-missing"}),
        ({"without": ("usage",)}, {"extension-missing"}),
        ({"purposes": [*BOTH, ExtendedKeyUsageOID.CODE_SIGNING]}, {"purpose-too-wide"}),
        ({"purposes": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]}, {"purpose-too-wide"}),
        ({"limits_critical": False}, {"limits-not-critical"}),
        ({"extra": STRANGE}, {"extension-unknown"}),
        ({"names": [DNS]}, {"extension-unknown"}),
    ],
)
def test_each_fault_of_an_issuing_ca_has_its_rule(
    changes: dict[str, Any], expected: set[str]
) -> None:
    assert {finding.rule for finding in lint_ca(issuing(**changes))} == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"length": 0}, {"path-length-wrong"}),
        ({"length": None}, {"path-length-wrong"}),
        ({"usage": ("key_cert_sign",)}, {"key-usage-too-narrow"}),
        ({"without": ("key",)}, {"extension-missing"}),
    ],
)
def test_each_fault_of_a_root_has_its_rule(changes: dict[str, Any], expected: set[str]) -> None:
    assert {finding.rule for finding in lint_ca(root(**changes))} == expected


def test_a_leaf_is_no_ca_and_a_ca_no_leaf() -> None:
    assert lint_ca(leaf())
    assert lint_x509(issuing())
    assert lint_x509(root())


def test_ssh_certificates_of_ours_are_measured_by_our_profile() -> None:
    line = ssh_wire.certificate(ed25519.Ed25519PrivateKey.generate(), serial=0)
    assert lint_ssh(line) == lint(line, profile=Profile.OURS) != ()


LEAF = leaf().public_bytes(serialization.Encoding.DER)
ISSUING = issuing().public_bytes(serialization.Encoding.DER)


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn.t positive")
@settings(max_examples=500)
@given(st.sampled_from([LEAF, ISSUING]), st.data())
def test_whatever_the_parser_takes_can_be_linted(der: bytes, data: st.DataObject) -> None:
    changed = bytearray(der)
    changed[data.draw(st.integers(0, len(der) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError, x509.InvalidVersion):
        certificate = x509.load_der_x509_certificate(bytes(changed))
        lint_x509(certificate)
        lint_ca(certificate)


def by_openssl(folder: Path, *options: str) -> x509.Certificate:
    """What our library refuses to make, but openssl does."""
    command = ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=x"]
    if "-newkey" not in options:
        command += ["-newkey", "rsa:3072"]
    out = folder / "made.pem"
    subprocess.run(
        [*command, "-keyout", "/dev/null", "-out", str(out), *options],
        check=True,
        capture_output=True,
    )
    return x509.load_pem_x509_certificate(out.read_bytes())


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("-sha1",), "signature-weak"),
        (("-md5",), "signature-weak"),
        (("-set_serial", "0x" + "f" * 40), "serial-too-long"),
        (("-set_serial", "-3"), "serial-short"),
        (("-days", "3660"), "validity-too-long"),
        (("-newkey", "rsa:1024"), "key-weak"),
        (("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp224r1"), "key-weak"),
        (("-newkey", "ed448"), "key-weak"),
    ],
)
@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn.t positive")
def test_faults_that_only_others_can_make(
    options: tuple[str, ...], rule: str, tmp_path: Path
) -> None:
    made_elsewhere = by_openssl(tmp_path, *options)
    assert rule in {finding.rule for finding in lint_ca(made_elsewhere)}
    assert rule in {finding.rule for finding in lint_x509(made_elsewhere)}


def test_a_certificate_of_the_first_version_is_found(tmp_path: Path) -> None:
    config = tmp_path / "empty.cnf"
    config.write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    old = by_openssl(tmp_path, "-config", str(config))
    assert old.version is x509.Version.v1
    found = {finding.rule for finding in lint_x509(old)}
    assert {"version-not-3", "extension-missing"} <= found


def test_a_ca_key_is_stronger_than_its_subjects(tmp_path: Path) -> None:
    middling = by_openssl(tmp_path, "-newkey", "rsa:2048")
    assert "key-weak" in {finding.rule for finding in lint_ca(middling)}
    assert "key-weak" not in {finding.rule for finding in lint_x509(middling)}


@pytest.mark.parametrize("value", [b"", b"\xff", b"\x30\x03\x01\x01"])
def test_an_extension_that_cannot_be_read_is_a_finding(value: bytes) -> None:
    torn = x509.UnrecognizedExtension(x509.ExtensionOID.BASIC_CONSTRAINTS, value)
    for certificate, look in (
        (leaf(without=("basic",), extra=torn), lint_x509),
        (issuing(without=("basic",), extra=torn), lint_ca),
    ):
        assert {finding.rule for finding in look(certificate)} == {"certificate-malformed"}
