"""CA keys in files: who may read them, what opens them, and which keys may be one at all."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ca import errors
from ca.ca_keys import check_ca_key
from ca.keybox import KeyBox
from ca.signers import FileSigner
from tests.support.subjects import ec_key, private_pem

BOX = KeyBox(bytes(range(32)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "root.key"


def test_a_created_key_is_loaded_again(path: Path) -> None:
    key = ec_key()
    FileSigner.create(path, BOX, key, name="root")
    loaded = FileSigner.load(path, BOX, name="root")
    assert (loaded.public_key, loaded.path) == (key.public_key(), path)


def test_the_file_is_private_and_sealed(path: Path) -> None:
    key = ec_key()
    FileSigner.create(path, BOX, key, name="root")
    assert path.stat().st_mode & 0o777 == 0o600
    number = key.private_numbers().private_value.to_bytes(32)
    assert number not in path.read_bytes()
    assert list(path.parent.iterdir()) == [path]


def test_a_key_is_never_overwritten(path: Path) -> None:
    first = FileSigner.create(path, BOX, ec_key(), name="root")
    with pytest.raises(errors.KeyFileError, match="File exists"):
        FileSigner.create(path, BOX, ec_key(), name="root")
    assert FileSigner.load(path, BOX, name="root").public_key == first.public_key
    assert list(path.parent.iterdir()) == [path]


def test_another_master_key_or_name_does_not_open_it(path: Path) -> None:
    FileSigner.create(path, BOX, ec_key(), name="root")
    with pytest.raises(errors.SealBrokenError):
        FileSigner.load(path, KeyBox(bytes(32)), name="root")
    with pytest.raises(errors.SealBrokenError):
        FileSigner.load(path, BOX, name="issuing")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_file_open_to_others_is_refused(path: Path, mode: int) -> None:
    FileSigner.create(path, BOX, ec_key(), name="root")
    path.chmod(mode)
    with pytest.raises(errors.KeyFileError, match="chmod 600"):
        FileSigner.load(path, BOX, name="root")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(path: Path) -> None:
    FileSigner.create(path, BOX, ec_key(), name="root")
    os.chown(path, 65534, 65534)
    with pytest.raises(errors.KeyFileError, match="somebody else"):
        FileSigner.load(path, BOX, name="root")


def test_only_a_small_regular_file_is_a_key_file(path: Path) -> None:
    with pytest.raises(errors.KeyFileError, match="No such file"):
        FileSigner.load(path, BOX, name="root")
    os.mkfifo(path, 0o600)
    with pytest.raises(errors.KeyFileError, match="not a regular file"):
        FileSigner.load(path, BOX, name="root")
    path.unlink()
    path.touch(mode=0o600)
    path.write_bytes(bytes(100_000))
    with pytest.raises(errors.KeyFileError, match="too long"):
        FileSigner.load(path, BOX, name="root")


def test_a_link_to_a_key_file_is_not_followed(path: Path) -> None:
    FileSigner.create(path, BOX, ec_key(), name="root")
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(errors.KeyFileError, match="symbolic links"):
        FileSigner.load(link, BOX, name="root")


def test_a_plain_private_key_is_not_taken(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(private_pem(ec_key()))
    with pytest.raises(errors.SealBrokenError):
        FileSigner.load(path, BOX, name="root")


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31)),
    ],
)
def test_a_weak_key_signs_for_nobody(key: ec.EllipticCurvePrivateKey, path: Path) -> None:
    public = key if isinstance(key, ed25519.Ed25519PublicKey) else key.public_key()
    with pytest.raises(errors.SubjectKeyError):
        check_ca_key(public)
    if public is not key:
        with pytest.raises(errors.SubjectKeyError):
            FileSigner.create(path, BOX, key, name="root")
        assert not path.exists()
