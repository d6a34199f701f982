"""Tokens that fail: a library that hangs or dies, a PIN that is wrong, keys that could get out."""

import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from pkcs11 import Attribute

from ca import errors
from ca.ca_keys import CaAlgorithm
from ca.keybox import KeyBox
from ca.signers import HeldKey, SignerOptions
from ca.signers.probe import check_signs
from ca.signers.token import TokenBackend, TokenProcess, token_backend
from ca.signers.token_keys import Refused, TokenKeys
from tests.support.processes import children_of, command_line, eventually
from tests.support.softhsm import PIN, SoftHsm, make_token
from tests.support.subjects import ec_key, private_pem

CA = "ssh-host"


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    return make_token(tmp_path / "token", monkeypatch)


def backend_for(token: SoftHsm, *, seconds: float = 10) -> TokenBackend:
    process = TokenProcess(module=token.module, label=token.label, pin_file=token.pin_file)
    return TokenBackend(process=process, seconds=seconds)


@pytest.fixture
def backend(token: SoftHsm) -> Iterator[TokenBackend]:
    backend = backend_for(token)
    yield backend
    backend.close()


def token_processes() -> list[int]:
    """Pids of this test's processes that hold a token."""
    return [pid for pid in children_of(os.getpid()) if "token_process" in command_line(pid)]


def test_a_library_that_died_is_started_again(backend: TokenBackend) -> None:
    signer, _ = backend.create(CA, CaAlgorithm.P256)
    (pid,) = token_processes()
    os.kill(pid, signal.SIGKILL)
    check_signs(signer)
    assert token_processes() not in ([], [pid])


def test_a_library_that_hangs_is_ended_in_time(token: SoftHsm) -> None:
    backend = backend_for(token, seconds=1)
    signer, _ = backend.create(CA, CaAlgorithm.P256)
    (pid,) = token_processes()
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(errors.SignerUnavailableError, match=r"no answer in time|timed out"):
            check_signs(signer)
        assert token_processes() == []
        check_signs(signer)
    finally:
        backend.close()


def test_who_waits_for_a_busy_token_waits_no_longer_than_its_time(backend: TokenBackend) -> None:
    signer, _ = backend.create(CA, CaAlgorithm.P256)
    quick = TokenBackend(process=backend.process, seconds=0.05)
    with backend.process._lock, pytest.raises(errors.SignerUnavailableError, match="busy"):
        quick.load(HeldKey(name=CA, reference="00"))
    check_signs(signer)


def test_a_pin_that_was_refused_is_not_tried_again(
    token: SoftHsm, caplog: pytest.LogCaptureFixture
) -> None:
    token.pin_file.write_text("111111\n")
    backend = backend_for(token)
    with pytest.raises(errors.SignerUnavailableError, match="PinIncorrect"):
        backend.create(CA, CaAlgorithm.P256)
    token.pin_file.write_text(PIN)
    # A token that counts wrong PINs locks itself: no further try without an operator.
    with pytest.raises(errors.SignerUnavailableError, match="refused its PIN"):
        backend.create(CA, CaAlgorithm.P256)
    assert token_processes() == []
    assert "111111" not in caplog.text
    after = backend_for(token)
    check_signs(after.create(CA, CaAlgorithm.P256)[0])
    after.close()


def test_the_pin_is_on_no_command_line(
    backend: TokenBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        backend.create(CA, CaAlgorithm.P256)
    (pid,) = token_processes()
    assert PIN not in command_line(pid)
    assert PIN.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    assert PIN not in caplog.text


def test_the_process_ends_with_its_gateway(backend: TokenBackend) -> None:
    backend.create(CA, CaAlgorithm.P256)
    running = backend.process._running
    assert running is not None
    running.channel.close()
    assert running.process.wait(10) == 0


def test_a_process_the_library_holds_ends_after_its_gateway_too() -> None:
    held = "import socket, threading; from ca.signers.token_process import end_with\n"
    held += "end_with(socket.socket(fileno=0), 0.05); threading.Event().wait()"
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen([sys.executable, "-c", held], stdin=theirs.fileno())
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    ours.close()
    assert process.wait(20) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("pin file open to others", "chmod 600"),
        ("no pin file", "No such file"),
        ("another label", "NoSuchToken"),
        ("no library", "cannot open shared object file|No such file"),
    ],
)
def test_a_token_out_of_reach_is_told_in_one_line(token: SoftHsm, change: str, told: str) -> None:
    module, label = token.module, token.label
    if change == "pin file open to others":
        token.pin_file.chmod(0o644)
    elif change == "no pin file":
        token.pin_file.unlink()
    elif change == "another label":
        label = "other"
    else:
        module = Path("/nonexistent/library.so")
    backend = TokenBackend(
        process=TokenProcess(module=module, label=label, pin_file=token.pin_file)
    )
    with pytest.raises(errors.SignerUnavailableError, match=told) as caught:
        backend.create(CA, CaAlgorithm.P256)
    assert "\n" not in str(caught.value)
    assert token_processes() == []


def test_a_token_that_comes_back_serves_again(token: SoftHsm) -> None:
    backend = backend_for(token)
    signer, _ = backend.create(CA, CaAlgorithm.P256)
    away = token.tokens.rename(token.tokens.with_name("away"))
    backend.close()
    with pytest.raises(errors.SignerUnavailableError):
        check_signs(signer)
    away.rename(token.tokens)
    check_signs(signer)
    backend.close()


