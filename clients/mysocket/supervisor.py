"""Starts children, starts them again when they die, and stops them all.

One loop in the main thread: children ask the kernel to be signalled when the thread that started
them ends, so that nothing outlives even a killed ``up``.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clients.mysocketctl.files import private
from clients.mysocketctl.processes import die_with_parent

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
STEADY_SECONDS = 20.0
STOP_SECONDS = 3.5
"""How long children may take to end by themselves."""
LOOK_SECONDS = 60.0
"""How often the size of the logs is looked at."""
MAX_LOG = 10 << 20
"""Bytes; a log that is longer is begun anew, and its end kept as ``<name>.old.log``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str]
    inherited: tuple[int, ...] = ()
    """File descriptors handed down."""
    before_start: Callable[[], None] = lambda: None
    """Runs before each start; an exception counts as a failed start."""


@dataclass(slots=True)
class Child:
    """One supervised program."""

    spec: ChildSpec
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = FIRST_PAUSE
    next_start: float = 0.0
    pidfd: int = -1

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Raises OSError and what ``before_start`` raises."""
        self.started = time.monotonic()
        self.spec.before_start()
        bound(self.spec.log)
        with self.spec.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.spec.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.spec.environment),
                pass_fds=self.spec.inherited,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - main thread, no others yet
            )
        self.pidfd = os.pidfd_open(self.process.pid)

    def forget(self) -> None:
        """Let go of a process that has ended and plan the next start."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.process, self.pidfd = None, -1
        if time.monotonic() - self.started > STEADY_SECONDS:
            self.pause = FIRST_PAUSE
        self.next_start = time.monotonic() + self.pause
        self.pause = min(2 * self.pause, LONGEST_PAUSE)


@dataclass(slots=True)
class Supervisor:
    """All children, in the order they were started."""

    say: Callable[[str], None]
    stopping: bool = False
    children: list[Child] = field(default_factory=list)
    further_logs: tuple[Path, ...] = ()
    """Logs beside the children's, kept as short as those."""
    _wake: tuple[int, int] = (-1, -1)

    def listen_for_signals(self) -> None:
        """SIGINT and SIGTERM end the loop; SIGHUP too, for a closed terminal."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        self._wake = (read, write)

        def stop(_number: int, _frame: object) -> None:
            self.stopping = True
            with contextlib.suppress(BlockingIOError):
                os.write(write, b"x")

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)

    def add(self, spec: ChildSpec) -> Child:
        """Start a child and keep it. Raises what starting it raises."""
        child = Child(spec)
        self.children.append(child)
        child.start()
        return child

    def step(self, seconds: float) -> None:
        """Wait at most ``seconds`` for something to happen, and see to it."""
        now = time.monotonic()
        planned = [child.next_start - now for child in self.children if child.process is None]
        poll = select.poll()
        poll.register(self._wake[0], select.POLLIN)
        for child in self.children:
            if child.pidfd >= 0:
                poll.register(child.pidfd, select.POLLIN)
        poll.poll(max(0.0, min([seconds, *planned])) * 1000)
        if not self.stopping:
            self._mend()

    def _mend(self) -> None:
        for child in self.children:
            if child.process is not None and not child.alive:
                self.say(
                    f"{child.spec.name} ended ({_how(child.process.returncode)}), starting it again"
                )
                child.forget()
            if child.process is None and child.next_start <= time.monotonic():
                self._restart(child)

    def _restart(self, child: Child) -> None:
        try:
            child.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            self.say(f"{child.spec.name} did not start: {error}")
            child.forget()

    def run(self) -> None:
        """Watch children and the size of logs until a signal comes."""
        while not self.stopping:
            self.step(LOOK_SECONDS)
            for log in (*self.further_logs, *(child.spec.log for child in self.children)):
                bound(log)

    def stop_all(self) -> None:
        """End every child, the last started first asked; what does not end in time is killed."""
        self.stopping = True
        alive = [child.process for child in reversed(self.children) if child.process is not None]
        for process in alive:
            process.terminate()
        ends = time.monotonic() + STOP_SECONDS
        for process in alive:
            _end(process, ends)


def _end(process: subprocess.Popen[bytes], ends: float) -> None:
    try:
        process.wait(max(0.0, ends - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # What it may have left behind in its session.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def bound(log: Path) -> None:
    """Begin a log that grew too long anew, under whoever has it open to append to it.

    What is written between the copy and the cut is lost, which a log of this kind can bear; what
    cannot be done is left to the next time.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size <= MAX_LOG:
            return
        with log.open("r+b") as file:
            file.seek(-MAX_LOG, os.SEEK_END)
            kept = log.with_suffix(".old.log")
            with open(kept, "wb", opener=private) as old:
                shutil.copyfileobj(file, old)
            file.truncate(0)


def last_line(logs: Iterable[Path]) -> str:
    """The last thing said in any of the logs, for an error message."""
    for log in logs:
        with contextlib.suppress(OSError):
            lines = [
                line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()
            ]
            if lines:
                return lines[-1].strip()[:300]
    return "it said nothing"
