"""Signatures over messages: bound to key, message, purpose and, for security keys, to a touch."""

import binascii
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ca.formats.errors import FormatError, SignatureInvalid
from ca.formats.ssh_keys import blob_of, parse_key_blob
from ca.formats.sshsig import (
    MAGIC,
    MAX_SSHSIG_BYTES,
    Sshsig,
    SshsigError,
    make_sshsig,
    parse_armored,
    parse_sshsig,
    verify_sshsig,
)
from ca.formats.wire import string, uint32
from tests.support.security_keys import SecurityKey

MESSAGE, NAMESPACE = b"to be or not to be", "test@mysocket.io"
KEYS: dict[str, Any] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
}


def by_security_key(key: SecurityKey, *, flags: int) -> str:
    """What ``ssh-keygen -Y sign`` makes with a security key."""
    digest = hashlib.sha512(MESSAGE).digest()
    signed = MAGIC + string(NAMESPACE.encode()) + string(b"") + string(b"sha512") + string(digest)
    return Sshsig(
        key=key.key_blob,
        namespace=NAMESPACE,
        hash_algorithm="sha512",
        signature=key.sign(signed, flags=flags, counter=7),
    ).armored


@pytest.mark.parametrize("kind", KEYS)
def test_a_signature_names_the_key_that_made_it(kind: str) -> None:
    key = KEYS[kind]
    armored = make_sshsig(key, MESSAGE, NAMESPACE)

    assert verify_sshsig(armored, MESSAGE, NAMESPACE).blob == blob_of(key.public_key())
    binary = parse_armored(armored).blob
    assert verify_sshsig(binary, MESSAGE, NAMESPACE) == verify_sshsig(armored, MESSAGE, NAMESPACE)
    assert parse_armored(armored).armored == armored
    assert parse_sshsig(parse_armored(armored).blob) == parse_armored(armored)


def test_a_signature_is_good_for_one_message_and_one_purpose() -> None:
    armored = make_sshsig(KEYS["ed25519"], MESSAGE, NAMESPACE)

    with pytest.raises(SignatureInvalid):
        verify_sshsig(armored, MESSAGE + b".", NAMESPACE)
    with pytest.raises(FormatError, match="another purpose"):
        verify_sshsig(armored, MESSAGE, "file")


def test_a_signature_does_not_pass_for_another_key() -> None:
    found = parse_armored(make_sshsig(KEYS["ed25519"], MESSAGE, NAMESPACE))
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    forged = Sshsig(
        key=parse_key_blob(blob_of(other)),
        namespace=found.namespace,
        hash_algorithm=found.hash_algorithm,
        signature=found.signature,
    )

    with pytest.raises(SignatureInvalid):
        verify_sshsig(forged.armored, MESSAGE, NAMESPACE)


@pytest.mark.parametrize("hash_algorithm", ["sha256", "sha512"])
def test_the_hash_is_part_of_what_is_signed(hash_algorithm: str) -> None:
    found = parse_armored(make_sshsig(KEYS["ed25519"], MESSAGE, NAMESPACE))
    changed = found.blob.replace(b"sha512", hash_algorithm.encode())

    if hash_algorithm == "sha512":
        assert verify_sshsig(changed, MESSAGE, NAMESPACE).blob == found.key.blob
    else:
        with pytest.raises(SignatureInvalid):
            verify_sshsig(changed, MESSAGE, NAMESPACE)


@pytest.mark.parametrize(
    "key_type", ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"]
)
def test_a_security_key_has_to_be_touched(key_type: str) -> None:
    key = SecurityKey(key_type)

    touched = verify_sshsig(by_security_key(key, flags=1), MESSAGE, NAMESPACE)

    assert touched.blob == key.blob
    assert touched.is_security_key
    with pytest.raises(FormatError, match="without being touched"):
        verify_sshsig(by_security_key(key, flags=0), MESSAGE, NAMESPACE)


def test_every_changed_byte_is_noticed() -> None:
    blob = parse_armored(make_sshsig(KEYS["ed25519"], MESSAGE, NAMESPACE)).blob

    for place in range(len(blob)):
        changed = blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :]
        with pytest.raises(FormatError):
            verify_sshsig(changed, MESSAGE, NAMESPACE)


GOOD = parse_armored(make_sshsig(KEYS["ed25519"], MESSAGE, NAMESPACE)).blob


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        MAGIC,
        GOOD[:-1],
        GOOD + b"\0",
        GOOD.replace(MAGIC, b"SSHGIS"),
        GOOD.replace(MAGIC + uint32(1), MAGIC + uint32(2)),
        GOOD.replace(b"sha512", b"sha1\0\0"),
        GOOD.replace(string(NAMESPACE.encode()), string(b"")),
        GOOD.replace(string(b"") + string(b"sha512"), string(b"x") + string(b"sha512")),
        bytes(MAX_SSHSIG_BYTES + 1),
    ],
)
def test_what_is_no_signature_is_refused(blob: bytes) -> None:
    with pytest.raises(FormatError):
        parse_sshsig(blob)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\n!!!!\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN PGP SIGNATURE-----\nAAAA\n-----END PGP SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\n" + binascii.b2a_base64(GOOD).decode(),
        "\ud800",
        "x" * (MAX_SSHSIG_BYTES + 1),
    ],
)
def test_what_is_no_armor_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_armored(text)


BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
BODY = binascii.b2a_base64(GOOD).decode()


def test_an_armored_signature_has_to_be_armored_as_one() -> None:
    assert parse_armored(f"{BEGIN}\n{BODY}{END}\n").blob == GOOD
    # As long as the right ones, so that what is between them is a signature all the same.
    for begin, end in (("x" * len(BEGIN), END), (BEGIN, "x" * len(END))):
        with pytest.raises(SshsigError, match="not an armored"):
            parse_armored(f"{begin}\n{BODY}{end}\n")


@pytest.mark.parametrize("dirt", ["!", "-", "===", "\x80"])
def test_an_armored_signature_has_nothing_in_it_but_base64(dirt: str) -> None:
    body = BODY.rstrip("=\n")
    for spoilt in (body[:40] + dirt + BODY[40:], body + "=" * (-len(body) % 4) + dirt):
        with pytest.raises(SshsigError, match="not base64"):
            parse_armored(f"{BEGIN}\n{spoilt}\n{END}\n")


def test_a_signature_has_a_greatest_size() -> None:
    room = MAX_SSHSIG_BYTES - len(f"{BEGIN}\n{BODY}{END}\n")
    assert parse_armored(f"{BEGIN}\n{BODY}{END}\n" + " " * room).blob == GOOD
    with pytest.raises(SshsigError, match="at most"):
        parse_armored(f"{BEGIN}\n{BODY}{END}\n" + " " * (room + 1))

    found = parse_sshsig(GOOD)
    room = MAX_SSHSIG_BYTES - len(replace(found, signature=b"").blob)
    assert parse_sshsig(replace(found, signature=bytes(room)).blob)
    with pytest.raises(SshsigError, match="at most"):
        parse_sshsig(replace(found, signature=bytes(room + 1)).blob)
