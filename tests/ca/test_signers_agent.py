"""Agents as they are: with other keys, slow, refusing, or talking nonsense."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ca import errors
from ca.ca_keys import CaAlgorithm
from ca.formats import wire
from ca.formats.ssh_keys import blob_of, parse_key_blob, parse_key_line, sign_blob
from ca.keybox import KeyBox
from ca.signers import HeldKey, SignerOptions
from ca.signers.channel import MOST_WAITING
from ca.signers.probe import check_signs
from ca.signers.ssh_agent import (
    IDENTITIES_ANSWER,
    REQUEST_IDENTITIES,
    SIGN_REQUEST,
    SIGN_RESPONSE,
    AgentKeys,
    agent_keys,
)
from tests.support.security_keys import SecurityKey
from tests.support.ssh_agent import RunningAgent, running_agent
from tests.support.subjects import public_line

CA = "ssh-user:7d2b"
OWN, ANY = "mysocket ssh-user:7d2b", "mysocket ssh-user"

Answer = Callable[[bytes], bytes]


@pytest.fixture
def agent() -> Iterator[RunningAgent]:
    with running_agent() as agent:
        yield agent


def test_only_a_key_that_was_meant_for_the_ca_is_taken(agent: RunningAgent) -> None:
    keys = AgentKeys(path=agent.path)
    for kind, comment in (
        ("ed25519", "alice@example.com"),
        ("ed25519", "mysocket ssh-host"),
        ("ed25519", f"{OWN} "),
        ("ed25519", "mysocket ssh-user:other"),
        ("p256", ANY),
    ):
        agent.add_new_key(kind, comment)
    with pytest.raises(errors.IssuanceError, match=r"no unused ed25519 key.*'mysocket ssh-user'"):
        keys.create(CA, CaAlgorithm.ED25519)
    pooled = agent.add_new_key("ed25519", ANY)
    own = agent.add_new_key("ed25519", OWN)
    taken: list[str] = []
    for expected in (own, pooled):
        _, held = keys.create(CA, CaAlgorithm.ED25519, taken=taken)
        assert held.reference == expected
        taken.append(expected)
    with pytest.raises(errors.IssuanceError, match="no unused"):
        keys.create(CA, CaAlgorithm.ED25519, taken=taken)


def test_a_key_that_was_removed_is_missing_and_comes_back(
    agent: RunningAgent, tmp_path: Path
) -> None:
    agent.add_new_key("p256", ANY)
    signer, held = AgentKeys(path=agent.path).create(CA, CaAlgorithm.P256)
    agent.forget_all()
    with pytest.raises(errors.SignerUnavailableError, match="did not sign"):
        check_signs(signer)
    with pytest.raises(errors.KeyMissingError, match=held.reference.replace("+", r"\+")):
        AgentKeys(path=agent.path).load(held)


def test_a_retired_key_leaves_the_agent(agent: RunningAgent) -> None:
    other = agent.add_new_key("ed25519", "alice@example.com")
    agent.add_new_key("ed25519", ANY)
    keys = AgentKeys(path=agent.path)
    _, held = keys.create(CA, CaAlgorithm.ED25519)
    keys.destroy(held)
    assert held.reference not in agent.listed()
    assert other in agent.listed()


@contextmanager
def strange_agent(folder: Path, answer: Answer) -> Iterator[Path]:
    """An agent that answers each question as it is told."""
    path = folder / "strange"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    length = int.from_bytes(connection.recv(4))
                    question = b""
                    while len(question) < length and (part := connection.recv(65536)):
                        question += part
                    if question:
                        connection.sendall(answer(question))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            path.unlink()


def identities(*pairs: tuple[bytes, str]) -> bytes:
    listed = b"".join(wire.string(blob) + wire.string(name.encode()) for blob, name in pairs)
    return wire.string(wire.byte(IDENTITIES_ANSWER) + wire.uint32(len(pairs)) + listed)


def signature(kind: bytes, raw: bytes) -> bytes:
    return wire.string(wire.byte(SIGN_RESPONSE) + wire.string(wire.string(kind) + wire.string(raw)))


def test_keys_no_ca_has_are_passed_over(tmp_path: Path) -> None:
    good = ed25519.Ed25519PrivateKey.generate()
    weak = rsa.generate_private_key(65537, 2048)
    other_curve = ec.generate_private_key(ec.SECP521R1())
    security = blob_in(SecurityKey("sk-ssh-ed25519@openssh.com", "ssh:").line)
    pairs = [
        (b"", ANY),
        (b"nonsense", ANY),
        (security, ANY),
        (blob_of(weak.public_key()), ANY),
        (blob_of(other_curve.public_key()), ANY),
        (blob_of(good.public_key()), ANY),
    ]
    with strange_agent(tmp_path, lambda _question: identities(*pairs)) as path:
        keys = AgentKeys(path=path)
        signer, _ = keys.create(CA, CaAlgorithm.ED25519)
        assert signer.public_key == good.public_key()
        with pytest.raises(errors.KeyStoreError, match="no CA has a key of this kind"):
            keys.load(held(security))
        with pytest.raises(errors.SubjectKeyError):
            keys.load(held(blob_of(weak.public_key())))


def held(blob: bytes) -> HeldKey:
    return HeldKey(name=CA, reference=parse_key_blob(blob).fingerprint)


def blob_in(line: str) -> bytes:
    return parse_key_line(line).blob


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\0\0\0",
        b"\0\0\0\1\5",
        b"\xff\xff\xff\xff",
        wire.string(wire.byte(IDENTITIES_ANSWER) + wire.uint32(0xFFFFFFFF)),
        wire.string(wire.byte(IDENTITIES_ANSWER) + wire.uint32(2) + wire.string(b"x")),
        wire.string(wire.byte(IDENTITIES_ANSWER) + wire.uint32(0) + b"more"),
    ],
)
def test_an_agent_that_talks_nonsense_is_out_of_reach(tmp_path: Path, answer: bytes) -> None:
    with (
        strange_agent(tmp_path, lambda _question: answer) as path,
        pytest.raises(errors.SignerUnavailableError),
    ):
        AgentKeys(path=path).create(CA, CaAlgorithm.ED25519)


@pytest.mark.parametrize("said", ["another algorithm", "failure", "too short", "trailing bytes"])
def test_a_signature_of_another_kind_is_none(tmp_path: Path, said: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    ours = (blob_of(key.public_key()), ANY)
    answers = {
        "another algorithm": signature(b"ssh-ed25519", bytes(64)),
        "failure": b"\0\0\0\1\5",
        "too short": wire.string(wire.byte(SIGN_RESPONSE) + wire.uint32(40)),
        "trailing bytes": signature(b"ecdsa-sha2-nistp256", wire.mpint(1) + wire.mpint(2) + b"x"),
    }

    def answer(question: bytes) -> bytes:
        return identities(ours) if question[0] == REQUEST_IDENTITIES else answers[said]

    with strange_agent(tmp_path, answer) as path:
        signer, _ = AgentKeys(path=path).create(CA, CaAlgorithm.P256)
        with pytest.raises(errors.SignerUnavailableError, match="did not sign"):
            check_signs(signer)


def test_a_signature_of_another_key_does_not_pass(tmp_path: Path) -> None:
    key, other = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()

    def answer(question: bytes) -> bytes:
        if question[0] != SIGN_REQUEST:
            return identities((blob_of(key.public_key()), ANY))
        return wire.string(wire.byte(SIGN_RESPONSE) + wire.string(sign_blob(other, b"x")))

    with strange_agent(tmp_path, answer) as path:
        signer, _ = AgentKeys(path=path).create(CA, CaAlgorithm.ED25519)
        with pytest.raises(errors.IssuanceError, match="does not sign with the key it shows"):
            check_signs(signer)


def test_a_short_rsa_signature_is_filled_up(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 3072)

    def answer(question: bytes) -> bytes:
        if question[0] != SIGN_REQUEST:
            return identities((blob_of(key.public_key()), ANY))
        return signature(b"rsa-sha2-256", b"\7" * 383)

    with strange_agent(tmp_path, answer) as path:
        signer, _ = AgentKeys(path=path).create(CA, CaAlgorithm.RSA3072)
        backend = AgentKeys(path=path)
        blob = parse_key_blob(blob_of(key.public_key()))
        assert backend.sign(blob, b"x", hashes.SHA256()) == b"\0" + b"\7" * 383
        assert signer.public_key == key.public_key()


@pytest.mark.parametrize(
    ("key", "digest"),
    [
        (ec.generate_private_key(ec.SECP256R1()), hashes.SHA384()),
        (ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()),
        (ed25519.Ed25519PrivateKey.generate(), hashes.SHA256()),
        (ec.generate_private_key(ec.SECP256R1()), None),
    ],
)
def test_an_agent_is_asked_only_for_what_it_can_do(
    key: ec.EllipticCurvePrivateKey, digest: hashes.HashAlgorithm | None
) -> None:
    blob = blob_in(public_line(key))
    with pytest.raises(errors.IssuanceError, match="does not sign with"):
        AgentKeys(path=Path("/nonexistent")).sign(parse_key_blob(blob), b"x", digest)


def test_an_agent_that_says_nothing_is_given_up_on(tmp_path: Path) -> None:
    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(errors.SignerUnavailableError, match="does not answer"):
            AgentKeys(path=path, seconds=0.1).create(CA, CaAlgorithm.ED25519)


def test_an_agent_that_drips_is_given_up_on(tmp_path: Path) -> None:
    """Each byte comes in time, and the whole does not."""
    path, stop = tmp_path / "dripping", threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    connection.sendall((1000).to_bytes(4))
                    while not stop.wait(0.02):
                        connection.sendall(b"\0")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(errors.SignerUnavailableError, match="does not answer"):
                AgentKeys(path=path, seconds=0.3).create(CA, CaAlgorithm.ED25519)
        finally:
            stop.set()
            thread.join(10)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_answer_breaks_the_reader(tmp_path: Path, body: bytes) -> None:
    answer = wire.string(wire.byte(IDENTITIES_ANSWER) + body)
    with (
        strange_agent(tmp_path, lambda _question: answer) as path,
        pytest.raises(errors.IssuanceError),
    ):
        AgentKeys(path=path, seconds=5).create(CA, CaAlgorithm.ED25519)


def test_without_a_socket_there_is_no_backend() -> None:
    with pytest.raises(errors.KeyStoreError, match="agent_socket"):
        agent_keys(SignerOptions(box=KeyBox(bytes(32))))


def test_no_more_than_some_wait_for_an_agent_that_hangs(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen(MOST_WAITING)
        keys = AgentKeys(path=path, seconds=60)
        with ThreadPoolExecutor(MOST_WAITING) as threads:
            held = HeldKey(name=CA, reference="SHA256:x")
            asked = [threads.submit(keys.load, held) for _ in range(MOST_WAITING)]
            waiting = [hanging.accept()[0] for _ in asked]
            began = time.monotonic()

            with pytest.raises(errors.SignerBusyError) as caught:
                keys.load(held)

            assert caught.value.reason == "signer-busy"
            assert time.monotonic() - began < 10
            for channel in waiting:
                channel.close()
            for one in asked:
                with pytest.raises(errors.SignerUnavailableError):
                    one.result()
            # Whoever is done makes room.
            hanging.close()
            with pytest.raises(errors.SignerUnavailableError) as after:
                keys.load(held)
            assert not isinstance(after.value, errors.SignerBusyError)
