"""SSH keys and signatures: what is read is canonical, what verifies is of the key's own kind."""

import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from ca.formats import ssh_keys
from ca.formats.errors import (
    FormatError,
    KeyFormatError,
    KeyIsCertificateError,
    KeyTypeUnknownError,
    SignatureInvalid,
)
from ca.formats.ssh_certificate import parse_certificate_line, verify
from ca.formats.ssh_keys import (
    KEY_TYPES,
    MAX_KEY_BLOB_BYTES,
    MAX_KEY_LINE_BYTES,
    MAX_SIGNATURE_BYTES,
    SK_ECDSA,
    SK_ED25519,
    USER_PRESENT,
    USER_VERIFIED,
    KeyBlob,
    parse_key_blob,
    parse_key_line,
    sign_blob,
    verify_signature,
)
from ca.formats.wire import mpint, string
from tests.support.security_keys import SecurityKey
from tests.support.subjects import public_line

PRIVATE: dict[str, Any] = {
    "ssh-ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ecdsa-sha2-nistp256": ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-sha2-nistp384": ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-sha2-nistp521": ec.generate_private_key(ec.SECP521R1()),
    "ssh-rsa": rsa.generate_private_key(65537, 2048),
}
SECURITY = {name: SecurityKey(name) for name in (SK_ED25519, SK_ECDSA)}
PUBLIC: dict[str, KeyBlob] = {
    name: parse_key_blob(ssh_keys.blob_of(key.public_key())) for name, key in PRIVATE.items()
} | {name: key.key_blob for name, key in SECURITY.items()}
ED25519_RAW = PRIVATE["ssh-ed25519"].public_key().public_bytes_raw()


def sign(key_type: str, message: bytes) -> bytes:
    if key_type in SECURITY:
        return SECURITY[key_type].sign(message)
    return sign_blob(PRIVATE[key_type], message)


SIGNATURES = {name: sign(name, b"message") for name in PUBLIC}


def test_every_type_is_tested() -> None:
    assert set(PUBLIC) == set(KEY_TYPES)


@pytest.mark.parametrize("key_type", PUBLIC)
def test_a_key_is_what_openssh_takes_it_for(key_type: str, tmp_path: Path) -> None:
    key = PUBLIC[key_type]
    (tmp_path / "key.pub").write_text(f"{key.line}\n")
    command = ["ssh-keygen", "-l", "-f", str(tmp_path / "key.pub")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert key.fingerprint in shown
    assert key.key_type == key_type
    assert key.is_security_key is key_type.startswith("sk-")
    assert parse_key_line(f"{key.line} a comment\n") == key


@pytest.mark.parametrize("key_type", PRIVATE)
def test_plain_blobs_are_those_of_the_library(key_type: str) -> None:
    assert PUBLIC[key_type].line == public_line(PRIVATE[key_type])


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"", KeyFormatError),
        (b"ssh-ed25519", KeyFormatError),
        (b"ssh-ed25519 !!!", KeyFormatError),
        (f"restrict {PUBLIC['ssh-rsa'].line}", KeyTypeUnknownError),
        (f'from="1.2.3.4" {PUBLIC["ssh-rsa"].line}', KeyFormatError),
        (f"{PUBLIC['ssh-ed25519'].line}\n\n", KeyFormatError),
        (f"{PUBLIC['ssh-ed25519'].line}\n{PUBLIC['ssh-ed25519'].line}", KeyFormatError),
        (PUBLIC["ssh-ed25519"].line + " \0", KeyFormatError),
        (f"ssh-rsa {PUBLIC['ssh-ed25519'].line.split()[1]}", KeyFormatError),
        (f"ssh-dss {PUBLIC['ssh-ed25519'].line.split()[1]}", KeyTypeUnknownError),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", KeyIsCertificateError),
        ("\ud800", KeyFormatError),
        (b"x" * (MAX_KEY_LINE_BYTES + 1), KeyFormatError),
    ],
)
def test_no_other_line_is_a_key(line: bytes | str, error: type[FormatError]) -> None:
    with pytest.raises(error):
        parse_key_line(line)


POINT = PUBLIC["ecdsa-sha2-nistp256"].blob[-65:]
MODULUS = PRIVATE["ssh-rsa"].public_key().public_numbers().n