def imported(token: SoftHsm, reference: str) -> None:
    """Put a key from a file into the token, as an operator might; SoftHSM marks it non-local."""
    file = token.directory / "imported.pem"
    file.write_bytes(private_pem(ec_key()))
    command = ["softhsm2-util", "--import", str(file), "--token", token.label, "--pin", PIN]
    subprocess.run(
        [*command, "--label", "imported", "--id", reference], check=True, capture_output=True
    )


def test_a_key_that_was_elsewhere_before_is_not_used(token: SoftHsm, backend: TokenBackend) -> None:
    reference = secrets.token_hex(16)
    imported(token, reference)
    with pytest.raises(errors.IssuanceError, match="made in the token"):
        backend.load(HeldKey(name=CA, reference=reference))


_MAKE = """
import sys, pkcs11
from pkcs11 import Attribute, KeyType
from pkcs11.util.ec import encode_named_curve_parameters
module, label, pin, reference, sensitive, extractable = sys.argv[1:]
token = pkcs11.lib(module).get_token(token_label=label)
with token.open(rw=True, user_pin=pin) as session:
    curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(
        id=bytes.fromhex(reference), label="made", store=True,
        private_template={
            Attribute.SENSITIVE: sensitive == "yes", Attribute.EXTRACTABLE: extractable == "yes",
            Attribute.SIGN: True,
        },
    )
"""
"""Makes a key in the token, in a process of its own."""


@pytest.mark.parametrize(
    ("sensitive", "extractable", "used"),
    [("yes", "no", True), ("yes", "yes", False), ("no", "no", False)],
)
def test_a_key_that_can_leave_the_token_is_not_used(
    sensitive: str, extractable: str, used: bool, token: SoftHsm, backend: TokenBackend
) -> None:
    reference = secrets.token_hex(16)
    arguments = [token.module, token.label, PIN, reference, sensitive, extractable]
    subprocess.run([sys.executable, "-c", _MAKE, *arguments], check=True)
    held = HeldKey(name=CA, reference=reference)
    if used:
        check_signs(backend.load(held))
    else:
        with pytest.raises(errors.IssuanceError, match="can leave it"):
            backend.load(held)


STAYING = {
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.LOCAL: True,
}


@pytest.mark.parametrize("missing", STAYING)
def test_each_mark_of_a_key_that_stays_is_asked_for(missing: Attribute) -> None:
    # SoftHSM has no keys that lack LOCAL alone; other tokens import keys as they please.
    TokenKeys._check_stays(STAYING)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="can leave it"):
        TokenKeys._check_stays({**STAYING, missing: False})  # type: ignore[arg-type]


@pytest.mark.parametrize("reference", ["", "00" * 16, "ff"])
def test_a_reference_to_nothing_is_a_missing_key(backend: TokenBackend, reference: str) -> None:
    with pytest.raises(errors.KeyMissingError):
        backend.load(HeldKey(name=CA, reference=reference))


def test_nothing_but_whole_short_messages_is_signed(backend: TokenBackend) -> None:
    signer, _ = backend.create(CA, CaAlgorithm.RSA3072)
    key = signer.signing_key
    assert isinstance(key, rsa.RSAPrivateKey)
    sha = hashes.SHA256()
    with pytest.raises(errors.IssuanceError, match="whole messages"):
        key.sign(bytes(32), padding.PKCS1v15(), Prehashed(sha))
    with pytest.raises(errors.IssuanceError, match=r"v1\.5"):
        key.sign(b"x", padding.PSS(padding.MGF1(sha), 32), sha)
    with pytest.raises(errors.IssuanceError, match="too long"):
        key.sign(bytes(100_000), padding.PKCS1v15(), sha)
    with pytest.raises(errors.IssuanceError):
        key.sign(b"x", padding.PKCS1v15(), hashes.SHA3_256())
    check_signs(signer)


def test_ecdsa_comes_back_as_der(backend: TokenBackend) -> None:
    signer, _ = backend.create(CA, CaAlgorithm.P384)
    key, public = signer.signing_key, signer.public_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    for _ in range(40):
        public.verify(key.sign(b"x", ec.ECDSA(hashes.SHA384())), b"x", ec.ECDSA(hashes.SHA384()))


@pytest.mark.parametrize(
    "question",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"op": "other"}',
        b'{"op": "sign"}',
        b'{"op": "load", "reference": 1}',
    ],
)
def test_the_process_survives_or_ends_but_never_hangs(
    backend: TokenBackend, question: bytes
) -> None:
    signer, _ = backend.create(CA, CaAlgorithm.P256)
    running = backend.process._running
    assert running is not None
    running.channel.settimeout(5)
    running.channel.sendall(len(question).to_bytes(4) + question)
    answer = running.channel.recv(65536)
    assert answer == b"" or json.loads(answer[4:])["error"] == "unavailable"
    eventually(lambda: running.process.poll() is not None)
    check_signs(signer)


def test_half_the_settings_make_no_backend() -> None:
    with pytest.raises(errors.KeyStoreError, match="pkcs11_pin_file"):
        token_backend(SignerOptions(box=KeyBox(bytes(32)), pkcs11_module=Path("/lib/x.so")))
