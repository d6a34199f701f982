"""A real OpenSSH server whose only trust is a list of user CAs and a list of principals."""

import contextlib
import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Process, free_port, running

_PRIVILEGE_SEPARATION = Path("/run/sshd")
"""Compiled into Debian's sshd, which as root does not start without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sshd:
    """A running sshd on 127.0.0.1."""

    port: int
    process: Process
    host_key: str
    """``type base64``, for a known_hosts line."""
    login: str
    """The one account that exists on it: whoever runs the test."""

    def log(self) -> str:
        return self.process.output()


@contextlib.contextmanager
def running_sshd(
    directory: Path,
    trusted_ca_lines: Sequence[str],
    principals: Sequence[str],
    extra_config: Sequence[str] = (),
) -> Iterator[Sshd]:
    """Run sshd with ``TrustedUserCAKeys`` and ``AuthorizedPrincipalsFile`` as its only trust.

    ``directory`` is private to it and must exist; ``extra_config`` lines go first, where they win.
    A ``host_key`` that is there already is its host key.
    """
    port = free_port()
    config = write_files(directory, port, trusted_ca_lines, principals, extra_config)
    prepare()
    command = [program(), "-D", "-e", "-f", config]
    with running(Process(*command, log=directory / "sshd.log")) as process:
        process.wait_for_output(f"Server listening on 127.0.0.1 port {port}")
        yield Sshd(
            port=port,
            process=process,
            host_key=" ".join((directory / "host_key.pub").read_text().split()[:2]),
            login=getpass.getuser(),
        )


def program() -> str:
    """sshd starts itself again per connection and therefore wants an absolute path."""
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "/usr/sbin/sshd"


def prepare() -> None:
    """Make the directory sshd wants as root."""
    if os.geteuid() == 0:
        _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)


def make_host_key(path: Path, kind: str = "ed25519") -> None:
    """A new host key in a file, its public half beside it."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", path], check=True)


def write_files(
    directory: Path,
    port: int,
    trusted_ca_lines: Sequence[str],
    principals: Sequence[str],
    extra_config: Sequence[str],
) -> Path:
    """Write host key, CA list, principals and configuration; returns the configuration."""
    host_key = directory / "host_key"
    if not host_key.exists():
        make_host_key(host_key)
    authorities = directory / "user_ca.pub"
    authorities.write_text("".join(f"{line}\n" for line in trusted_ca_lines))
    allowed = directory / "principals"
    allowed.write_text("".join(f"{principal}\n" for principal in principals))
    config = directory / "sshd_config"
    lines = [
        *extra_config,
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {host_key}",
        f"PidFile {directory / 'sshd.pid'}",
        f"TrustedUserCAKeys {authorities}",
        f"AuthorizedPrincipalsFile {allowed}",
        "AuthorizedKeysFile none",
        "AuthenticationMethods publickey",
        "PermitRootLogin prohibit-password",
        # The test's directory hangs below a world-writable /tmp.
        "StrictModes no",
        "UsePAM no",
        "LogLevel VERBOSE",
    ]
    config.write_text("".join(f"{line}\n" for line in lines))
    return config
