"""SSH certificates a second with a CA key in a token or an agent, against one in the process.

The token is SoftHSM, so this is what our side of a token costs; a real one adds its own time. The
agent is OpenSSH's, also measured against ``ssh-keygen -U``, which signs with the same key in it.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ca import ssh
from ca.ca_keys import CaAlgorithm
from ca.keybox import KeyBox
from ca.serials import ssh_serial
from ca.signers import BUILT_IN, Signer, SignerOptions
from ca.specs import UserCertSpec
from ca.subject_keys import SshPublicKey
from tests.support.softhsm import make_token
from tests.support.ssh_agent import RunningAgent, running_agent
from tests.support.subjects import ssh_subject

ALGORITHMS = (CaAlgorithm.ED25519, CaAlgorithm.P256, CaAlgorithm.RSA3072)
EMAIL = "alice@example.com"
DRIFT = timedelta(minutes=5)
BOX = KeyBox(bytes(32))
CA = "ssh-host"

Row = tuple[str, float, str, str, float]


def run(quick: bool) -> list[Row]:
    """Measure; rows as ``bench.figures.Figure``."""
    seconds = 0.2 if quick else 2.0
    subject = ssh_subject()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-hsm-") as text, running_agent() as agent:
        folder = Path(text)
        with token_signers(folder / "token") as in_token:
            for algorithm in ALGORITHMS:
                here, _ = BUILT_IN["file"](SignerOptions(box=BOX)).create(CA, algorithm)
                agent.add_new_key(algorithm, f"mysocket {CA}")
                options = SignerOptions(box=BOX, agent_socket=agent.path)
                there, _ = BUILT_IN["ssh-agent"](options).create(CA, algorithm)
                own = rate(here, subject, seconds)
                for place, signer in (("SoftHSM", in_token(algorithm)), ("ssh-agent", there)):
                    name = f"SSH certificates, {algorithm} CA key in {place}"
                    found = rate(signer, subject, seconds)
                    rows.append((name, found, "/s", "the key in the process", found / own))
                    if place == "ssh-agent":
                        peer = keygen_rate(agent, signer, folder, subject, seconds)
                        rows.append((name, found, "/s", "ssh-keygen -U -s", found / peer))
    return rows


@contextmanager
def token_signers(folder: Path) -> Iterator[Callable[[CaAlgorithm], Signer]]:
    """What makes a key in a new token."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        token = make_token(folder, monkeypatch)
        options = SignerOptions(
            box=BOX,
            pkcs11_module=token.module,
            pkcs11_token=token.label,
            pkcs11_pin_file=token.pin_file,
        )
        backend = BUILT_IN["pkcs11"](options)
        try:
            yield lambda algorithm: backend.create(CA, algorithm)[0]
        finally:
            backend.close()


def rate(signer: Signer, subject: SshPublicKey, seconds: float) -> float:
    """Certificates a second by one thread, each checked and linted."""

    def issue() -> None:
        now = datetime.now(UTC)
        spec = UserCertSpec(
            public_key=subject,
            key_id=EMAIL,
            principals=(EMAIL, "mysocket_ssh_signed"),
            serial=ssh_serial(),
            not_before=now - DRIFT,
            not_after=now + DRIFT,
        )
        ssh.issue_user_certificate(signer, spec)

    return _rate(issue, seconds)


def keygen_rate(
    agent: RunningAgent, signer: Signer, folder: Path, subject: SshPublicKey, seconds: float
) -> float:
    """The same by ``ssh-keygen`` with the key in the agent, one process a certificate."""
    (folder / "ca.pub").write_text(ssh.ca_public_line(signer) + "\n")
    (folder / "id.pub").write_text(subject.line + "\n")
    command = ["ssh-keygen", "-q", "-U", "-s", "ca.pub", "-I", EMAIL, "-z", "7", "-V", "-5m:+5m"]
    command += ["-n", f"{EMAIL},mysocket_ssh_signed", "id.pub"]
    environment = {**os.environ, "SSH_AUTH_SOCK": str(agent.path)}

    def issue() -> None:
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)

    return _rate(issue, seconds)


def _rate(step: Callable[[], object], seconds: float) -> float:
    step()
    done, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds or not done:
        step()
        done += 1
    return done / elapsed
