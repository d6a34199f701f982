"""The linter names each fault in a finished SSH certificate, and survives any bytes."""

import re
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from ca import specs
from ca.formats import ssh_lint
from ca.formats.ssh_certificate import (
    encode_to_be_signed,
    parse_certificate_blob,
    parse_certificate_line,
)
from ca.formats.ssh_keys import blob_of, parse_key_blob, sign_blob
from ca.formats.ssh_lint import Profile, Severity, lint, lint_certificate
from ca.formats.ssh_lint_rules import RULES
from ca.formats.wire import string
from tests.support.documentation import ROOT
from tests.support.subjects import ec_key, public_line

DAY = 86_400
START = 1_700_000_000
CA = ed25519.Ed25519PrivateKey.generate()
SUBJECT = ed25519.Ed25519PrivateKey.generate()
SHORT_RSA = rsa.generate_private_key(65537, 1024)
MIDDLING_RSA = rsa.generate_private_key(65537, 2048)
SECURITY_KEY = string(b"sk-ssh-ed25519@openssh.com") + string(b"\7" * 32) + string(b"ssh:")
FORCED = (b"force-command", b"id")
HOST = {"kind": "host", "principals": (b"box.example.com",), "extensions": ()}


def certificate(ca: Any = CA, *, spoil: int = 0, signature: bytes = b"", **changes: Any) -> bytes:
    """A blob that differs from a good user certificate in ``changes``."""
    values: dict[str, Any] = {
        "key_blob": parse_key_blob(blob_of(SUBJECT.public_key())),
        "nonce": b"n" * 32,
        "serial": 2**63 + 1,
        "kind": "user",
        "key_id": b"alice@example.com/decision/3",
        "principals": (b"alice@example.com", b"mysocket_ssh_signed"),
        "valid_after": START,
        "valid_before": START + 600,
        "critical_options": (),
        "extensions": ((b"decision@mysocket.io", b"d 3"), (b"permit-pty", b"")),
        "signature_key": blob_of(ca.public_key()),
    } | changes
    body = encode_to_be_signed(**values)
    signed = bytearray(signature or sign_blob(ca, body))
    signed[-1] ^= spoil
    return body + string(bytes(signed))


def rules(blob: bytes, profile: Profile = Profile.OURS) -> set[str]:
    return {finding.rule for finding in lint(blob, profile=profile)}


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("changes", [{}, HOST], ids=["user", "host"])
def test_good_certificates_have_no_findings(changes: dict[str, Any], profile: Profile) -> None:
    blob = certificate(**changes)
    assert lint(blob, profile=profile) == ()
    line = parse_certificate_blob(blob).line
    assert lint(line.encode() + b" a comment\n", profile=profile) == ()


@pytest.mark.parametrize("make", [ec_key, lambda: ec.generate_private_key(ec.SECP384R1())])
def test_other_kinds_of_ca_key_are_fine(make: Callable[[], Any]) -> None:
    assert rules(certificate(make())) == set()


def permits(*names: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name, b"") for name in names)


