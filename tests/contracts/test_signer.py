"""What every signer and backend promises (``ca.signers.base``); ``PLACES`` has one of each."""

import copy
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from ca import errors, ssh, x509
from ca.ca_keys import CaAlgorithm, algorithm_of, generate_ca_key
from ca.keybox import KeyBox
from ca.serials import x509_serial
from ca.signers import BUILT_IN, FileSigner, MemorySigner, Signer, SignerBackend, SignerOptions
from ca.signers.base import HeldKey
from ca.signers.probe import check_signs
from ca.signers.ssh_agent import AgentKeys
from ca.signers.token import TokenBackend
from ca.specs import ISSUING_LIFE, ROOT_LIFE, CaCertSpec
from tests.support.softhsm import make_token
from tests.support.ssh_agent import running_agent
from tests.support.subjects import DNS_NAMES, client_spec, host_spec, ssh_subject, user_spec

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BOX = KeyBox(bytes(range(32)))
CA = "ssh-host"
ALGORITHMS = tuple(CaAlgorithm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place for keys, and what an operator and a second gateway can do with it."""

    open: Callable[[], SignerBackend]
    """The backend as a process that starts now gets it."""
    provide: Callable[[CaAlgorithm], object]
    """Make sure that a key of this algorithm can be had."""
    cut_off: Callable[[], object] | None
    """Put the place out of reach; none for one that is always there."""


@contextmanager
def file_place(_monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    yield Place(
        open=lambda: BUILT_IN["file"](SignerOptions(box=BOX)),
        provide=lambda _algorithm: None,
        cut_off=None,
    )


@contextmanager
def token_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="token") as folder:
        token = make_token(Path(folder) / "t", monkeypatch)
        options = SignerOptions(
            box=BOX,
            pkcs11_module=token.module,
            pkcs11_token=token.label,
            pkcs11_pin_file=token.pin_file,
        )
        opened: list[TokenBackend] = []

        def start() -> SignerBackend:
            backend = BUILT_IN["pkcs11"](options)
            assert isinstance(backend, TokenBackend)
            opened.append(backend)
            return backend

        def cut_off() -> None:
            shutil.rmtree(token.tokens)
            for backend in opened:
                backend.close()

        try:
            yield Place(open=start, provide=lambda _algorithm: None, cut_off=cut_off)
        finally:
            for backend in opened:
                backend.close()


@contextmanager
def agent_place(_monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with running_agent() as agent:
        yield Place(
            open=lambda: BUILT_IN["ssh-agent"](SignerOptions(box=BOX, agent_socket=agent.path)),
            provide=lambda algorithm: agent.add_new_key(algorithm, f"mysocket {CA}"),
            cut_off=agent.process.stop,
        )


PLACES: dict[str, Callable[[pytest.MonkeyPatch], AbstractContextManager[Place]]] = {
    "file": file_place,
    "pkcs11": token_place,
    "ssh-agent": agent_place,
}
ALWAYS_THERE = {"file"}
"""Places that nothing but the process itself can be without."""
OTHERS: dict[str, Callable[[Path], Signer]] = {
    "memory": lambda _path: MemorySigner(
        name="contract", signing_key=generate_ca_key(CaAlgorithm.P256)
    ),
    "key file": lambda path: FileSigner.create(
        path / "ca.key", BOX, generate_ca_key(CaAlgorithm.P256), name="contract"
    ),
}
"""Signers that no setting names: they come from no backend."""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with PLACES[request.param](monkeypatch) as found:
        yield found


@pytest.fixture
def made(place: Place) -> tuple[Signer, HeldKey]:
    place.provide(CaAlgorithm.ED25519)
    return place.open().create(CA, CaAlgorithm.ED25519)


def test_every_built_in_is_under_contract() -> None:
    assert set(PLACES) == set(BUILT_IN)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_signs_every_kind_of_certificate(place: Place, algorithm: CaAlgorithm) -> None:
    place.provide(algorithm)
    signer, _ = place.open().create(CA, algorithm)
    assert isinstance(signer, Signer)
    assert signer.name == CA
    assert algorithm_of(signer.public_key) is algorithm
    assert signer.signing_key.public_key() == signer.public_key
    check_signs(signer)
    ssh.issue_user_certificate(signer, user_spec(NOW))
    ssh.issue_host_certificate(signer, host_spec(NOW))
    check_x509(signer)


def check_x509(signer: Signer) -> None:
    """The signer as a root, as the issuing CA below it, and at work."""
    root = x509.make_root(signer, ca_spec("root", ROOT_LIFE))
    issuing = x509.make_issuing_ca(
        root, signer, ca_spec("issuing", ISSUING_LIFE), dns_names=DNS_NAMES
    )
    x509.issue_client_certificate(issuing, client_spec(NOW))


def ca_spec(name: str, life: timedelta) -> CaCertSpec:
    return CaCertSpec(
        common_name=f"mysocket {name} 1",
        serial=x509_serial(),
        not_before=NOW - timedelta(hours=1),
        not_after=NOW - timedelta(hours=1) + life,
    )


def test_another_process_finds_the_key_again(place: Place, made: tuple[Signer, HeldKey]) -> None:
    signer, held = made
    again = place.open().load(held)
    assert (again.name, again.public_key) == (CA, signer.public_key)
    check_signs(again)


def test_no_two_generations_get_the_same_key(place: Place, made: tuple[Signer, HeldKey]) -> None:
    first, held = made
    place.provide(CaAlgorithm.ED25519)
    second, other = place.open().create(CA, CaAlgorithm.ED25519, taken=[held.reference])
    assert second.public_key != first.public_key
    assert place.open().load(held).public_key == first.public_key
    assert place.open().load(other).public_key == second.public_key


def test_the_key_that_is_held_is_no_secret(made: tuple[Signer, HeldKey]) -> None:
    signer, held = made
    assert len(held.reference) <= 100
    assert "sealed" not in repr(held)
    assert "PrivateKey" not in repr(signer)


def test_a_destroyed_key_signs_no_more(place: Place, made: tuple[Signer, HeldKey]) -> None:
    _, held = made
    backend = place.open()
    backend.destroy(held)
    backend.destroy(held)
    without_row = HeldKey(name=held.name, reference=held.reference)
    with pytest.raises(errors.KeyMissingError):
        place.open().load(without_row)


def test_a_key_that_no_ca_came_to_have_is_given_back(
    place: Place, made: tuple[Signer, HeldKey]
) -> None:
    signer, held = made
    backend = place.open()
    backend.give_back(held)
    if isinstance(backend, AgentKeys):
        # Another CA may have chosen it meanwhile.
        assert backend.load(held).public_key == signer.public_key
        return
    with pytest.raises(errors.KeyMissingError):
        backend.load(HeldKey(name=held.name, reference=held.reference))


@pytest.mark.parametrize("place", sorted(set(PLACES) - ALWAYS_THERE), indirect=True)
def test_a_key_in_use_dies_with_its_place(place: Place, made: tuple[Signer, HeldKey]) -> None:
    signer, held = made
    assert place.cut_off is not None
    place.cut_off()
    with pytest.raises(errors.SignerUnavailableError):
        check_signs(signer)
    with pytest.raises(errors.SignerUnavailableError):
        ssh.issue_user_certificate(signer, user_spec(NOW))
    with pytest.raises(errors.SignerUnavailableError):
        check_x509(signer)
    for reach in (lambda: place.open().load(held), lambda: place.open().destroy(held)):
        with pytest.raises(errors.SignerUnavailableError):
            reach()


def test_it_serves_several_threads(made: tuple[Signer, HeldKey]) -> None:
    signer, subject = made[0], ssh_subject()

    def issue(serial: int) -> int:
        spec = user_spec(NOW, public_key=subject, serial=serial)
        return ssh.issue_user_certificate(signer, spec).serial

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(issue, range(1, 41))) == list(range(1, 41))


@pytest.mark.parametrize("kind", ["pkcs11", "ssh-agent"])
@pytest.mark.parametrize("algorithm", [CaAlgorithm.ED25519, CaAlgorithm.P256, CaAlgorithm.RSA3072])
def test_a_private_half_that_is_elsewhere_stays_there(
    kind: str, algorithm: CaAlgorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PLACES[kind](monkeypatch) as place:
        place.provide(algorithm)
        key = place.open().create(CA, algorithm)[0].signing_key
        with pytest.raises(errors.KeyStoreError):
            key.private_bytes(
                serialization.Encoding.DER,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        with pytest.raises(errors.KeyStoreError):
            pickle.dumps(key)
        assert copy.deepcopy(key).public_key() == key.public_key()


@pytest.mark.parametrize("kind", OTHERS)
def test_signers_of_no_backend_sign_too(kind: str, tmp_path: Path) -> None:
    signer = OTHERS[kind](tmp_path)
    assert isinstance(signer, Signer)
    assert signer.public_key == signer.signing_key.public_key()
    assert "PrivateKey" not in repr(signer)
    check_signs(signer)
    ssh.issue_user_certificate(signer, user_spec(NOW))
