"""``host sync`` and what a server keeps of the transparency log."""

from dataclasses import replace
from pathlib import Path

import pytest

from ca.formats.krl import Krl
from clients.mysocketctl.log_memory import file_name
from tests.clients.conftest import Ctl
from tests.clients.test_host import Server, server_with
from tests.support.wire_gateway import WireGateway


@pytest.fixture
def server(ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> Server:
    return server_with(ctl, gateway, tmp_path)


def test_a_broken_file_about_the_log_does_not_keep_revocations_away(server: Server) -> None:
    """It says what to do about the file, and only where a certificate needs it."""
    server.enrol()
    kept = server.files / file_name(server.ctl.environment["MYSOCKET_API"], None)
    kept.write_text("")
    server.gateway.krl = Krl(number=2).encode()
    assert server.sync().returncode == 0
    assert server.contents()["revoked_keys"] == server.gateway.krl

    renewed = server.gateway.certificate(life=7200)
    server.gateway.change = lambda bundle: replace(bundle, host_certificate=renewed)
    server.gateway.krl = Krl(number=3).encode()
    done = server.sync()
    assert done.returncode == 2
    assert f"{kept} cannot be read; remove it".encode() in done.stderr
    assert server.contents()["revoked_keys"] == server.gateway.krl
    assert server.contents()["ssh_host_key-cert.pub"].decode() != f"{renewed}\n"
