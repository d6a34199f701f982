"""A CA moves from place to place by rotations: sealed, into a token, into an agent, and back."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ca.errors import CaError, KeyMissingError
from ca.signers import BUILT_IN, HeldKey, SignerOptions
from ca.signers.ssh_agent import AgentKeys
from idp_gateway.ca_generations import SSH_HOST
from idp_gateway.composition import build_gateway
from idp_gateway.records import CaGenerationRecord, CaState
from idp_gateway.rotation import Step
from idp_gateway.settings import CaSettings, Settings
from tests.idp_gateway.conftest import FixedClock
from tests.idp_gateway.test_authority import socket_of
from tests.idp_gateway.test_rotation import ALL, active, signed_now, take
from tests.idp_gateway.test_signing import BOX
from tests.support.softhsm import SoftHsm, make_token
from tests.support.ssh_agent import RunningAgent, running_agent

WAY = ("file", "pkcs11", "ssh-agent", "file")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    return make_token(tmp_path / "token", monkeypatch)


@pytest.fixture
def agent() -> Iterator[RunningAgent]:
    with running_agent() as agent:
        for purpose, kind in (("ssh-host", "ed25519"), ("ssh-tunnel", "ed25519")):
            agent.add_new_key(kind, f"mysocket {purpose}")
        agent.add_new_key("ed25519", "mysocket ssh-user")
        agent.add_new_key("p256", "mysocket x509-issuing")
        yield agent


def places(kind: str, token: SoftHsm, agent: RunningAgent) -> CaSettings:
    """New keys of every CA are made there; the other places stay within reach."""
    everywhere: dict[str, Any] = {
        f"{purpose}_signer": kind for purpose in ("user", "host", "tunnel", "x509")
    }
    return CaSettings(
        **everywhere,
        pkcs11_module=token.module,
        pkcs11_token=token.label,
        pkcs11_pin_file=token.pin_file,
        agent_socket=agent.path,
    )


def check_gone(record: CaGenerationRecord, token: SoftHsm, agent: RunningAgent) -> None:
    """No trace of the private half is left where it was."""
    held = HeldKey(name=record.ca_id, reference=record.key_reference)
    if record.signer == "ssh-agent":
        with pytest.raises(KeyMissingError):
            AgentKeys(path=agent.path).load(held)
    elif record.signer == "pkcs11":
        options = SignerOptions(
            box=BOX,
            pkcs11_module=token.module,
            pkcs11_token=token.label,
            pkcs11_pin_file=token.pin_file,
        )
        with closing(BUILT_IN["pkcs11"](options)) as backend, pytest.raises(KeyMissingError):
            backend.load(held)
    assert record.private_sealed is None


@pytest.mark.parametrize("ca_id", ALL)
def test_a_ca_moves_from_place_to_place(
    ca_id: str, settings: Settings, clock: FixedClock, token: SoftHsm, agent: RunningAgent
) -> None:
    before: CaGenerationRecord | None = None
    for number, kind in enumerate(WAY, 1):
        told = settings.model_copy(update={"ca": places(kind, token, agent)})
        with closing(build_gateway(told, clock=clock)) as gateway:
            if before is None:
                socket_of(gateway)
            else:
                # Another setting alone moves nothing: the old key signs from where it is.
                assert signed_now(gateway, ca_id) == before.key_id
                take(gateway, ca_id, Step.PREPARE, Step.PUBLISH)
                assert signed_now(gateway, ca_id) == before.key_id
                take(gateway, ca_id, Step.ACTIVATE)
            now = active(gateway, ca_id)
            assert (now.signer, now.generation) == (kind, number)
            assert (now.private_sealed is None) is (kind != "file")
            assert signed_now(gateway, ca_id) == now.key_id
            if before is not None:
                clock.advance(days=15 if ca_id == SSH_HOST else 0, minutes=10, seconds=16)
                take(gateway, ca_id, Step.RETIRE)
                (retired,) = [
                    record
                    for record in gateway.store.generations(ca_id)
                    if record.generation == before.generation
                ]
                assert retired.state is CaState.RETIRED
                check_gone(retired, token, agent)
            before = now


@pytest.mark.parametrize("ca_id", ALL)
def test_a_key_that_does_not_sign_is_not_activated(
    ca_id: str, settings: Settings, clock: FixedClock, token: SoftHsm, agent: RunningAgent
) -> None:
    with closing(build_gateway(settings, clock=clock)) as gateway:
        socket_of(gateway)
        first = active(gateway, ca_id).key_id
    told = settings.model_copy(update={"ca": places("ssh-agent", token, agent)})
    with closing(build_gateway(told, clock=clock)) as gateway:
        take(gateway, ca_id, Step.PREPARE, Step.PUBLISH)
        # Opened, and for X.509 loaded as an issuer: it is known, it only signs no more.
        gateway.authority.generations.check_signs(gateway.store.generations(ca_id)[-1])
        agent.forget_all()

        with pytest.raises(CaError):
            take(gateway, ca_id, Step.ACTIVATE)

        assert active(gateway, ca_id).key_id == first == signed_now(gateway, ca_id)
        states = [record.state for record in gateway.store.generations(ca_id)]
        assert states == [CaState.ACTIVE, CaState.PUBLISHED]
