"""Real processes for tests and benchmarks: started in their own session and always stopped.

Nothing here sleeps to let something happen; :func:`eventually` asks again until a condition holds.
"""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

_ASK_AGAIN = 0.02
"""Seconds between two looks at a condition."""
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def eventually(look: Callable[[], T], *, within: float = 15, what: str = "") -> T:
    """The first truthy value of ``look``, asked again for ``within`` seconds.

    ``OSError`` counts as not yet.

    Raises:
        TimeoutError: the condition did not come true; the message ends with the last answer.
    """
    deadline = time.monotonic() + within
    pause = threading.Event()
    while True:
        last: object
        try:
            if value := look():
                return value
            last = value
        except OSError as error:
            last = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within} s: {what or look}; last answer: {last!r}")
        pause.wait(_ASK_AGAIN)


_given_out: deque[int] = deque(maxlen=256)
"""Ports this process was told of lately: the kernel may name one twice while nothing listens."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on, and that was not given out just before."""
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given_out:
            _given_out.append(port)
            return port


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something listens on ``port``."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


class Process:
    """One program in its own session, so that its children stop with it; output in a file."""

    def __init__(
        self,
        *command: str | Path,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
    ) -> None:
        """Start ``command``; ``stdout`` may be ``subprocess.PIPE``, else it goes to ``log``."""
        self.log = log
        self.name = Path(command[0]).name
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                [str(word) for word in command],
                env=None if env is None else dict(env),
                cwd=cwd,
                stdin=stdin,
                stdout=output if stdout is None else stdout,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def output(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def wait_for(self, look: Callable[[], T], *, within: float = 30, what: str = "") -> T:
        """As :func:`eventually`, but ends at once with the output if the program ends."""

        def look_while_it_runs() -> T:
            if not self.running:
                raise RuntimeError(
                    f"{self.name} ended with {self.popen.returncode}:\n{self.output()}"
                )
            return look()

        try:
            return eventually(look_while_it_runs, within=within, what=what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\noutput of {self.name}:\n{self.output()}") from None

    def wait_for_port(self, port: int, *, within: float = 30) -> Self:
        self.wait_for(lambda: accepts(port), within=within, what=f"port {port}")
        return self

    def wait_for_output(self, text: str, *, within: float = 30) -> Self:
        self.wait_for(lambda: text in self.output(), within=within, what=f"output {text!r}")
        return self

    def send_signal(self, number: signal.Signals) -> None:
        """Send ``number`` to the whole session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def stop(self, *, first: signal.Signals = signal.SIGTERM, grace: float = 10) -> int:
        """End it and all it started, by force after ``grace`` seconds; the exit code."""
        descendants = children_of(self.pid)
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self.popen.send_signal(first)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(grace)
        self.send_signal(signal.SIGKILL)
        for pid in descendants:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                stream.close()
        return self.popen.wait()


@contextlib.contextmanager
def running(process: Process) -> Iterator[Process]:
    """Stop ``process`` at the end of the block, whatever happens."""
    try:
        yield process
    finally:
        process.stop()


def children_of(pid: int) -> list[int]:
    """Process ids of everything that descends from ``pid``, nearest first."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children += [int(word) for word in task.read_text().split()]
    return children + [grandchild for child in children for grandchild in children_of(child)]


def command_line(pid: int) -> str:
    """The words a process was started with; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of ``pids`` so far (proc(5), fields 14 and 15 of ``stat``)."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _CLOCK_TICKS
