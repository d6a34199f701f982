"""``host status``: what would keep people out, or clients away, is said."""

import json
from pathlib import Path

import pytest

from tests.clients.conftest import Ctl
from tests.clients.test_host import Server, server_with
from tests.support.wire_gateway import WireGateway


@pytest.fixture
def server(ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> Server:
    return server_with(ctl, gateway, tmp_path)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (2**64 - 1, "never"),
        (2**62, "never"),
        (253_402_300_800, "never"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ],
)
def test_a_certificate_without_an_end_has_none(
    server: Server, monkeypatch: pytest.MonkeyPatch, ends: int, said: str
) -> None:
    monkeypatch.setattr("tests.clients.test_host.time.time", lambda: 300)
    server.enrol()
    endless = server.gateway.certificate(life=ends - 300)
    (server.files / "ssh_host_key-cert.pub").write_text(endless + "\n")

    done = server.status("--json")

    assert b"Traceback" not in done.stderr
    assert b"internal" not in done.stderr
    assert json.loads(done.stdout)["certificate_ends"] == said


@pytest.mark.parametrize("name", ["host_key", "ca_file", "gateway", "bundle_key"])
@pytest.mark.parametrize("word", ["/etc/\0", "\ud800"])
def test_a_state_that_names_no_file_is_one_line(server: Server, name: str, word: str) -> None:
    server.enrol()
    path = server.files / "host.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: word}))

    for done in (server.sync(), server.status()):
        assert done.returncode == 2
        assert done.stderr == f"mysocketctl: {path} is broken; enrol this host again\n".encode()