CASES: list[tuple[dict[str, Any], set[str], set[str]]] = [
    # What is changed, the findings as ours, the findings in general.
    ({"kind": 3}, {"kind-unknown"}, {"kind-unknown"}),
    ({"nonce": b"n" * 31}, {"nonce-short"}, set()),
    ({"nonce": b""}, {"nonce-short"}, {"nonce-short"}),
    ({"reserved": b"x"}, {"reserved-not-empty"}, {"reserved-not-empty"}),
    ({"spoil": 1}, {"signature-invalid"}, {"signature-invalid"}),
    ({"signature_key": b"x"}, {"signature-key-malformed"}, {"signature-key-malformed"}),
    (
        {"signature_key": string(b"ssh-dss")},
        {"signature-key-unsupported"},
        {"signature-key-unsupported"},
    ),
    (
        {"signature_key": certificate()},
        {"signature-key-is-certificate"},
        {"signature-key-is-certificate"},
    ),
    ({"ca": MIDDLING_RSA}, {"signature-key-weak"}, set()),
    ({"ca": SHORT_RSA}, {"signature-key-weak"}, {"signature-key-weak"}),
    ({"ca": SUBJECT}, {"subject-is-ca"}, {"subject-is-ca"}),
    (
        {"key_blob": parse_key_blob(blob_of(SHORT_RSA.public_key()))},
        {"subject-key-weak"},
        {"subject-key-weak"},
    ),
    ({"serial": 0}, {"serial-zero"}, {"serial-zero"}),
    ({"serial": 2**32 - 1}, set(), {"serial-guessable"}),
    ({"key_id": b""}, {"key-id-empty"}, {"key-id-empty"}),
    ({"key_id": b"a" * 320}, set(), set()),
    ({"key_id": b"a" * 321}, {"key-id-too-long"}, {"key-id-too-long"}),
    ({"key_id": b"a (serial 5)"}, {"key-id-odd"}, {"key-id-odd"}),
    ({"key_id": b"a\n"}, {"key-id-odd"}, {"key-id-odd"}),
    ({"principals": ()}, {"principals-empty"}, {"principals-empty"}),
    ({"principals": [b"p%d" % n for n in range(256)]}, set(), set()),
    (
        {"principals": [b"p%d" % n for n in range(257)]},
        {"principals-too-many"},
        {"principals-too-many"},
    ),
    ({"principals": (b"",)}, {"principal-empty"}, {"principal-empty"}),
    ({"principals": (b"bob,root",)}, {"principal-comma"}, {"principal-comma"}),
    ({"principals": (b"*",)}, {"principal-wildcard"}, {"principal-wildcard"}),
    ({"principals": (b"b?b",)}, {"principal-wildcard"}, {"principal-wildcard"}),
    ({"principals": (b"a\0",)}, {"principal-odd"}, {"principal-odd"}),
    ({"principals": (b"a b",)}, {"principal-odd"}, {"principal-odd"}),
    ({"principals": (b"\xc3\xa4",)}, {"principal-odd"}, {"principal-odd"}),
    ({"principals": (b"a" * 256,)}, {"principal-too-long"}, {"principal-too-long"}),
    ({"principals": (b"a", b"a")}, {"principal-duplicate"}, {"principal-duplicate"}),
    ({**HOST, "principals": ()}, {"principals-empty"}, {"principals-empty"}),
    ({**HOST, "principals": (b"*.example.com",)}, {"host-wildcard"}, {"host-wildcard"}),
    (
        {**HOST, "principals": (b"Box.example.com",)},
        {"principal-no-host-name"},
        {"principal-no-host-name"},
    ),
    ({**HOST, "principals": (b"-box",)}, {"principal-no-host-name"}, {"principal-no-host-name"}),
    ({**HOST, "principals": (b"192.0.2.1", b"2001:db8::1", b"box")}, set(), set()),
    ({"valid_before": 2**64 - 1}, {"validity-endless"}, {"validity-endless"}),
    ({"valid_before": START}, {"validity-empty"}, {"validity-empty"}),
    ({"valid_after": 0, "valid_before": 600}, {"validity-no-start"}, {"validity-no-start"}),
    ({"valid_before": START + DAY}, set(), set()),
    ({"valid_before": START + DAY + 1}, {"validity-too-long"}, set()),
    ({"valid_before": START + 31 * DAY + 1}, {"validity-too-long"}, {"validity-too-long"}),
    ({"valid_before": 2**63}, {"validity-too-long"}, {"validity-too-long"}),
    ({**HOST, "valid_before": START + 31 * DAY}, set(), set()),
    ({**HOST, "valid_before": START + 31 * DAY + 1}, {"validity-too-long"}, set()),
    ({**HOST, "valid_before": START + 401 * DAY}, {"validity-too-long"}, {"validity-too-long"}),
    (
        {"extensions": permits(b"permit-user-rc", b"permit-pty")},
        {"options-unordered"},
        {"options-unordered"},
    ),
    (
        {"extensions": permits(b"permit-pty", b"permit-pty")},
        {"option-duplicate"},
        {"option-duplicate"},
    ),
    ({"critical_options": (FORCED, FORCED)}, {"option-duplicate"}, {"option-duplicate"}),
    ({"critical_options": permits(b"permit-pty")}, {"option-unknown"}, {"option-unknown"}),
    ({"critical_options": permits(b"x@example.com")}, {"option-unknown"}, {"option-unknown"}),
    ({"extensions": permits(b"permit-anything")}, {"extension-unknown"}, {"extension-unknown"}),
    ({"extensions": permits(b"verify-required")}, {"extension-unknown"}, {"extension-unknown"}),
    ({"extensions": ((b"permit-pty", b"yes"),)}, {"flag-with-value"}, {"flag-with-value"}),
    ({"extensions": ((b"x@y", b"\1"),)}, {"option-value-odd"}, {"option-value-odd"}),
    (
        {"critical_options": ((b"force-command", b""),)},
        {"option-value-missing"},
        {"option-value-missing"},
    ),
    (
        {"critical_options": ((b"source-address", b""),)},
        {"option-value-missing"},
        {"option-value-missing"},
    ),
    ({"critical_options": (FORCED,)}, set(), set()),
    (
        {"critical_options": (FORCED,), "extensions": permits(b"permit-port-forwarding")},
        {"force-command-with-forwarding"},
        {"force-command-with-forwarding"},
    ),
    (
        {"critical_options": permits(b"verify-required")},
        {"verify-required-without-security-key"},
        {"verify-required-without-security-key"},
    ),
    (
        {
            "critical_options": permits(b"verify-required"),
            "key_blob": parse_key_blob(SECURITY_KEY),
        },
        set(),
        set(),
    ),
    ({"extensions": permits(b"no-touch-required")}, {"touch-not-required"}, {"touch-not-required"}),
    ({**HOST, "critical_options": (FORCED,)}, {"host-with-options"}, {"host-with-options"}),
    (
        {**HOST, "extensions": permits(b"permit-pty")},
        {"host-with-extensions"},
        {"host-with-extensions"},
    ),
    ({**HOST, "extensions": permits(b"x@example.com")}, set(), set()),
]


