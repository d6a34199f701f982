"""A shell that is typed into block by block, as a reader of the documentation does."""

import contextlib
import os
import pty
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.documentation import ROOT
from tests.support.processes import Process


class Terminal:
    """One bash for all blocks, so that variables, functions and background jobs stay."""

    def __init__(
        self, directory: Path, environment: Mapping[str, str], enter: Sequence[str] = ()
    ) -> None:
        """Open it in ``directory``; ``enter`` leads to another machine."""
        self._blocks = 0
        self._directory = directory
        script = f"cd {directory} && exec bash --noprofile --norc"
        self.process = Process(
            *(*enter, "sh", "-c", script),
            log=directory / "terminal.log",
            env=environment,
            stdin=subprocess.PIPE,
        )

    def type(self, block: str, *, within: float = 60) -> str:
        """Run a block to its end; what appeared since. Fails if its last command does."""
        shown = len(self.process.output())
        self._blocks += 1
        mark = f"block {self._blocks} ended with "
        stdin = self.process.popen.stdin
        assert stdin is not None
        # From a file, as a program in the block may read standard input to its end.
        typed = self._directory / f"block-{self._blocks}.sh"
        typed.write_text(block)
        stdin.write(f"source {typed} </dev/null; echo '{mark}'$?\n".encode())
        stdin.flush()
        self.process.wait_for_output(mark, within=within)
        self.process.wait_for(lambda: self.process.output().rpartition(mark)[2].endswith("\n"))
        said = self.process.output()[shown:]
        assert f"{mark}0\n" in said, f"{block}\n{self.process.output()}"
        return said.partition(mark)[0]


def on_a_terminal(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a program whose every stream is a terminal; what appeared there."""
    own, its = pty.openpty()
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdin=its, stdout=its, stderr=its):
        os.close(its)
        shown = bytearray()
        # Linux says EIO when the other side is closed.
        with contextlib.suppress(OSError):
            while piece := os.read(own, 1 << 16):
                shown += piece
    os.close(own)
    return shown.decode()
