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
    """
    port = free_port()
    config = _write_files(directory, port, trusted_ca_lines, principals, extra_config)
    if os.geteuid() == 0:
        _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    # sshd starts itself again per connection and therefore wants an absolute path.
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "/usr/sbin/sshd"
    command = [program, "-D", "-e", "-f", config]
    with running(Process(*command, log=directory / "sshd.log")) as process:
        process.wait_for_output(f"Server listening on 127.0.0.1 port {port}")
        yield Sshd(
            port=port,
            process=process,
            host_key=" ".join((directory / "host_key.pub").read_text().split()[:2]),
            login=getpass.getuser(),
        )


def _write_files(
    directory: Path,
    port: int,
    trusted_ca_lines: Sequence[str],
    principals: Sequence[str],
    extra_config: Sequence[str],
) -> Path:
    host_key = directory / "host_key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", host_key], check=True
    )
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
