"""Binding a child's life to ours, by the kernel: no Envoy outlives a killed agent.

Envoy asks for this itself only with hot restart enabled. An orphan would keep the public ports and
serve what it last knew, without anybody to tell it of a revocation.

The request must come from the child. Code of ours between fork and exec is no place for it: the
agent has threads (gRPC's), whose locks and descriptors such a child inherits in whatever state they
are. So this file is also a program, which asks the kernel and then becomes the one it was given.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
"""``linux/prctl.h``."""


def bound_to_us(command: Sequence[str]) -> list[str]:
    """``command``, to be started by this process, so that it gets SIGTERM when the thread that
    starts it ends."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _become(parent: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended in between
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - this is what the program is for


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
