"""The roots an enrolled server keeps, and the warning of other drop-ins for sshd."""

import json
from pathlib import Path

from clients.mysocketctl.host_files import HostDirectory
from clients.mysocketctl.host_surroundings import rivals
from tests.clients.conftest import Ctl
from tests.clients.test_host import Server, server_with
from tests.support.wire_gateway import WireGateway


def test_the_roots_of_the_enrolment_outlive_the_file_they_came_from(
    ctl: Ctl, gateway: WireGateway, tmp_path: Path
) -> None:
    mine = tmp_path / "home" / "root.pem"
    mine.write_bytes(Path(ctl.environment["MYSOCKET_CA_FILE"]).read_bytes())
    server = server_with(
        Ctl(ctl.home, {**ctl.environment, "MYSOCKET_CA_FILE": str(mine)}), gateway, tmp_path
    )
    assert server.enrol().returncode == 0
    content = mine.read_bytes()
    mine.unlink()

    bare = {name: value for name, value in ctl.environment.items() if name != "MYSOCKET_CA_FILE"}
    alone = Server(Ctl(ctl.home, bare), server.gateway, server.files, server.host_key)
    done = alone.sync()

    assert done.returncode == 0, done.stderr
    kept = server.files / "gateway_roots.pem"
    assert kept.read_bytes() == content
    assert json.loads((server.files / "host.json").read_text())["ca_file"] == str(kept)

    before = server.contents()
    kept.unlink()
    lost = alone.sync()
    assert (lost.returncode, lost.stdout, len(lost.stderr.splitlines())) == (1, b"", 1)
    assert str(kept).encode() in lost.stderr
    assert server.contents().keys() == before.keys() - {"gateway_roots.pem"}


def test_other_drop_ins_that_set_the_same_are_found(tmp_path: Path) -> None:
    files, drop_ins = HostDirectory(tmp_path / "mysocket"), tmp_path / "sshd_config.d"
    files.make()
    drop_ins.mkdir()
    files.sshd_config.write_text("TrustedUserCAKeys /x\n")
    (drop_ins / "10-mysocket.conf").symlink_to(files.sshd_config)
    (drop_ins / "00-plain.conf").write_text("# TrustedUserCAKeys /y\nPermitRootLogin no\n")
    (drop_ins / "05-loop.conf").symlink_to(drop_ins / "05-loop.conf")
    (drop_ins / "20-not-read.txt").write_text("RevokedKeys /z\n")
    assert rivals(files, drop_ins) == ()

    (drop_ins / "20-other.conf").write_text("Port 22\n\trevokedkeys=/z\n")
    assert rivals(files, drop_ins) == (drop_ins / "20-other.conf",)
    assert rivals(files, tmp_path / "none") == ()
