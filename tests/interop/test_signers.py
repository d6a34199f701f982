"""OpenSSH's and OpenSSL's opinion of what keys in tokens and agents sign."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from ca import crl, ssh, x509
from ca.ca_keys import CaAlgorithm
from ca.keybox import KeyBox
from ca.serials import x509_serial
from ca.signers import BUILT_IN, Signer, SignerBackend, SignerOptions
from ca.specs import ISSUING_LIFE, ROOT_LIFE, CaCertSpec
from ca.subject_keys import parse_ssh_public_key
from tests.support.softhsm import make_token
from tests.support.ssh_agent import running_agent
from tests.support.sshd import Sshd, running_sshd
from tests.support.subjects import (
    DNS_NAMES,
    client_spec,
    ec_key,
    host_spec,
    private_openssh,
    public_line,
    user_spec,
)

BOX = KeyBox(bytes(range(32)))
CA = "ssh-host"
ALGORITHMS = tuple(CaAlgorithm)


class Place(NamedTuple):
    backend: SignerBackend
    provide: Callable[[CaAlgorithm], object]


@contextmanager
def token_place(folder: Path) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        token = make_token(folder / "token", monkeypatch)
        backend = BUILT_IN["pkcs11"](
            SignerOptions(
                box=BOX,
                pkcs11_module=token.module,
                pkcs11_token=token.label,
                pkcs11_pin_file=token.pin_file,
            )
        )
        yield Place(backend, lambda _algorithm: None)
        backend.close()


@contextmanager
def agent_place(_folder: Path) -> Iterator[Place]:
    with running_agent() as agent:
        backend = BUILT_IN["ssh-agent"](SignerOptions(box=BOX, agent_socket=agent.path))
        yield Place(backend, lambda algorithm: agent.add_new_key(algorithm, f"mysocket {CA}"))


PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "pkcs11": token_place,
    "ssh-agent": agent_place,
}


@pytest.fixture(scope="module", params=PLACES)
def signers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[CaAlgorithm, Signer]]:
    """A signer of each algorithm in one place."""
    with PLACES[request.param](tmp_path_factory.mktemp("place")) as place:
        made = {}
        for algorithm in ALGORITHMS:
            place.provide(algorithm)
            made[algorithm], _ = place.backend.create(CA, algorithm)
        yield made


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_real_login_between_two_certificates(
    algorithm: CaAlgorithm, signers: dict[CaAlgorithm, Signer], tmp_path: Path
) -> None:
    """The person's certificate and the server's are both of this key."""
    signer, folder = signers[algorithm], tmp_path / "sshd"
    folder.mkdir()
    certificate = folder / "host_key-cert.pub"
    trusted = [ssh.ca_public_line(signer)]
    told = [f"HostCertificate {certificate}"]
    with running_sshd(folder, trusted, ["mysocket_ssh_signed"], told) as server:
        key = parse_ssh_public_key(server.host_key)
        spec = host_spec(datetime.now(UTC), public_key=key, principals=("host.test",))
        certificate.write_text(f"{ssh.issue_host_certificate(signer, spec).line}\n")
        server.process.popen.send_signal(signal.SIGHUP)
        server.process.wait_for(lambda: server.log().count("Server listening") == 2)
        said = login(server, signer, tmp_path)
        assert (said.returncode, said.stdout) == (0, "in\n"), said.stderr + server.log()


def login(server: Sshd, signer: Signer, folder: Path) -> subprocess.CompletedProcess[str]:
    key = ec_key()
    identity = folder / "id"
    identity.touch(mode=0o600)
    identity.write_bytes(private_openssh(key))
    spec = user_spec(datetime.now(UTC), public_key=parse_ssh_public_key(public_line(key)))
    line = ssh.issue_user_certificate(signer, spec).line
    (folder / "id-cert.pub").write_text(f"{line}\n")
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"@cert-authority host.test {ssh.ca_public_line(signer)}\n")
    options = {
        "HostKeyAlias": "host.test",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    target = ["-i", str(identity), "-p", str(server.port), f"{server.login}@127.0.0.1"]
    return subprocess.run(
        ["ssh", "-F", "none", *words, *target, "echo", "in"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_openssl_verifies_chain_and_list(
    algorithm: CaAlgorithm, signers: dict[CaAlgorithm, Signer], tmp_path: Path
) -> None:
    signer, now = signers[algorithm], datetime.now(UTC).replace(microsecond=0)
    root = x509.make_root(signer, ca_spec("root", ROOT_LIFE, now))
    issuing = x509.make_issuing_ca(
        root, signer, ca_spec("issuing", ISSUING_LIFE, now), dns_names=DNS_NAMES
    )
    leaf = x509.issue_client_certificate(issuing, client_spec(now))
    der = crl.make_crl(
        issuing, number=1, revoked=[], this_update=now, next_update=now + timedelta(days=1)
    )
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "issuing.pem").write_bytes(issuing.pem)
    (tmp_path / "leaf.pem").write_bytes(leaf.pem)
    (tmp_path / "crl.der").write_bytes(der)
    run = ["openssl", "crl", "-inform", "DER", "-in", "crl.der", "-CAfile", "issuing.pem"]
    listed = subprocess.run(
        [*run, "-noout"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "verify OK" in listed.stderr
    checked = subprocess.run(
        ["openssl", "verify", "-CAfile", "root.pem", "-untrusted", "issuing.pem", "leaf.pem"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.stdout == "leaf.pem: OK\n", checked.stderr


def ca_spec(name: str, life: timedelta, now: datetime) -> CaCertSpec:
    return CaCertSpec(
        common_name=f"mysocket {name} 1",
        serial=x509_serial(),
        not_before=now - timedelta(hours=1),
        not_after=now - timedelta(hours=1) + life,
    )
