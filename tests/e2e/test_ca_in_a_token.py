"""The whole product with every CA key in a token: tunnels, TLS sockets and logins as ever."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_ssh import one_block_config, ssh
from tests.support.processes import children_of, command_line
from tests.support.product import BIN, Person, Product, clean_environment
from tests.support.softhsm import PIN, SoftHsm, make_token
from tests.support.sshd import Sshd


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield make_token(tmp_path_factory.mktemp("token") / "t", monkeypatch)


@pytest.fixture(scope="module")
def product_environment(token: SoftHsm) -> dict[str, str]:
    """Every CA key in the token."""
    told = {f"{purpose}_signer": "pkcs11" for purpose in ("user", "host", "tunnel", "x509")} | {
        "pkcs11_module": str(token.module),
        "pkcs11_token": token.label,
        "pkcs11_pin_file": str(token.pin_file),
    }
    config = token.directory / "softhsm2.conf"
    return {"MYSOCKET_CA": json.dumps(told), "SOFTHSM2_CONF": str(config)}


def test_a_login_through_the_edge(machine_room: tuple[dict[str, Any], Sshd], alice: Person) -> None:
    """Behind it are four of the token's keys: the tunnel's, the edge's, alice's two."""
    socket, sshd = machine_room
    config = one_block_config(alice, socket["dnsname"])
    done = ssh(alice, config, f"{sshd.login}@{socket['dnsname']}", "echo it is $((6*7))")
    assert done.stdout == "it is 42\n", done.stderr + sshd.log()


def test_the_pin_is_nowhere_to_be_seen(
    machine_room: tuple[dict[str, Any], Sshd], product: Product
) -> None:
    assert product.process is not None
    processes = [command_line(pid) for pid in children_of(product.process.pid)]
    assert any("token_process" in line for line in processes)
    assert not any(PIN in line for line in processes)
    assert PIN not in product.process.output()


def test_the_operator_sees_that_it_works(
    machine_room: tuple[dict[str, Any], Sshd], product: Product
) -> None:
    done = subprocess.run(
        [BIN / "mysocket", "ca", "check", "--state", product.state],
        env=clean_environment(product.state, **product.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {one["signer"] for one in found} == {"pkcs11"}
    assert sum(one["ca"].startswith("ssh-user:") for one in found) >= 1
