"""sshd is told of a new host certificate, however often it takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.clients.conftest import Ctl
from tests.clients.test_host import Key, Server, line_of, server_with
from tests.support.wire_gateway import WireGateway


@pytest.fixture
def server(ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> Server:
    return server_with(ctl, gateway, tmp_path)


def test_a_reload_that_failed_is_made_up_for(server: Server, tmp_path: Path) -> None:
    server.enrol()
    renewed = server.gateway.certificate(life=7200)
    server.gateway.change = lambda bundle: replace(bundle, host_certificate=renewed)
    assert server.sync("--on-renewal", "false").returncode == 2
    server.gateway.change = lambda bundle: bundle
    status = server.status()
    assert (status.returncode, b"sshd was not told" in status.stderr) == (1, True)
    assert server.sync().returncode == 0
    assert server.status().returncode == 1
    told = tmp_path / "told"

    assert server.sync("--on-renewal", f"touch {told}").returncode == 0

    assert told.exists()
    assert server.status().returncode == 0
    told.unlink()
    server.sync("--on-renewal", f"touch {told}")
    assert not told.exists()


def test_sshd_is_told_although_a_later_round_failed(server: Server, tmp_path: Path) -> None:
    server.enrol()
    renewed = server.gateway.certificate(life=7200)
    other = (line_of(Key.generate()),)
    bundles = iter([{"host_certificate": renewed, "user_cas": other}, {"krl": b""}])
    server.gateway.change = lambda bundle: replace(bundle, **next(bundles))
    told = tmp_path / "told"

    assert server.sync("--on-renewal", f"touch {told}").returncode == 1

    assert told.exists()
    assert server.status().returncode == 0


def test_sshd_is_told_of_one_that_was_lost_and_came_again(server: Server, tmp_path: Path) -> None:
    """It may have been reloaded while the file was damaged."""
    server.enrol()
    told = tmp_path / "told"
    server.sync("--on-renewal", f"touch {told}")
    assert not told.exists()
    certificate = server.files / "ssh_host_key-cert.pub"
    given = certificate.read_text()
    certificate.write_bytes(b"\0damaged")
    server.gateway.change = lambda bundle: replace(bundle, host_certificate=given.strip())

    assert server.sync("--on-renewal", f"touch {told}").returncode == 0

    assert certificate.read_text() == given
    assert told.exists()
    assert server.status().returncode == 0
    told.unlink()
    # Sent once more, and nothing is new.
    server.sync("--on-renewal", f"touch {told}")
    assert not told.exists()