@pytest.mark.parametrize(("changes", "ours", "general"), CASES)
def test_each_fault_has_its_rule(
    changes: dict[str, Any], ours: set[str], general: set[str]
) -> None:
    blob = certificate(**changes)
    assert rules(blob) == ours
    assert rules(blob, Profile.GENERAL) == general


@pytest.mark.parametrize(
    ("networks", "good"),
    [
        (b"192.0.2.0/24", True),
        (b"192.0.2.1,2001:db8::/32", True),
        (b"192.0.2.1/24", False),
        (b"10.0.0.0/255.0.0.0", False),
        (b"192.0.2.1, 192.0.2.2", False),
        (b"192.0.2.1,", False),
        (b"example.com", False),
        (b"192.0.2.0/33", False),
        (b"fe80::1%eth0", False),
    ],
)
def test_source_addresses_are_what_sshd_can_read(networks: bytes, *, good: bool) -> None:
    found = rules(certificate(critical_options=((b"source-address", networks),)))
    assert found == (set() if good else {"source-address-invalid"})


def test_every_rule_can_be_broken() -> None:
    """Each rule is in the table of cases above, or in a test of its own below."""
    elsewhere = {
        "certificate-malformed",
        "certificate-type-unsupported",
        "not-a-certificate",
        "signature-sha1",
        "source-address-invalid",
    }
    seen = {rule for _, ours, general in CASES for rule in ours | general}
    assert seen | elsewhere == set(RULES)
    assert all(rule.ours is Severity.ERROR for rule in RULES.values() if rule.ours)


def test_severities_are_the_profiles() -> None:
    blob = certificate(serial=0)
    [ours] = lint(blob, profile=Profile.OURS)
    [general] = lint(blob, profile=Profile.GENERAL)
    assert (ours.severity, general.severity) == (Severity.ERROR, Severity.WARNING)


def test_the_limits_are_those_of_the_specs() -> None:
    limits = ssh_lint._LIMITS[Profile.OURS]
    assert limits.user_life == specs.MAX_GRANT_LIFE.total_seconds()
    assert limits.host_life == specs.MAX_HOST_LIFE.total_seconds()
    assert ssh_lint.MAX_PRINCIPALS == specs.MAX_PRINCIPALS
    assert ssh_lint.MAX_PRINCIPAL_LENGTH == specs.MAX_PRINCIPAL_LENGTH
    assert ssh_lint.MAX_KEY_ID_LENGTH == specs.MAX_KEY_ID_LENGTH


def test_a_certificate_that_is_already_read_is_judged_the_same() -> None:
    parsed = parse_certificate_blob(certificate(serial=0))
    assert lint_certificate(parsed, profile=Profile.OURS) == lint(parsed.blob, profile=Profile.OURS)
    spoilt = replace(parsed, signed=parsed.signed + b"x")
    assert "signature-invalid" in {
        finding.rule for finding in lint_certificate(spoilt, profile=Profile.OURS)
    }


