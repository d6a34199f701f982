"""What a real sshd writes of a host whose certificate lets its users in (HostbasedAuthentication).

ssh-keysign and sshd take a host's files from fixed places, so both run where a mount namespace has
others in them.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from clients.mysocketctl.sightings import Sighting, read_sshd_log
from tests.support.processes import free_port

MISSING = "root" if os.geteuid() else "unshare" if not shutil.which("unshare") else ""
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"missing: {MISSING}")

KEY_ID = "web (serial 9) CA ED25519 SHA256:x"
SSH_CONFIG = """\
HostbasedAuthentication yes
EnableSSHKeysign yes
PreferredAuthentications hostbased
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
ConnectionAttempts 30
"""
SSHD_CONFIG = """\
ListenAddress 127.0.0.1
HostKey /etc/ssh/ssh_host_ed25519_key
HostbasedAuthentication yes
HostbasedUsesNameFromPacketOnly yes
IgnoreRhosts no
AuthenticationMethods hostbased
PermitRootLogin yes
PidFile none
UsePAM no
"""
LOG_IN = """\
mount --bind "$1/etc" /etc/ssh
mount --bind "$1/home" /root
mkdir -p /run/sshd
/usr/sbin/sshd -D -e -p "$2" 2> "$1/log" &
trap 'kill $!' EXIT
ssh -p "$2" root@127.0.0.1 true
"""


def keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True)


def prepare(directory: Path) -> None:
    """A host's files: its key and certificate, the CA it believes, and who may come from where."""
    etc, home = directory / "etc", directory / "home"
    etc.mkdir()
    home.mkdir(mode=0o700)
    key = etc / "ssh_host_ed25519_key"
    for path in (directory / "ca", key):
        keygen("-t", "ed25519", "-N", "", "-C", "", "-f", path)
    keygen(
        *("-s", directory / "ca", "-h", "-I", KEY_ID, "-n", "localhost", "-z", "77"),
        key.with_suffix(".pub"),
    )
    (etc / "ssh_config").write_text(SSH_CONFIG)
    (etc / "sshd_config").write_text(SSHD_CONFIG)
    authority = (directory / "ca.pub").read_text()
    (etc / "ssh_known_hosts").write_text(f"@cert-authority * {authority}")
    # The superuser's ~/.shosts alone counts, not the machine's shosts.equiv (sshd(8)).
    (home / ".shosts").write_text("localhost root\n")
    (home / ".shosts").chmod(0o600)


def fingerprint(key: Path) -> str:
    done = subprocess.run(["ssh-keygen", "-l", "-f", key], capture_output=True, check=True)
    return done.stdout.split()[1].decode()


def test_a_host_that_came_in_with_its_certificate_is_read(tmp_path: Path) -> None:
    prepare(tmp_path)
    command = ["unshare", "--mount", "bash", "-euc", LOG_IN, "-", str(tmp_path), str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    log = (tmp_path / "log").read_bytes()
    assert done.returncode == 0, f"{done.stderr}{log.decode()}"
    (found,) = read_sshd_log(log.splitlines(keepends=True))
    assert isinstance(found, Sighting)
    assert (found.serial, found.key_id) == ("77", KEY_ID)
    assert found.ca == fingerprint(tmp_path / "ca.pub")
    assert found.key_fingerprint == fingerprint(tmp_path / "etc" / "ssh_host_ed25519_key.pub")
