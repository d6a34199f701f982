"""What passes as a submitted key, and that nothing else ever escapes as an odd exception."""

import hashlib
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509 import load_der_x509_csr
from hypothesis import given, settings
from hypothesis import strategies as st
from sshpubkeys import InvalidKeyError, SSHKey

from ca import errors
from ca.subject_keys import (
    MAX_KEY_BYTES,
    SSH_KEY_TYPES,
    TlsPublicKey,
    parse_csr,
    parse_ssh_public_key,
)
from tests.support.subjects import csr, ec_key, public_line

RSA_2048 = rsa.generate_private_key(65537, 2048)
P256 = ec_key()
ED25519 = ed25519.Ed25519PrivateKey.generate()
LINES = tuple(public_line(key) for key in (RSA_2048, P256, ED25519))
CSR = csr(P256)


def sshstr(content: bytes) -> bytes:
    return len(content).to_bytes(4) + content


def line_of(key_type: str, *fields: bytes) -> str:
    blob = sshstr(key_type.encode()) + b"".join(sshstr(field) for field in fields)
    return f"{key_type} {b64encode(blob).decode()}"


def rsa_line(modulus: int, exponent: int = 65537) -> str:
    numbers = [value.to_bytes(value.bit_length() // 8 + 1) for value in (exponent, modulus)]
    return line_of("ssh-rsa", *numbers)


@pytest.mark.parametrize(
    ("key", "key_type"),
    [
        (ED25519, "ssh-ed25519"),
        (RSA_2048, "ssh-rsa"),
        (P256, "ecdsa-sha2-nistp256"),
        (ec.generate_private_key(ec.SECP384R1()), "ecdsa-sha2-nistp384"),
        (ec.generate_private_key(ec.SECP521R1()), "ecdsa-sha2-nistp521"),
    ],
)
def test_every_certified_type_parses(key: ed25519.Ed25519PrivateKey, key_type: str) -> None:
    parsed = parse_ssh_public_key(public_line(key))
    assert (parsed.key_type, parsed.line) == (key_type, public_line(key))
    assert parsed.key == key.public_key()
    assert key_type in SSH_KEY_TYPES


@pytest.mark.parametrize(
    "text",
    [
        f"{LINES[1]} alice@laptop, with blanks\n",
        f"{LINES[1]}\r\n",
        f"  {LINES[1]}",
        LINES[1].replace(" ", "\t"),
        f"{LINES[1]} é".encode(),
    ],
)
def test_comment_and_line_end_are_dropped(text: str | bytes) -> None:
    assert parse_ssh_public_key(text).line == LINES[1]


def test_the_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    for line in LINES:
        (tmp_path / "key.pub").write_text(line)
        shown = subprocess.run(
            ["ssh-keygen", "-l", "-f", tmp_path / "key.pub"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert parse_ssh_public_key(line).fingerprint == shown[1]


PLAIN = LINES[2].split()[1]
BLOB = b64decode(PLAIN)
POINT = b64decode(LINES[1].split()[1])[-64:]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "key-malformed"),
        ("ssh-ed25519", "key-malformed"),
        ("ssh-ed25519 ", "key-malformed"),
        (f"{LINES[0]}\n{LINES[1]}", "key-malformed"),
        (f"{LINES[0]}\n\n", "key-malformed"),
        (f"{LINES[0]}\x00", "key-malformed"),
        (f"{LINES[0]}\x1b[31m", "key-malformed"),
        (b"\xff\xfe ssh-ed25519", "key-malformed"),
        ("\ud800 x", "key-malformed"),
        (f'from="10.0.0.1" {LINES[2]}', "key-malformed"),
        (f"restrict {LINES[2]}", "key-type-unsupported"),
        (f"cert-authority {LINES[2]}", "key-type-unsupported"),
        (f"ssh-rsa {PLAIN}", "key-malformed"),
        (f"ssh-ed25519 {PLAIN}!", "key-malformed"),
        (f"ssh-ed25519 {PLAIN}====", "key-malformed"),
        (LINES[1].rstrip("="), "key-malformed"),
        (f"ssh-ed25519 {b64encode(BLOB + b'x').decode()}", "key-malformed"),
        (f"ssh-ed25519 {b64encode(BLOB[:-1]).decode()}", "key-malformed"),
        (f"ssh-ed25519 {b64encode(b'abc').decode()}", "key-malformed"),
        ("x" * (MAX_KEY_BYTES + 1), "key-too-large"),
        (f"{LINES[0]} {'c' * MAX_KEY_BYTES}", "key-too-large"),
        ("ssh-dss AAAAB3NzaC1kc3M=", "key-type-unsupported"),
        (line_of("sk-ssh-ed25519@openssh.com", BLOB[-32:], b"https://x.example"), "key-malformed"),
        (line_of("sk-ssh-ed25519@openssh.com", BLOB[-32:], b""), "key-malformed"),
        (line_of("sk-ssh-ed25519@openssh.com", BLOB[-32:], b"ssh:\xff"), "key-malformed"),
        (line_of("sk-ssh-ed25519@openssh.com", BLOB[-32:], b"ssh:\n"), "key-malformed"),
        (line_of("sk-ssh-ed25519@openssh.com", BLOB[-32:]), "key-malformed"),
        (line_of("sk-ssh-ed25519@openssh.com", BLOB[-32:], b"ssh:", b"x"), "key-malformed"),
        (line_of("sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"), "key-weak"),
        (
            line_of("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\x04" + POINT, b"web:"),
            "key-malformed",
        ),
        (
            line_of("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp384", b"\x04" + POINT, b"ssh:"),
            "key-malformed",
        ),
        (line_of("webauthn-sk-ecdsa-sha2-nistp256@openssh.com", b"x"), "key-type-unsupported"),
        (line_of("ssh-mldsa44-ed25519@openssh.com", b"x"), "key-type-unsupported"),
        (line_of("sk-ssh-ed25519-cert-v01@openssh.com", b"n" * 32), "key-is-certificate"),
        (line_of("ssh-ed25519-cert-v01@openssh.com", b"n" * 32), "key-is-certificate"),
        (
            "ssh-ed25519 " + line_of("ssh-ed25519-cert-v01@openssh.com", b"n").split()[1],
            "key-is-certificate",
        ),
        (line_of("ssh-ed25519", bytes(32)), "key-weak"),
        (line_of("ssh-ed25519", bytes.fromhex("01" + "00" * 30 + "80")), "key-weak"),
        (line_of("ssh-ed25519", bytes.fromhex("ee" + "ff" * 30 + "7f")), "key-weak"),
        (line_of("ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"\x01" * 64), "key-malformed"),
        (line_of("ecdsa-sha2-nistp256", b"nistp384", b"\x04" + b"\x01" * 96), "key-malformed"),
        (line_of("ecdsa-sha2-nistp256", b"nistp256", b"\x00"), "key-malformed"),
        (line_of("ecdsa-sha2-nistp256", b"nistp256", b"\x05" + POINT), "key-malformed"),
        (f"{LINES[2][:-8]} {LINES[2][-8:]}", "key-malformed"),
    ],
)
def test_everything_else_is_refused_with_its_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(errors.SubjectKeyError) as caught:
        parse_ssh_public_key(text)
    assert caught.value.reason == reason


def test_an_rsa_number_with_needless_zeros_is_not_canonical() -> None:
    numbers = RSA_2048.public_key().public_numbers()
    exponent = numbers.e.to_bytes(3)
    padded = b"\0\0" + numbers.n.to_bytes(256)
    with pytest.raises(errors.KeyMalformedError):
        parse_ssh_public_key(line_of("ssh-rsa", exponent, padded))


@pytest.mark.parametrize(
    "line",
    [
        line_of("sk-ssh-ed25519@openssh.com", BLOB[-32:], b"ssh:"),
        line_of("sk-ssh-ed25519@openssh.com", BLOB[-32:], b"ssh:work"),
        line_of("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\x04" + POINT, b"ssh:"),
    ],
)
def test_a_security_key_is_not_taken_for_a_plain_one(line: str) -> None:
    """``cryptography`` loads the first of them as the plain Ed25519 key inside it."""
    parsed = parse_ssh_public_key(line)
    assert parsed.key_type == line.split(maxsplit=1)[0]
    assert parsed.is_security_key
    assert (parsed.application or "").startswith("ssh:")
    assert parsed.line == line
    assert b64encode(parsed.blob).decode() == line.split()[1]


def test_a_security_key_made_for_the_web_is_told_so() -> None:
    with pytest.raises(errors.KeyMalformedError, match="ssh:"):
        parse_ssh_public_key(line_of("sk-ssh-ed25519@openssh.com", BLOB[-32:], b"https://x.org"))


def test_a_plain_key_is_no_security_key() -> None:
    parsed = parse_ssh_public_key(LINES[2])
    assert (parsed.is_security_key, parsed.application) == (False, None)


def test_both_parsers_must_take_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_key: SSHKey) -> None:
        raise InvalidKeyError

    monkeypatch.setattr(SSHKey, "parse", refuse)
    never_seen = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(errors.KeyMalformedError):
        parse_ssh_public_key(line_of("ssh-ed25519", never_seen))


def _roca_like() -> int:
    """A 2048-bit number whose residues look like those of the broken generator."""
    primorial = 1
    for prime in range(3, 168, 2):
        if all(prime % divisor for divisor in range(3, prime, 2)):
            primorial *= prime
    factor = (1 << 2047) // primorial
    while True:
        candidate = factor * primorial + pow(65537, factor, primorial)
        if candidate % 2 and all(candidate % prime for prime in range(169, 752)):
            return candidate
        factor += 1


def _close_primes_like() -> int:
    """The product of two neighbouring 1024-bit numbers without small factors."""
    first = RSA_2048.private_numbers().p
    second = first + 2
    while any(second % prime == 0 for prime in range(3, 752, 2)):
        second += 2
    return first * second


@pytest.mark.parametrize(
    "line",
    [
        public_line(rsa.generate_private_key(65537, 1024)),
        rsa_line(RSA_2048.public_key().public_numbers().n, exponent=3),
        rsa_line(RSA_2048.public_key().public_numbers().n // 1009 * 3 | 1),
        rsa_line(_roca_like()),
        rsa_line(_close_primes_like()),
        rsa_line((1 << 9000) + 1),
    ],
    ids=["1024", "exponent 3", "small factor", "roca", "close primes", "9001 bits"],
)
def test_weak_rsa_keys_are_refused(line: str) -> None:
    with pytest.raises(errors.KeyWeakError):
        parse_ssh_public_key(line)


def _never_another_exception(text: str | bytes) -> None:
    try:
        parsed = parse_ssh_public_key(text)
    except errors.SubjectKeyError:
        return
    assert parse_ssh_public_key(parsed.line) == parsed


@given(st.text() | st.binary())
def test_any_text_gives_a_key_or_a_typed_error(text: str | bytes) -> None:
    _never_another_exception(text)


@given(st.sampled_from(sorted(SSH_KEY_TYPES)), st.lists(st.binary(max_size=80), max_size=4))
def test_any_fields_give_a_key_or_a_typed_error(key_type: str, fields: list[bytes]) -> None:
    _never_another_exception(line_of(key_type, *fields))


@given(st.sampled_from(LINES), st.data())
def test_any_changed_byte_gives_a_key_or_a_typed_error(line: str, data: st.DataObject) -> None:
    key_type, encoded = line.split()
    blob = bytearray(b64decode(encoded))
    for _ in range(data.draw(st.integers(1, 3))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    _never_another_exception(f"{key_type} {b64encode(bytes(blob)).decode()}")


def test_a_csr_yields_its_key_and_nothing_else() -> None:
    parsed = parse_csr(CSR)
    assert parsed == TlsPublicKey(key=P256.public_key())
    assert parsed.fingerprint == hashlib.sha256(parsed.spki).hexdigest()
    assert parse_csr(CSR.decode().replace("\n", "\r\n")) == parsed
    assert parse_csr(
        b"\n" + CSR.replace(b"BEGIN C", b"BEGIN NEW C").replace(b"END C", b"END NEW C")
    )


def test_the_csr_of_the_original_client_is_accepted() -> None:
    assert parse_csr(csr(RSA_2048)).key == RSA_2048.public_key()


def _tampered(pem: bytes) -> bytes:
    der = bytearray(b64decode(b"".join(pem.split(b"\n")[1:-2])))
    der[-1] ^= 1
    body = b64encode(bytes(der))
    return b"-----BEGIN CERTIFICATE REQUEST-----\n%s\n-----END CERTIFICATE REQUEST-----" % body


def _pem(body: bytes) -> bytes:
    encoded = b64encode(body)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n%s\n-----END CERTIFICATE REQUEST-----\n" % encoded


def _csr_over(digest: str, directory: Path) -> bytes:
    key = P256.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (directory / "key.pem").write_bytes(key)
    command = ["openssl", "req", "-new", f"-{digest}", "-subj", "/CN=x"]
    command += ["-key", str(directory / "key.pem")]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "csr-malformed"),
        (CSR + CSR, "csr-malformed"),
        (CSR.replace(b"REQUEST", b"REQUESTS"), "csr-malformed"),
        (b"hello\n" + CSR, "csr-malformed"),
        (_pem(b"\x30\x03\x02\x01\x00"), "csr-malformed"),
        (CSR.replace(b"\n-----END", b"A\n-----END"), "csr-malformed"),
        (b"x" * (MAX_KEY_BYTES + 1), "csr-too-large"),
        ("\ud800", "csr-malformed"),
        (_tampered(CSR), "csr-signature-invalid"),
    ],
)
def test_a_bad_csr_is_refused_with_its_reason(pem: str | bytes, reason: str) -> None:
    with pytest.raises(errors.CsrError) as caught:
        parse_csr(pem)
    assert caught.value.reason == reason


@pytest.mark.parametrize("digest", ["sha1", "sha224"])
def test_a_csr_signed_over_a_short_hash_proves_nothing(digest: str, tmp_path: Path) -> None:
    with pytest.raises(errors.CsrSignatureError):
        parse_csr(_csr_over(digest, tmp_path))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (rsa.generate_private_key(65537, 1024), "key-weak"),
        (ec.generate_private_key(ec.SECP521R1()), "key-type-unsupported"),
        (ec.generate_private_key(ec.SECP256K1()), "key-type-unsupported"),
        (dsa.generate_private_key(2048), "key-type-unsupported"),
    ],
)
def test_a_csr_with_an_unfit_key_is_refused(key: ec.EllipticCurvePrivateKey, reason: str) -> None:
    with pytest.raises(errors.SubjectKeyError) as caught:
        parse_csr(csr(key))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "kind",
    [
        ("-algorithm", "ed25519"),
        ("-algorithm", "ed448"),
        # Which the library that reads requests does not know at all.
        ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp112r1"),
    ],
)
def test_a_csr_is_told_that_its_type_of_key_is_not_certified(
    kind: tuple[str, ...], tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", *kind, "-out", key], check=True, capture_output=True)
    request = subprocess.run(
        ["openssl", "req", "-new", "-subj", "/CN=x", "-key", key], check=True, capture_output=True
    ).stdout
    with pytest.raises(errors.KeyTypeUnsupportedError):
        parse_csr(request)


@given(st.text() | st.binary() | st.binary().map(_pem))
def test_any_text_gives_a_csr_or_a_typed_error(text: str | bytes) -> None:
    with pytest.raises((errors.CsrError, errors.SubjectKeyError)):
        parse_csr(text)


def test_a_csr_whose_signature_has_unused_bits_is_refused() -> None:
    """The library does not look at how many it says there are, if they are zeros."""
    while True:
        der = bytearray(b64decode(b"".join(csr(ec_key()).split(b"\n")[1:-2])))
        if not der[-1] & 1:
            break
    der[-1 - len(load_der_x509_csr(bytes(der)).signature)] = 1
    with pytest.raises(errors.CsrSignatureError):
        parse_csr(_pem(bytes(der)))


@settings(max_examples=300)
@given(st.data())
def test_a_csr_with_any_changed_byte_is_refused(data: st.DataObject) -> None:
    der = bytearray(b64decode(b"".join(CSR.split(b"\n")[1:-2])))
    place = data.draw(st.integers(0, len(der) - 1))
    der[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises((errors.CsrError, errors.SubjectKeyError)):
        parse_csr(_pem(bytes(der)))
