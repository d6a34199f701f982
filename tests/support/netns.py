"""A machine of its own: private network and mount namespaces with loopback and a hosts file.

For what insists on well-known ports and names, such as the original clients. Needs root, or user
namespaces; the host is not touched.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Process, running


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Prefix a command with ``enter`` to run it inside."""

    enter: tuple[str, ...]
    hosts: Path

    def add_names(self, *names: str) -> None:
        """Make ``names`` resolve to 127.0.0.1 inside; in place, for the file is bind-mounted."""
        with self.hosts.open("a") as hosts:
            hosts.writelines(f"127.0.0.1 {name}\n" for name in names)


@contextlib.contextmanager
def machine(directory: Path, *names: str) -> Iterator[Machine]:
    """Namespaces in which ``names`` are this machine; they end with the block."""
    hosts = directory / "hosts"
    hosts.write_text("::1 ip6-localhost\n")
    as_root = os.geteuid() == 0
    script = f"ip link set lo up && mount --bind {hosts} /etc/hosts && echo ready && exec cat"
    process = Process(
        *("unshare", "--mount", "--net", *(() if as_root else ("--map-root-user",))),
        *("sh", "-c", script),
        log=directory / "namespace.log",
        stdin=subprocess.PIPE,
    )
    with running(process):
        process.wait_for_output("ready")
        identity = () if as_root else ("--user", "--preserve-credentials")
        inside = Machine(
            enter=("nsenter", f"--target={process.pid}", "--mount", "--net", *identity, "--"),
            hosts=hosts,
        )
        inside.add_names("localhost", *names)
        yield inside
