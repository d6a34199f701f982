"""A real ssh-agent with keys of the test's own."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Process, running

KINDS = {
    "ed25519": ("-t", "ed25519"),
    "p256": ("-t", "ecdsa", "-b", "256"),
    "p384": ("-t", "ecdsa", "-b", "384"),
    "rsa3072": ("-t", "rsa", "-b", "3072"),
    "rsa4096": ("-t", "rsa", "-b", "4096"),
}
"""Arguments of ssh-keygen, by algorithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAgent:
    """An agent that listens at ``path``."""

    path: Path
    process: Process

    def add_new_key(self, kind: str, comment: str, *options: str) -> str:
        """Make a key, add it, forget the file; its fingerprint."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "key"
            subprocess.run(
                ["ssh-keygen", "-q", *KINDS[kind], "-N", "", "-C", comment, "-f", file], check=True
            )
            self.add(file, *options)
            shown = subprocess.run(
                ["ssh-keygen", "-lf", file], check=True, capture_output=True, text=True
            )
        return shown.stdout.split()[1]

    def add(self, file: Path, *options: str) -> None:
        """Add a key from a file."""
        self._ssh_add("-q", *options, str(file))

    def forget_all(self) -> None:
        """Remove every key."""
        self._ssh_add("-q", "-D")

    def listed(self) -> str:
        """What ``ssh-add -l`` shows."""
        return subprocess.run(
            ["ssh-add", "-l"], env=self._environment(), capture_output=True, text=True, check=False
        ).stdout

    def _ssh_add(self, *arguments: str) -> None:
        subprocess.run(
            ["ssh-add", *arguments], env=self._environment(), check=True, capture_output=True
        )

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "SSH_AUTH_SOCK": str(self.path)}


@contextlib.contextmanager
def running_agent() -> Iterator[RunningAgent]:
    """Run an agent on a socket with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="agent", dir="/tmp"))
    path = folder / "a"
    try:
        with running(Process("ssh-agent", "-D", "-a", str(path), log=folder / "log")) as process:
            process.wait_for_output("SSH_AUTH_SOCK=")
            yield RunningAgent(path=path, process=process)
    finally:
        shutil.rmtree(folder)
