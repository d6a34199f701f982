"""What every signer promises (``ca.signers.base``); each backend is one entry of ``BACKENDS``."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ca import ssh
from ca.ca_keys import CaPrivateKey
from ca.keybox import KeyBox
from ca.signers import FileSigner, MemorySigner, Signer
from tests.support.subjects import ec_key, ssh_subject, user_spec

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MakeSigner = Callable[[Path, CaPrivateKey], Signer]

BACKENDS: dict[str, MakeSigner] = {
    "memory": lambda _path, key: MemorySigner(name="contract", signing_key=key),
    "file": lambda path, key: FileSigner.create(
        path / "ca.key", KeyBox(bytes(32)), key, name="contract"
    ),
}


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS.keys())
def make_signer(request: pytest.FixtureRequest) -> MakeSigner:
    made: MakeSigner = request.param
    return made


def test_it_is_a_signer_with_one_key(make_signer: MakeSigner, tmp_path: Path) -> None:
    key = ec_key()
    signer = make_signer(tmp_path, key)
    assert isinstance(signer, Signer)
    assert signer.name == "contract"
    assert signer.public_key == signer.signing_key.public_key() == key.public_key()


def test_what_it_signs_verifies(make_signer: MakeSigner, tmp_path: Path) -> None:
    signer = make_signer(tmp_path, ssh.make_user_ca_key())
    ssh.issue_user_certificate(signer, user_spec(NOW))


def test_it_serves_several_threads(make_signer: MakeSigner, tmp_path: Path) -> None:
    signer = make_signer(tmp_path, ssh.make_user_ca_key())
    subject = ssh_subject()

    def issue(serial: int) -> int:
        spec = user_spec(NOW, public_key=subject, serial=serial)
        return ssh.issue_user_certificate(signer, spec).serial

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(issue, range(1, 41))) == list(range(1, 41))


def test_it_does_not_show_its_key(make_signer: MakeSigner, tmp_path: Path) -> None:
    assert "PrivateKey" not in repr(make_signer(tmp_path, ec_key()))
