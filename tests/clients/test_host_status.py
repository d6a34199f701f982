"""``host status``: what would keep people out, or clients away, is said."""

import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from ca.formats.krl import Krl, RevokedByCa
from ca.formats.ssh_certificate import SshCertificate, parse_certificate_line
from ca.formats.ssh_keys import blob_of, parse_key_blob, parse_key_line
from clients.mysocketctl.host_files import HostDirectory, install
from clients.mysocketctl.host_status import unreadable_principals
from tests.clients.conftest import Ctl
from tests.clients.test_host import Server, server_with
from tests.support.wire_gateway import WireGateway


@pytest.fixture
def server(ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> Server:
    return server_with(ctl, gateway, tmp_path)


REVOKED: dict[str, Callable[[SshCertificate], Krl]] = {
    "itself": lambda one: Krl(
        certificates=(RevokedByCa.of_serials(one.signature_key, [one.serial]),)
    ),
    "its key": lambda one: Krl(keys=(one.key_blob.blob,)),
    "its CA": lambda one: Krl(keys=(one.signature_key,)),
}


@pytest.mark.parametrize("what", REVOKED)
def test_a_server_whose_own_certificate_is_revoked_is_told(server: Server, what: str) -> None:
    server.enrol()
    certificate = parse_certificate_line((server.files / "ssh_host_key-cert.pub").read_text())
    server.gateway.krl = REVOKED[what](certificate).encode()
    assert server.sync().returncode == 0

    done = server.status()

    assert done.returncode == 1
    assert b"the host certificate is revoked; run: mysocketctl host enrol" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_another_certificate_on_the_list_is_not_the_servers_own(server: Server) -> None:
    server.enrol()
    certificate = parse_certificate_line((server.files / "ssh_host_key-cert.pub").read_text())
    others = RevokedByCa.of_serials(certificate.signature_key, [certificate.serial + 1])
    server.gateway.krl = Krl(certificates=(others,)).encode()
    server.sync()
    assert server.status().returncode == 0


NOBODY: dict[str, Callable[[bytes], Krl]] = {
    "every number": lambda ca: Krl(certificates=(RevokedByCa(ca=ca, serials=((1, 2**64 - 1),)),)),
    "of any CA": lambda ca: Krl(certificates=(RevokedByCa(ca=b"", serials=((1, 2**64 - 1),)),)),
    "its key": lambda ca: Krl(keys=(ca,)),
}


@pytest.mark.parametrize("what", NOBODY)
def test_a_server_that_nobody_can_log_in_to_is_told(server: Server, what: str) -> None:
    server.enrol()
    ca = parse_key_line(server.gateway.user_cas[0])
    server.gateway.krl = NOBODY[what](ca.blob).encode()
    assert server.sync().returncode == 0

    done = server.status("--json")

    assert done.returncode == 1
    assert b"every trusted user CA are revoked: nobody can log in" in done.stderr
    facts = json.loads(done.stdout)
    assert (facts["revoked_cas"], facts["revoked_certificates"]) == ([ca.fingerprint], 0)


def test_one_of_two_cas_is_enough(server: Server) -> None:
    server.enrol()
    other = parse_key_blob(blob_of(ed25519.Ed25519PrivateKey.generate().public_key()))
    server.gateway.user_cas = (other.line, server.gateway.user_cas[0])
    server.gateway.krl = Krl(keys=(other.blob,)).encode()
    assert server.sync().returncode == 0
    done = server.status("--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["revoked_cas"] == [other.fingerprint]


def test_news_from_the_future_are_not_fresh(server: Server) -> None:
    server.enrol()
    server.sync()
    path = server.files / "host.json"
    state = json.loads(path.read_text())
    for ahead, code in ((300, 0), (365 * 86_400, 1)):
        path.write_text(json.dumps(state | {"synced_at": state["synced_at"] + ahead}))
        done = server.status()
        assert done.returncode == code, done.stderr
        assert (b"clock went back" in done.stderr) == bool(code)


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


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that other users reach."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as somebody else")
def test_logins_that_sshd_cannot_read_for_are_named(server: Server, public: Path) -> None:
    somebody = next(one.pw_name for one in pwd.getpwall() if one.pw_uid != 0)
    files = server.files = public / "mysocket"
    assert (
        server.enrol("--login", somebody, "--login", "root", "--login", "x-unknown").returncode == 0
    )
    directory = HostDirectory(files)
    assert list(unreadable_principals(directory)) == []
    assert server.status().returncode == 0

    for path, good, bad in (
        (files, 0o755, 0o700),
        (files / "principals", 0o755, 0o750),
        (files / "principals" / somebody, 0o644, 0o600),
        (public, 0o755, 0o700),
    ):
        path.chmod(bad)
        found = list(unreadable_principals(directory))
        assert found == [(somebody, files / "principals" / somebody)], path
        done = server.status()
        assert done.returncode == 1
        assert f"sshd lets {somebody} in by no certificate".encode() in done.stderr
        assert done.stderr.count(b"\n") == 1
        path.chmod(good)
    install(files / "principals" / somebody, "x\n")
    assert server.status().returncode == 0
