"""Key revocation lists between us and OpenSSH: each reads what the other wrote, random ones too."""

import random
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from ca.formats.krl import Krl, RevokedByCa, parse_krl
from ca.formats.ssh_certificate import (
    USER,
    SshCertificate,
    encode_to_be_signed,
    parse_certificate_blob,
)
from ca.formats.ssh_keys import blob_of, parse_key_blob, sign_blob
from ca.formats.wire import string

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CA = ed25519.Ed25519PrivateKey.generate()
OTHER_CA = ed25519.Ed25519PrivateKey.generate()


def certificate(serial: int, *, ca: ed25519.Ed25519PrivateKey = CA, key_id: str = "id") -> bytes:
    """A certificate of a fresh key, as it is."""
    subject = ed25519.Ed25519PrivateKey.generate().public_key()
    signed = encode_to_be_signed(
        key_blob=parse_key_blob(blob_of(subject)),
        nonce=bytes(32),
        serial=serial,
        kind=USER,
        key_id=key_id.encode(),
        principals=(b"ann",),
        valid_after=int(NOW.timestamp()),
        valid_before=int((NOW + timedelta(minutes=5)).timestamp()),
        critical_options=(),
        extensions=((b"permit-pty", b""),),
        signature_key=blob_of(ca.public_key()),
    )
    return signed + string(sign_blob(ca, signed))


def asked(directory: Path, krl: bytes, blobs: Sequence[bytes]) -> list[bool]:
    """What ``ssh-keygen -Q`` says of each key or certificate."""
    list_file = directory / "list.krl"
    list_file.write_bytes(krl)
    files = []
    for number, blob in enumerate(blobs):
        file = directory / f"{number}.pub"
        file.write_text(f"{line_of(blob)}\n")
        files.append(file)
    done = subprocess.run(
        ["ssh-keygen", "-Q", "-f", list_file, *files], capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    verdicts = [line.rsplit(": ", 1)[1] for line in done.stdout.splitlines()]
    assert set(verdicts) <= {"ok", "REVOKED"}
    return [verdict == "REVOKED" for verdict in verdicts]


def line_of(blob: bytes) -> str:
    try:
        return parse_certificate_blob(blob).line
    except ValueError:
        return parse_key_blob(blob).line


def ours(krl: Krl, found: SshCertificate) -> bool:
    return krl.revokes_certificate(
        ca=found.signature_key,
        serial=found.serial,
        key_id=found.key_id,
        subject=found.key_blob.blob,
    )


@pytest.mark.parametrize("seed", range(12))
def test_ssh_keygen_finds_what_we_revoke_and_nothing_else(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    near = draw.sample(range(1, 4000), 300)
    far = [draw.randrange(1, 1 << 64) for _ in range(50)]
    first = draw.randrange(1, 1 << 63)
    ca = blob_of(CA.public_key())
    krl = Krl(
        number=seed,
        generated_at=int(NOW.timestamp()),
        certificates=(
            RevokedByCa.of_serials(ca, near + far),
            RevokedByCa(ca=ca, serials=((first, first + 10_000),), key_ids=(b"mallory",)),
        ),
    )
    serials = [
        *draw.sample(near, 20),
        *draw.sample(far, 10),
        *(draw.randrange(1, 4000) for _ in range(40)),
        *(first - 1, first, first + 10_000, first + 10_001, (1 << 64) - 1),
    ]
    blobs = [certificate(serial) for serial in serials]
    blobs += [certificate(serial, ca=OTHER_CA) for serial in serials[:10]]
    blobs += [certificate(77_777_777, key_id="mallory")]

    said = asked(tmp_path, krl.encode(), blobs)

    assert said == [ours(krl, parse_certificate_blob(blob)) for blob in blobs]
    assert True in said
    assert False in said


def test_ssh_keygen_finds_keys_and_what_they_signed(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    blob, other = blob_of(key.public_key()), blob_of(OTHER_CA.public_key())
    plain = blob_of(ed25519.Ed25519PrivateKey.generate().public_key())
    krl = Krl(keys=(blob,), sha256=(sha256(other).digest(),))

    assert asked(
        tmp_path, krl.encode(), [blob, other, plain, certificate(5, ca=OTHER_CA), certificate(5)]
    ) == [True, True, False, True, False]


def test_a_list_for_any_ca_is_read(tmp_path: Path) -> None:
    krl = Krl(certificates=(RevokedByCa.of_serials(b"", [5]),))

    assert asked(tmp_path, krl.encode(), [certificate(5), certificate(5, ca=OTHER_CA)]) == [
        True,
        True,
    ]


def test_an_empty_list_revokes_nothing(tmp_path: Path) -> None:
    assert asked(tmp_path, Krl().encode(), [certificate(5)]) == [False]


@pytest.mark.parametrize("seed", range(6))
def test_we_read_what_ssh_keygen_writes(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    authority, key = tmp_path / "ca.pub", tmp_path / "key.pub"
    authority.write_text(parse_key_blob(blob_of(CA.public_key())).line + "\n")
    blob = blob_of(ed25519.Ed25519PrivateKey.generate().public_key())
    key.write_text(parse_key_blob(blob).line + "\n")
    dense = sorted(draw.sample(range(1, 2000), 400))
    sparse = [draw.randrange(1, 1 << 62) for _ in range(30)]
    start = draw.randrange(1 << 62, 1 << 63)
    lines = [f"serial: {one}" for one in dense + sparse]
    lines += [f"serial: {start}-{start + 5000}", "id: mallory", f"key: {key.read_text().strip()}"]
    names = tmp_path / "names"
    names.write_text("".join(f"{line}\n" for line in lines))
    made = tmp_path / "made.krl"
    subprocess.run(
        ["ssh-keygen", "-q", "-k", "-f", made, "-s", authority, "-z", str(seed + 1), names],
        check=True,
    )

    krl = parse_krl(made.read_bytes())

    assert krl.number == seed + 1
    assert krl.keys == (blob,)
    (entry,) = krl.certificates
    assert entry == RevokedByCa(
        ca=blob_of(CA.public_key()),
        serials=(*((one, one) for one in dense + sparse), (start, start + 5000)),
        key_ids=(b"mallory",),
    )
    assert len(krl.encode()) <= len(made.read_bytes()) + 64
    assert parse_krl(krl.encode()) == krl
