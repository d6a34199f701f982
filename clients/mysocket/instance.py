"""The one ``up`` that may run on a state directory: its lock and how to find it."""

import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from clients.mysocket.errors import StackError
from clients.mysocket.layout import Layout
from clients.mysocketctl.files import private, write_private

_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A process told apart from a later one with the same number by when it started."""

    pid: int
    started: int
    """Clock ticks after boot: field 22 of ``/proc/<pid>/stat`` (proc(5))."""
    ready: bool = False


@contextmanager
def only_one(layout: Layout) -> Iterator[None]:
    """Hold the state directory. Raises StackError if another ``up`` does."""
    try:
        layout.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whoever can open it can hold it.
        lock = open(layout.lock, "a", opener=private)  # noqa: SIM115 - Path.open has no opener
        os.fchmod(lock.fileno(), 0o600)
    except OSError as error:
        raise StackError(
            "state-not-writable", f"cannot use {layout.state}: {error.strerror}"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            running = find(layout)
            who = f" (pid {running.pid})" if running else ""
            raise StackError(
                "already-running", f"already running on {layout.state}{who}; see mysocket down"
            ) from error
        note(layout, ready=False)
        try:
            yield
        finally:
            layout.process.unlink(missing_ok=True)


def note(layout: Layout, *, ready: bool) -> None:
    """Write down who we are and whether everything is up."""
    pid = os.getpid()
    instance = Instance(pid=pid, started=started_at(pid) or 0, ready=ready)
    write_private(layout.process, json.dumps(asdict(instance)))


def find(layout: Layout) -> Instance | None:
    """The running ``up`` of this state directory, if there is one."""
    try:
        instance = Instance(**json.loads(layout.process.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return instance if started_at(instance.pid) == instance.started else None


def started_at(pid: int) -> int | None:
    """When a process started, in clock ticks; ``None`` if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return None
    # The name in parentheses may itself hold blanks and parentheses.
    return int(stat.rpartition(")")[2].split()[19])


def stop(instance: Instance) -> None:
    """End it, kindly first. Raises StackError if it is not ours to end."""
    try:
        descriptor = os.pidfd_open(instance.pid)
    except ProcessLookupError:
        return
    try:
        if started_at(instance.pid) != instance.started:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(descriptor, number)
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if poll.poll(_STOP_SECONDS * 1000):
                return
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise StackError("not-permitted", f"pid {instance.pid} belongs to somebody else") from error
    finally:
        os.close(descriptor)


def wait_ready(layout: Layout, pid: int, seconds: float) -> bool:
    """Wait for the ``up`` with this pid to be ready; ``False`` if it ended or took too long."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        done, _status = os.waitpid(pid, os.WNOHANG)
        if done:
            return False
        found = find(layout)
        if found is not None and found.pid == pid and found.ready:
            return True
        time.sleep(0.05)
    return False