def test_sha1_is_found_in_what_ssh_keygen_signs(tmp_path: Path) -> None:
    for name, words in (("ca", ["-t", "rsa", "-b", "3072"]), ("id", ["-t", "ed25519"])):
        subprocess.run(
            ["ssh-keygen", "-q", "-N", "", "-f", str(tmp_path / name), *words], check=True
        )
    sign = ["ssh-keygen", "-q", "-s", str(tmp_path / "ca"), "-I", "x", "-z", "7", "-n", "alice"]
    for algorithm, expected in (("ssh-rsa", {"signature-sha1"}), ("rsa-sha2-512", set())):
        window = ["-V", "-5m:+5m", "-t", algorithm]
        subprocess.run([*sign, *window, str(tmp_path / "id.pub")], check=True)
        assert rules((tmp_path / "id-cert.pub").read_bytes()) == expected


def test_what_ssh_keygen_makes_by_default_is_found_wanting(tmp_path: Path) -> None:
    for name in ("ca", "id"):
        command = ["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    sign = ["ssh-keygen", "-q", "-s", str(tmp_path / "ca"), "-I", "alice"]
    subprocess.run([*sign, str(tmp_path / "id.pub")], check=True)
    line = (tmp_path / "id-cert.pub").read_bytes()
    assert rules(line, Profile.GENERAL) == {
        "principals-empty",
        "serial-zero",
        "validity-endless",
        "validity-no-start",
    }


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (public_line(ec_key()).encode(), "not-a-certificate"),
        (blob_of(CA.public_key()), "not-a-certificate"),
        (string(b"ssh-dss-cert-v01@openssh.com"), "certificate-type-unsupported"),
        (b"ssh-dss-cert-v01@openssh.com AAAA", "certificate-type-unsupported"),
        (b"", "certificate-malformed"),
        (b"   \n", "certificate-malformed"),
        (certificate()[:-1], "certificate-malformed"),
        (certificate() + b"\0", "certificate-malformed"),
    ],
)
def test_what_is_no_certificate_is_one_finding(text: bytes, rule: str) -> None:
    assert [finding.rule for finding in lint(text, profile=Profile.GENERAL)] == [rule]


def test_a_certificate_full_of_faults_has_a_bounded_answer() -> None:
    bad = certificate(principals=[b"*,"] * 20_000, extensions=permits(*[b"x\0"] * 2_000))
    found = lint(bad, profile=Profile.GENERAL)
    assert len(found) < len(RULES)
    assert all(len(finding.message) < 10_000 for finding in found)


@given(st.binary())
def test_any_bytes_are_findings(line: bytes) -> None:
    assert lint(line, profile=Profile.GENERAL)


GOOD = parse_certificate_blob(certificate()).line.encode()


@settings(max_examples=300)
@given(st.data())
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    key_type, encoded = GOOD.split()
    blob = bytearray(b64decode(encoded))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    assert lint(bytes(blob), profile=Profile.GENERAL)
    assert lint(key_type + b" " + b64encode(bytes(blob)), profile=Profile.GENERAL)


octets = st.binary(max_size=12)
pairs = st.lists(st.tuples(octets, octets), max_size=4)


@given(
    st.lists(octets, max_size=4), pairs, pairs, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
)
def test_any_signed_content_can_be_judged(
    principals: list[bytes],
    options: list[tuple[bytes, bytes]],
    extensions: list[tuple[bytes, bytes]],
    moment: int,
    kind: int,
) -> None:
    blob = certificate(
        principals=principals,
        critical_options=options,
        extensions=extensions,
        valid_before=moment,
        kind=kind,
    )
    found = lint(blob, profile=Profile.GENERAL)
    assert {finding.rule for finding in found} <= set(RULES)
    assert all(finding.message.isprintable() for finding in found)
    parse_certificate_line(parse_certificate_blob(blob).line)


def test_the_documentation_shows_every_rule() -> None:
    page = (ROOT / "docs" / "ssh-lint.md").read_text("utf-8")
    shown = re.findall(r"^\| `([a-z0-9-]+)` \| (\S+) \| (\S+) \| (.+) \|$", page, re.MULTILINE)
    assert shown == [
        (rule.name, rule.ours or "none", rule.general or "none", rule.meaning)
        for rule in RULES.values()
    ]
