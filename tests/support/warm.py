"""Programs of the product in processes forked from one that has imported them.

Starting Python and importing takes most of the time of a command, thousands of times in a run of
the tests. What is run here is the same code with its own arguments, environment, directory, pipes
and process; that the installed programs start from nothing is for the tour and the commands of the
documents, which run those.
"""

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MOST_STDIN = 16 * 1024
"""What a pipe takes without anybody reading."""


def run(
    program: str | Path,
    arguments: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    stdin: bytes = b"",
    timeout: float = 60,
) -> subprocess.CompletedProcess[bytes]:
    """As ``python -m program arguments`` run to its end, or a file of Python that is the program.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    assert len(stdin) <= MOST_STDIN
    request = {
        "program": str(program),
        "file": isinstance(program, Path),
        "arguments": list(map(str, arguments)),
        "env": dict(env),
        "cwd": str(cwd),
    }
    theirs_in, ours_in = os.pipe()
    streams = [_Stream(), _Stream()]
    os.write(ours_in, stdin)
    os.close(ours_in)
    ours, theirs = socket.socketpair()
    with _request(request) as text, ours:
        fds = [text, theirs_in, *(stream.theirs for stream in streams), theirs.fileno()]
        socket.send_fds(_server(), [b"run"], fds)
        theirs.close()
        for fd in fds[1:4]:
            os.close(fd)
        code = _answer(ours, [str(program), *request["arguments"]], timeout)
    out, err = (stream.read() for stream in streams)
    return subprocess.CompletedProcess([str(program), *request["arguments"]], code, out, err)


@contextlib.contextmanager
def _request(request: Mapping[str, Any]) -> Any:
    fd = os.memfd_create("request")
    try:
        os.write(fd, json.dumps(request).encode())
        yield fd
    finally:
        os.close(fd)


class _Stream:
    """A pipe that is read to its end while the program goes on."""

    def __init__(self) -> None:
        self._ours, self.theirs = os.pipe()
        self._content = b""
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        with os.fdopen(self._ours, "rb") as pipe:
            self._content = pipe.read()

    def read(self) -> bytes:
        self._thread.join()
        return self._content


def _answer(channel: socket.socket, command: Sequence[str], timeout: float) -> int:
    channel.settimeout(timeout)
    with channel.makefile("rb") as answers:
        pid = int(answers.readline())
        try:
            return int(answers.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, timeout) from None


@cache
def _server() -> socket.socket:
    """The process that has imported everything; it ends with this one."""
    ours, theirs = socket.socketpair()
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm_server", str(theirs.fileno())],
        cwd=ROOT,
        env=environment,
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours
