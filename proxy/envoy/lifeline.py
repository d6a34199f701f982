"""Binding a child's life to ours, by the kernel: no Envoy outlives a killed agent.

Envoy asks for this itself only with hot restart enabled. An orphan would keep the public ports and
serve what it last knew, without anybody to tell it of a revocation.
"""

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
"""``linux/prctl.h``."""


def end_with_parent() -> Callable[[], None]:
    """What a child runs before exec so that it gets SIGTERM when the thread that started it ends.

    The C library is looked up here, before the fork, as little may be done between fork and exec.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended in between
            os._exit(1)

    return ask_the_kernel
