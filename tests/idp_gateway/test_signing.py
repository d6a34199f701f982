"""Keys of generations: made where the settings say, found again, and no other's."""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives import serialization

from ca import signers
from ca.ca_keys import CaAlgorithm, CaPrivateKey, CaPublicKey, algorithm_of, generate_ca_key
from ca.errors import IssuanceError, KeyMissingError, KeyStoreError, SealBrokenError
from ca.keybox import KeyBox
from ca.signers import HeldKey, SealedKeys, Signer, SignerOptions
from ca.ssh import ca_public_line, fingerprint
from idp_gateway.errors import SettingsError
from idp_gateway.records import CaGenerationRecord, CaState
from idp_gateway.settings import CaSettings, Settings
from idp_gateway.signing import IDLE_SECONDS, MadeKey, Signing

BOX = KeyBox(bytes(32))
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def signing(settings: Settings) -> Signing:
    return Signing(settings, BOX)


def record_of(ca_id: str, made: MadeKey, generation: int = 1) -> CaGenerationRecord:
    line = ca_public_line(made.signer)
    return CaGenerationRecord(
        ca_id=ca_id,
        generation=generation,
        state=CaState.ACTIVE,
        public=line,
        key_id=fingerprint(line),
        signer=made.backend,
        private_sealed=made.private_sealed,
        key_reference=made.key_reference,
        created_at=NOW,
    )


def test_a_made_key_is_found_again_by_another_gateway(signing: Signing, settings: Settings) -> None:
    made = signing.make("ssh-host")
    record = record_of("ssh-host", made)
    assert (made.backend, made.key_reference) == ("file", "")
    assert Signing(settings, BOX).open(record).public_key == made.signer.public_key


def test_an_open_key_is_kept_until_it_is_destroyed(signing: Signing) -> None:
    record = record_of("ssh-host", signing.make("ssh-host"))
    signer = signing.open(record)
    assert signing.open(record) is signer
    signing.destroy(record)
    assert signing.open(record) is not signer
    with pytest.raises(KeyMissingError, match="not kept"):
        signing.open(replace(record, generation=2, private_sealed=None))


def test_a_key_nobody_uses_is_let_go(settings: Settings) -> None:
    now = 0.0
    signing = Signing(settings, BOX, monotonic=lambda: now)
    busy, idle, last = (
        record_of(ca, signing.make(ca)) for ca in ("ssh-host", "ssh-tunnel", "ssh-user:1")
    )
    kept, dropped = signing.open(busy), signing.open(idle)
    now = IDLE_SECONDS - 1
    assert signing.open(busy) is kept
    now = IDLE_SECONDS + 1
    signing.open(last)
    assert list(signing._open) == [("ssh-host", 1, busy.key_id), ("ssh-user:1", 1, last.key_id)]
    assert signing.open(busy) is kept
    assert signing.open(idle) is not dropped


def test_a_key_opens_for_its_own_ca_and_generation_only(signing: Signing) -> None:
    one = record_of("ssh-user:1", signing.make("ssh-user:1"))
    two = record_of("ssh-user:1", signing.make("ssh-user:1"), generation=2)
    with pytest.raises(SealBrokenError):
        signing.open(replace(one, ca_id="ssh-user:2"))
    with pytest.raises(KeyStoreError, match="not its generation's"):
        signing.open(replace(two, private_sealed=one.private_sealed))
    with pytest.raises(KeyStoreError, match="unreadable"):
        signing.open(replace(one, generation=3, public="ssh-ed25519 AAAA"))


def test_each_purpose_has_its_algorithm(settings: Settings) -> None:
    told = CaSettings(host_algorithm=CaAlgorithm.P384, x509_algorithm=CaAlgorithm.RSA3072)
    signing = Signing(settings.model_copy(update={"ca": told}), BOX)
    made = [signing.make(ca) for ca in ("ssh-user:1", "ssh-host", "ssh-tunnel", "x509-issuing")]
    assert [algorithm_of(key.signer.public_key) for key in made] == [
        CaAlgorithm.ED25519,
        CaAlgorithm.P384,
        CaAlgorithm.ED25519,
        CaAlgorithm.RSA3072,
    ]


def test_a_key_of_before_is_taken_over(signing: Signing) -> None:
    key = generate_ca_key(CaAlgorithm.ED25519)
    record = record_of("ssh-tunnel", signing.adopt("ssh-tunnel", key))
    raw = key.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    assert signing.open(record).public_key == key.public_key()
    assert record.private_sealed is not None
    assert raw not in record.private_sealed


class Elsewhere(SealedKeys):
    """A place an installed package offers."""

    told: ClassVar[list[Mapping[str, str]]] = []


def elsewhere(options: SignerOptions) -> SealedKeys:
    Elsewhere.told.append(options.extra)
    return Elsewhere(box=options.box)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with an entry point is installed."""
    entry = EntryPoint("vault", f"{__name__}:elsewhere", signers.ENTRY_POINTS)
    monkeypatch.setattr(EntryPoint, "load", lambda _entry: elsewhere)

    def entry_points(*, group: str, name: str) -> list[EntryPoint]:
        return [entry] if (group, name) == (entry.group, entry.name) else []

    monkeypatch.setattr("idp_gateway.signing.entry_points", entry_points)


@pytest.mark.usefixtures("installed")
def test_an_installed_package_offers_a_place(settings: Settings) -> None:
    told = CaSettings(host_signer="vault", options={"address": "unix:/run/vault"})
    signing = Signing(settings.model_copy(update={"ca": told}), BOX)
    made = signing.make("ssh-host")
    assert made.backend == "vault"
    assert Elsewhere.told == [{"address": "unix:/run/vault"}]
    assert signing.open(record_of("ssh-host", made)).public_key == made.signer.public_key
    assert signing.make("ssh-tunnel").backend == "file"


def test_a_place_nobody_offers_stops_the_start(settings: Settings) -> None:
    told = CaSettings(user_signer="vault")
    with pytest.raises(SettingsError, match="no signer 'vault' is installed"):
        Signing(settings.model_copy(update={"ca": told}), BOX)


class Forgetful(SealedKeys):
    """Signs with another key than it shows."""

    def create(
        self, name: str, algorithm: CaAlgorithm, *, taken: Collection[str] = ()
    ) -> tuple[Signer, HeldKey]:
        shown, held = super().create(name, algorithm)
        other, _ = super().create(name, algorithm)
        return TwoKeys(shown=shown, used=other), held


@dataclass(frozen=True)
class TwoKeys:
    shown: Signer
    used: Signer

    @property
    def name(self) -> str:
        return self.shown.name

    @property
    def public_key(self) -> CaPublicKey:
        return self.shown.public_key

    @property
    def signing_key(self) -> CaPrivateKey:
        return self.used.signing_key


@pytest.mark.parametrize("algorithm", [CaAlgorithm.ED25519, CaAlgorithm.P384, CaAlgorithm.RSA3072])
def test_a_place_that_signs_with_another_key_gets_no_ca(
    settings: Settings, algorithm: CaAlgorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    built_in = {"file": lambda options: Forgetful(box=options.box)}
    monkeypatch.setattr(signers, "BUILT_IN", built_in)
    told = CaSettings(host_algorithm=algorithm)
    signing = Signing(settings.model_copy(update={"ca": told}), BOX)
    with pytest.raises(IssuanceError, match="does not sign with the key it shows"):
        signing.make("ssh-host")


def test_many_threads_open_one_key(signing: Signing) -> None:
    record = record_of("ssh-host", signing.make("ssh-host"))
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: signing.open(record), range(64)))
    assert {ca_public_line(signer) for signer in opened} == {record.public}