@pytest.mark.parametrize(
    "fields",
    [
        [b"ssh-ed25519", ED25519_RAW, b""],
        [b"ssh-ed25519", ED25519_RAW[1:]],
        [b"ssh-ed25519", ED25519_RAW + b"\0"],
        [b"ssh-ed25519"],
        [b""],
        [b"x" * 65, b""],
        [b"ecdsa-sha2-nistp256", b"nistp384", POINT],
        [b"ecdsa-sha2-nistp256", b"nistp256", b"\x02" + POINT[1:33]],
        [b"ecdsa-sha2-nistp256", b"nistp256", POINT[:-1] + bytes([POINT[-1] ^ 1])],
        [b"ecdsa-sha2-nistp256", b"nistp256", b"\0"],
        [b"ssh-rsa", b"\1\0\1", b"\0\0" + MODULUS.to_bytes(256)],
        [b"ssh-rsa", b"\1\0\1", MODULUS.to_bytes(256)],
        [b"ssh-rsa", b"", b""],
        [SK_ED25519.encode(), ED25519_RAW],
        [SK_ED25519.encode(), ED25519_RAW, b""],
        [SK_ED25519.encode(), ED25519_RAW, "ssh:ü".encode()],
        [SK_ED25519.encode(), ED25519_RAW, b"ssh:\n"],
        [SK_ED25519.encode(), ED25519_RAW, b"x" * 256],
        [SK_ECDSA.encode(), b"nistp521", POINT, b"ssh:"],
        [b"ssh-ed25519-cert-v01@openssh.com", ED25519_RAW],
        [b"ssh-dss", b"x"],
        [b"ssh-ed25519", b"x" * MAX_KEY_BLOB_BYTES],
    ],
)
def test_no_other_blob_is_a_key(fields: list[bytes]) -> None:
    with pytest.raises(KeyFormatError):
        parse_key_blob(b"".join(map(string, fields)))


@given(st.binary(max_size=200))
def test_any_blob_gives_a_key_or_a_typed_error(blob: bytes) -> None:
    with pytest.raises(KeyFormatError):
        parse_key_blob(blob)


@given(st.sampled_from(sorted(PUBLIC)), st.data())
def test_a_changed_blob_is_another_key_or_none(key_type: str, data: st.DataObject) -> None:
    blob = bytearray(PUBLIC[key_type].blob)
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = parse_key_blob(bytes(blob))
    except KeyFormatError:
        return
    assert read != PUBLIC[key_type]
    if not read.is_security_key:
        assert ssh_keys.blob_of(read.key) == bytes(blob)


def test_ssh_has_no_other_keys() -> None:
    for key in (dsa.generate_private_key(2048), ec.generate_private_key(ec.SECP256K1())):
        with pytest.raises(KeyTypeUnknownError):
            ssh_keys.blob_of(key.public_key())  # type: ignore[arg-type]
        with pytest.raises(KeyTypeUnknownError):
            sign_blob(key, b"")  # type: ignore[arg-type]


@pytest.mark.parametrize("key_type", PUBLIC)
def test_a_signature_holds_for_its_key_and_message_alone(key_type: str) -> None:
    signature = sign(key_type, b"message")
    facts = verify_signature(PUBLIC[key_type], signature, b"message")
    assert facts.algorithm == ("rsa-sha2-512" if key_type == "ssh-rsa" else key_type)
    assert (facts.flags is not None) is PUBLIC[key_type].is_security_key
    for key, message in ((PUBLIC[key_type], b"other"), *((k, b"message") for k in PUBLIC.values())):
        if (key, message) != (PUBLIC[key_type], b"message"):
            with pytest.raises(SignatureInvalid):
                verify_signature(key, signature, message)


