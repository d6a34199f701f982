"""SSH certificates: one encoding each, strict framing, and any content for the linter to judge."""

import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from ca.formats.errors import (
    CertificateFormatError,
    CertificateTypeUnknownError,
    FormatError,
    SignatureInvalid,
    WireError,
)
from ca.formats.ssh_certificate import (
    MAX_CERTIFICATE_BYTES,
    MAX_CERTIFICATE_LINE_BYTES,
    encode_options,
    encode_to_be_signed,
    parse_certificate_blob,
    parse_certificate_line,
    verify,
)
from ca.formats.ssh_keys import KEY_TYPES, SK_ED25519, blob_of, parse_key_blob, sign_blob
from ca.formats.wire import string, uint32
from tests.support import ssh_wire
from tests.support.security_keys import SecurityKey

CA = ed25519.Ed25519PrivateKey.generate()
AUTHORITY = blob_of(CA.public_key())
SUBJECT = parse_key_blob(blob_of(ed25519.Ed25519PrivateKey.generate().public_key()))
BYTES = st.binary(max_size=40)
NAMES = st.lists(BYTES, max_size=4).map(tuple)
PAIRS = st.lists(st.tuples(BYTES, BYTES), max_size=4).map(tuple)


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "key_blob": SUBJECT,
        "nonce": b"n" * 32,
        "serial": 7,
        "kind": "user",
        "key_id": b"alice@example.com/d/1",
        "principals": (b"alice",),
        "valid_after": 1_000_000_000,
        "valid_before": 1_000_000_600,
        "critical_options": (),
        "extensions": ((b"permit-pty", b""),),
        "signature_key": AUTHORITY,
    } | changes


def signed(**changes: Any) -> bytes:
    body = encode_to_be_signed(**fields(**changes))
    return body + string(sign_blob(CA, body))


def test_the_bytes_are_those_of_an_independent_writer() -> None:
    theirs = parse_certificate_line(
        ssh_wire.certificate(CA, serial=7, critical=[(b"force-command", b"id")])
    )
    ours = encode_to_be_signed(
        **fields(
            key_blob=theirs.key_blob,
            key_id=b"alice@example.com",
            principals=(b"alice@example.com",),
            critical_options=((b"force-command", b"id"),),
        )
    )
    assert ours == theirs.signed
    verify(theirs)


@given(
    serial=st.integers(0, 2**64 - 1),
    kind=st.sampled_from(["user", "host", 0, 3, 2**32 - 1]),
    nonce=BYTES,
    key_id=BYTES,
    principals=NAMES,
    valid_after=st.integers(0, 2**64 - 1),
    valid_before=st.integers(0, 2**64 - 1),
    critical_options=PAIRS,
    extensions=PAIRS,
    reserved=BYTES,
    signature_key=BYTES,
)
def test_whatever_is_written_is_read_and_written_alike(**values: Any) -> None:
    body = encode_to_be_signed(key_blob=SUBJECT, **values)
    blob = body + string(b"signature")
    read = parse_certificate_blob(blob)
    assert (read.blob, read.signed, read.signature) == (blob, body, b"signature")
    assert {name: getattr(read, name) for name in values} == values
    again = {name: getattr(read, name) for name in values}
    assert encode_to_be_signed(key_blob=read.key_blob, **again) == body
    assert parse_certificate_line(read.line) == read
    with pytest.raises(SignatureInvalid):
        verify(read)


def _subjects() -> dict[str, Any]:
    keys: dict[str, Any] = {
        "ssh-ed25519": ed25519.Ed25519PrivateKey.generate(),
        "ecdsa-sha2-nistp256": ec.generate_private_key(ec.SECP256R1()),
        "ecdsa-sha2-nistp384": ec.generate_private_key(ec.SECP384R1()),
        "ecdsa-sha2-nistp521": ec.generate_private_key(ec.SECP521R1()),
        "ssh-rsa": rsa.generate_private_key(65537, 2048),
    }
    plain = {name: parse_key_blob(blob_of(key.public_key())) for name, key in keys.items()}
    security = {name: SecurityKey(name).key_blob for name in KEY_TYPES if name.startswith("sk-")}
    return plain | security


