"""Files of an enrolled server that are not what they should be, and news all the same."""

from pathlib import Path

import pytest

from ca.formats.krl import Krl, RevokedByCa, parse_krl
from tests.clients.conftest import Ctl
from tests.clients.test_host import Server, server_with
from tests.support.wire_gateway import WireGateway


@pytest.fixture
def server(ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> Server:
    return server_with(ctl, gateway, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ssh_host_key-cert.pub", b"two\nlines\n"),
        ("ssh_host_key-cert.pub", "ssh-ed25519-cert-v01@openssh.com é".encode()),
        ("ssh_host_key-cert.pub", b"x" * 20_000),
        ("ssh_host_key-cert.pub", b"x" * (2 << 20)),
        ("user_ca_keys", b"x" * (2 << 20)),
        ("user_ca_keys", b"SAME" * 300),
    ],
    ids=["lines", "no ascii", "long", "huge", "huge CAs", "many CAs"],
)
def test_no_damaged_file_keeps_a_revocation_away(name: str, content: bytes, server: Server) -> None:
    server.enrol()
    same = f"{server.gateway.user_cas[0]}\n".encode()
    (server.files / name).write_bytes(content.replace(b"SAME", same))
    revoked = Krl(number=6, certificates=(RevokedByCa.of_serials(b"", [77]),))
    server.gateway.number, server.gateway.krl = 6, revoked.encode()

    assert server.sync().returncode == 0

    assert parse_krl(server.contents()["revoked_keys"]) == revoked
    assert server.contents()["user_ca_keys"] == same
    said = server.gateway.questions[-1]
    assert said.certificate == "" or name != "ssh_host_key-cert.pub"
    assert len(said.trusted_cas) == 1
