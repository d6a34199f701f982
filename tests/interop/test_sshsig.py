"""SSH signatures between us and ``ssh-keygen -Y``: each verifies what the other signed."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from ca.formats.errors import FormatError
from ca.formats.ssh_keys import parse_key_line
from ca.formats.sshsig import make_sshsig, parse_armored, verify_sshsig

MESSAGE = b"line one\nline two\n\x00\xff"
KINDS = ("ed25519", "ecdsa", "rsa")


@pytest.fixture(scope="module", params=KINDS)
def key(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key"
    kind = str(request.param)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)
    return path


@pytest.mark.parametrize("hash_algorithm", ["sha256", "sha512"])
def test_we_verify_what_ssh_keygen_signs(key: Path, hash_algorithm: str, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_bytes(MESSAGE)
    subprocess.run(
        [
            *("ssh-keygen", "-q", "-Y", "sign", "-n", "file@test", "-f", key),
            *("-O", f"hashalg={hash_algorithm}", message),
        ],
        check=True,
    )
    armored = message.with_suffix(".sig").read_text()

    signer = verify_sshsig(armored, MESSAGE, "file@test")

    assert signer.blob == parse_key_line(key.with_suffix(".pub").read_text()).blob
    assert parse_armored(armored).hash_algorithm == hash_algorithm
    assert parse_armored(armored).armored == armored
    with pytest.raises(FormatError):
        verify_sshsig(armored, MESSAGE, "git")


def test_ssh_keygen_verifies_what_we_sign(key: Path, tmp_path: Path) -> None:
    private = load_ssh_private_key(key.read_bytes(), None)
    signature = tmp_path / "signature"
    signature.write_text(make_sshsig(private, MESSAGE, "file@test"))  # type: ignore[arg-type]
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ann {key.with_suffix('.pub').read_text()}")

    def verified(message: bytes, namespace: str) -> bool:
        done = subprocess.run(
            [
                *("ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "ann"),
                *("-n", namespace, "-s", signature),
            ],
            input=message,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    assert verified(MESSAGE, "file@test")
    assert not verified(MESSAGE + b".", "file@test")
    assert not verified(MESSAGE, "git")