@pytest.mark.parametrize("subject", _subjects().values(), ids=_subjects().keys())
def test_ssh_keygen_reads_what_we_write(subject: Any, tmp_path: Path) -> None:
    certificate = parse_certificate_blob(
        signed(
            key_blob=subject,
            critical_options=((b"force-command", b"id -u"), (b"verify-required", b"")),
            extensions=((b"decision@mysocket.io", b"d 1"), (b"permit-pty", b"")),
        )
    )
    verify(certificate)
    (tmp_path / "c-cert.pub").write_text(f"{certificate.line} comment\n")
    command = ["ssh-keygen", "-L", "-f", str(tmp_path / "c-cert.pub")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"Type: {certificate.certificate_type} user certificate" in shown
    assert certificate.fingerprint in shown
    assert certificate.ca_fingerprint in shown
    assert "Serial: 7" in shown
    assert "force-command id -u" in shown
    assert "permit-pty" in shown
    assert certificate.key_blob == subject


@pytest.mark.parametrize("subject", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("authority", ["ed25519", "ecdsa", "rsa"])
def test_we_read_what_ssh_keygen_writes(subject: str, authority: str, tmp_path: Path) -> None:
    for name, kind in (("ca", authority), ("id", subject)):
        bits = ["-b", "2048"] if kind == "rsa" else []
        command = ["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    options = ["-O", "clear", "-O", "force-command=id", "-O", "extension:x@y.example=z"]
    command = ["ssh-keygen", "-q", "-s", str(tmp_path / "ca"), "-I", "key id", "-z", "99"]
    command += [*options, "-n", "a,b", "-V", "20260101000000Z:20260102000000Z"]
    subprocess.run([*command, str(tmp_path / "id.pub")], check=True)
    read = parse_certificate_line((tmp_path / "id-cert.pub").read_bytes())
    verify(read)
    assert (read.kind, read.serial, read.key_id) == ("user", 99, b"key id")
    assert read.principals == (b"a", b"b")
    assert (read.valid_after, read.valid_before) == (1767225600, 1767312000)
    assert read.critical_options == ((b"force-command", b"id"),)
    assert read.extensions == ((b"x@y.example", b"z"),)
    assert (tmp_path / "id-cert.pub").read_text().startswith(read.line)


BLOB = signed()
LINE = parse_certificate_blob(BLOB).line


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", CertificateFormatError),
        (SUBJECT.line, CertificateTypeUnknownError),
        ("ssh-dss-cert-v01@openssh.com AAAA", CertificateTypeUnknownError),
        (f"ssh-rsa-cert-v01@openssh.com {LINE.split()[1]}", CertificateFormatError),
        (f"{LINE}\n{LINE}", CertificateFormatError),
        (f"cert-authority {LINE}", CertificateTypeUnknownError),
        (LINE[:-4], CertificateFormatError),
        (LINE.replace("AAAA", "A A"), CertificateFormatError),
        (b"x" * (MAX_CERTIFICATE_LINE_BYTES + 1), CertificateFormatError),
        ("\ud800", CertificateFormatError),
    ],
)
def test_no_other_line_is_a_certificate(line: bytes | str, error: type[FormatError]) -> None:
    with pytest.raises(error):
        parse_certificate_line(line)


def test_every_cut_is_noticed() -> None:
    for length in range(len(BLOB)):
        with pytest.raises(CertificateFormatError):
            parse_certificate_blob(BLOB[:length])
    with pytest.raises(CertificateFormatError):
        parse_certificate_blob(BLOB + b"\0")
    with pytest.raises(CertificateFormatError):
        parse_certificate_blob(BLOB + bytes(MAX_CERTIFICATE_BYTES))


def test_a_certificate_can_be_too_long() -> None:
    long = signed(principals=(b"p" * 250,) * (MAX_CERTIFICATE_BYTES // 254))
    assert len(long) > MAX_CERTIFICATE_BYTES
    with pytest.raises(CertificateFormatError, match="at most"):
        parse_certificate_blob(long)
    shorter = signed(principals=(b"p" * 250,) * (MAX_CERTIFICATE_BYTES // 254 - 2))
    assert len(parse_certificate_blob(shorter).principals) > 500


def _with_options(packed: bytes) -> bytes:
    """The certificate with ``packed`` in place of its (empty) critical options."""
    empty_then_extensions = string(b"") + string(encode_options(((b"permit-pty", b""),)))
    assert BLOB.count(empty_then_extensions) == 1
    return BLOB.replace(empty_then_extensions, string(packed) + empty_then_extensions[4:])


@pytest.mark.parametrize(
    "packed",
    [
        string(b"force-command"),
        string(b"force-command") + string(b"id"),
        string(b"force-command") + string(string(b"id") + b"x"),
        string(b"force-command") + string(string(b"")),
        string(b"force-command") + uint32(2**32 - 1),
    ],
    ids=["no content", "not nested", "a tail", "nothing nested", "endless"],
)
def test_an_option_has_one_form(packed: bytes) -> None:
    assert parse_certificate_blob(_with_options(encode_options(((b"a", b"b"),))))
    with pytest.raises(CertificateFormatError):
        parse_certificate_blob(_with_options(packed))


@given(st.binary(max_size=300))
def test_any_bytes_give_a_typed_error(blob: bytes) -> None:
    with pytest.raises(CertificateFormatError):
        parse_certificate_blob(blob)


@given(st.integers(0, len(BLOB) - 1), st.integers(1, 255))
def test_a_changed_certificate_is_refused_or_does_not_verify(place: int, flip: int) -> None:
    changed = bytearray(BLOB)
    changed[place] ^= flip
    with pytest.raises((CertificateFormatError, SignatureInvalid)):
        verify(parse_certificate_blob(bytes(changed)))


def test_a_certificate_cannot_sign_certificates() -> None:
    """CVE-2025-49825: the inner certificate's signature must never be reached."""
    certificate = parse_certificate_blob(signed(signature_key=BLOB))
    with pytest.raises(SignatureInvalid, match="certificate"):
        verify(certificate)


def test_a_security_key_can_be_a_ca() -> None:
    ca = SecurityKey(SK_ED25519)
    body = encode_to_be_signed(**fields(signature_key=ca.blob))
    facts = verify(parse_certificate_blob(body + string(ca.sign(body))))
    assert facts.flags == 1


def test_a_signature_over_sha1_does_not_count() -> None:
    ca = rsa.generate_private_key(65537, 2048)
    body = encode_to_be_signed(**fields(signature_key=blob_of(ca.public_key())))
    raw = ca.sign(body, padding.PKCS1v15(), hashes.SHA1())
    certificate = parse_certificate_blob(body + string(string(b"ssh-rsa") + string(raw)))
    assert certificate.signature_algorithm == b"ssh-rsa"
    with pytest.raises(SignatureInvalid):
        verify(certificate)


@pytest.mark.parametrize(
    "changes", [{"serial": 2**64}, {"serial": -1}, {"kind": 2**32}, {"valid_before": 2**64}]
)
def test_a_number_that_does_not_fit_is_a_typed_error(changes: dict[str, int]) -> None:
    with pytest.raises(WireError):
        encode_to_be_signed(**fields(**changes))


def test_an_unreadable_signature_names_no_algorithm() -> None:
    body = encode_to_be_signed(**fields())
    assert parse_certificate_blob(body + string(b"xx")).signature_algorithm == b""


def test_the_line_is_the_blob() -> None:
    certificate = parse_certificate_line(LINE)
    assert f"ssh-ed25519-cert-v01@openssh.com {b64encode(BLOB).decode()}" == LINE
    assert certificate.fingerprint == SUBJECT.fingerprint
