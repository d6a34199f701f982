"""Child processes that do not outlive us."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with_parent(signal_number: int = signal.SIGTERM) -> Callable[[], None] | None:
    """A ``preexec_fn`` by which the kernel signals the child when this process dies.

    ``prctl(PR_SET_PDEATHSIG)`` exists on Linux only; elsewhere ``None``. The C library is looked
    up here, before the fork, as little may be done between fork and exec. The signal comes when
    the *thread* that forked ends: start such children from the main thread.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask_kernel
