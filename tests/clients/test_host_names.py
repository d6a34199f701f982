"""What the names of a directory and of a socket may be, before they are in files sshd reads."""

import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ca.formats.krl import Krl
from tests.clients.conftest import DNS_NAME, Ctl
from tests.clients.test_host import Server, server_with
from tests.support.sshd import prepare, program
from tests.support.wire_gateway import WireGateway


@pytest.fixture
def server(ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> Server:
    return server_with(ctl, gateway, tmp_path)


@pytest.mark.parametrize("name", ["my dir", "100%u", "a#b; c", "%h%%", "$HOME *", "-x"])
def test_sshd_accepts_the_files_of_any_directory(server: Server, name: str) -> None:
    server.files = server.files.with_name(name)
    assert server.enrol("--login", "deploy").returncode == 0
    prepare()

    command = (program(), "-T", "-f", server.files / "sshd.conf", "-h", server.host_key)
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert f"trustedusercakeys {server.files}/user_ca_keys\n" in done.stdout
    principals = str(server.files).replace("%", "%%")
    assert f"authorizedprincipalsfile {principals}/principals/%u\n" in done.stdout


@pytest.mark.parametrize("name", ['a"b', "it's", "a\\b", "a\nb", "h\u00e9", "a\tb"])
def test_a_directory_that_sshd_cannot_name_is_refused_at_once(server: Server, name: str) -> None:
    server.files = server.files.with_name(name)
    done = server.enrol()

    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done
    assert not server.files.exists()
    assert not server.gateway.host_key


@pytest.mark.parametrize(
    "name",
    [
        f"x\n@cert-authority * ssh-ed25519 AAAA\n{DNS_NAME}",
        f"{DNS_NAME}\n",
        "*",
        f"*.{DNS_NAME}",
        f"{DNS_NAME},evil.test",
        "h\u00e9.test",
        "x\x1b]0;owned\x07y",
        "",
    ],
)
def test_another_name_for_the_socket_is_refused(server: Server, name: str) -> None:
    """At the enrolment whatever is no host name, later whatever is not the enrolled one."""
    server.enrol()
    before = server.contents()
    server.gateway.krl = Krl(number=9, keys=(b"k",)).encode()
    server.gateway.change = partial(replace, dns_name=name)
    done = server.sync()
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done
    assert server.contents() == before
    assert b"\x1b" not in done.stdout + done.stderr

    server.gateway.dns_name = name
    again = server.enrol()
    assert (again.returncode, again.stderr.count(b"\n")) == (1, 1), again
    assert (server.files / "known_hosts").read_bytes() == before["known_hosts"]
    assert b"\x1b" not in again.stdout + again.stderr