@given(st.sampled_from(sorted(PUBLIC)), st.data())
def test_a_changed_signature_does_not_hold(key_type: str, data: st.DataObject) -> None:
    signature = bytearray(SIGNATURES[key_type])
    signature[data.draw(st.integers(0, len(signature) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureInvalid):
        verify_signature(PUBLIC[key_type], bytes(signature), b"message")


@given(st.sampled_from(sorted(PUBLIC)), st.binary(max_size=200))
def test_any_bytes_are_no_signature(key_type: str, raw: bytes) -> None:
    for signature in (raw, string(key_type.encode()) + string(raw)):
        with pytest.raises(SignatureInvalid):
            verify_signature(PUBLIC[key_type], signature, b"message")


def test_a_signature_can_be_too_long() -> None:
    with pytest.raises(SignatureInvalid, match="longer than any"):
        verify_signature(PUBLIC["ssh-ed25519"], bytes(MAX_SIGNATURE_BYTES + 1), b"message")


def test_a_signature_with_a_tail_is_none() -> None:
    for key_type, key in PUBLIC.items():
        with pytest.raises(SignatureInvalid):
            verify_signature(key, sign(key_type, b"message") + b"\0", b"message")


@pytest.mark.parametrize(
    ("name", "digest"),
    [("ssh-rsa", hashes.SHA1()), ("rsa-sha2-256", hashes.SHA1()), ("ssh-rsa", hashes.SHA512())],
)
def test_sha1_is_refused_whatever_it_is_called(name: str, digest: hashes.HashAlgorithm) -> None:
    raw = PRIVATE["ssh-rsa"].sign(b"message", padding.PKCS1v15(), digest)
    with pytest.raises(SignatureInvalid):
        verify_signature(PUBLIC["ssh-rsa"], string(name.encode()) + string(raw), b"message")


def test_rsa_with_sha256_is_taken() -> None:
    raw = PRIVATE["ssh-rsa"].sign(b"message", padding.PKCS1v15(), hashes.SHA256())
    signature = string(b"rsa-sha2-256") + string(raw)
    assert verify_signature(PUBLIC["ssh-rsa"], signature, b"message").algorithm == "rsa-sha2-256"


def test_an_rsa_key_openssh_would_not_use_verifies_nothing() -> None:
    numbers = rsa.RSAPublicNumbers(65537, MODULUS >> 1025 | 1)
    key = parse_key_blob(ssh_keys.blob_of(numbers.public_key()))
    with pytest.raises(SignatureInvalid, match="too short"):
        verify_signature(key, SIGNATURES["ssh-rsa"], b"message")


def test_an_ecdsa_signature_of_zeros_is_none() -> None:
    for r, s in ((0, 0), (0, 1), (1, 0), (2**256, 1)):
        signature = string(b"ecdsa-sha2-nistp256") + string(mpint(r) + mpint(s))
        with pytest.raises(SignatureInvalid):
            verify_signature(PUBLIC["ecdsa-sha2-nistp256"], signature, b"message")


@pytest.mark.parametrize("key_type", SECURITY)
def test_what_a_security_key_says_of_itself_is_signed(key_type: str) -> None:
    key, flags = SECURITY[key_type], USER_PRESENT | USER_VERIFIED
    signature = key.sign(b"message", flags=flags, counter=77)
    facts = verify_signature(key.key_blob, signature, b"message")
    assert (facts.flags, facts.counter) == (flags, 77)
    for place in (-5, -1):  # the flags, the counter
        changed = bytearray(signature)
        changed[place] ^= 1
        with pytest.raises(SignatureInvalid):
            verify_signature(key.key_blob, bytes(changed), b"message")


@pytest.mark.parametrize("key_type", SECURITY)
def test_security_keys_can_be_left_out(key_type: str) -> None:
    signature = SECURITY[key_type].sign(b"message")
    with pytest.raises(SignatureInvalid, match="not taken here"):
        verify_signature(PUBLIC[key_type], signature, b"message", allow_sk=False)


def test_a_signature_for_another_relying_party_does_not_hold() -> None:
    key = SecurityKey()
    signature = key.sign(b"message")
    key.application = "ssh:other"
    with pytest.raises(SignatureInvalid):
        verify_signature(key.key_blob, signature, b"message")


def test_a_security_key_does_not_verify_what_its_plain_half_signed() -> None:
    plain = PRIVATE["ssh-ed25519"]
    line = b64encode(string(SK_ED25519.encode()) + string(ED25519_RAW) + string(b"ssh:")).decode()
    key = parse_key_line(f"{SK_ED25519} {line}")
    with pytest.raises(SignatureInvalid):
        verify_signature(key, sign_blob(plain, b"message"), b"message")
    flagged = string(SK_ED25519.encode()) + string(plain.sign(b"message")) + b"\x01\0\0\0\1"
    with pytest.raises(SignatureInvalid):
        verify_signature(key, flagged, b"message")


def test_openssh_signs_what_we_verify(tmp_path: Path) -> None:
    """The inverse is in the tests of SSHSIG and of certificates."""
    ca, subject = tmp_path / "ca", tmp_path / "subject"
    for path, kind in ((ca, "ecdsa"), (subject, "ed25519")):
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path)]
        subprocess.run(command, check=True)
    command = ["ssh-keygen", "-q", "-s", str(ca), "-I", "id", "-n", "me", f"{subject}.pub"]
    subprocess.run(command, check=True)
    verify(parse_certificate_line((tmp_path / "subject-cert.pub").read_bytes()))
