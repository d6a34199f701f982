"""The process that ``warm`` forks programs from: it has imported them, and runs nothing itself."""

import atexit
import contextlib
import gc
import json
import os
import runpy
import signal
import socket
import sys
import threading
from typing import Any

import clients.mysocket.cli
import clients.mysocketctl.cli
import idp_gateway.app
import idp_gateway.commands
from tests.support.command_tree import places

IMPORTED = (idp_gateway.app, idp_gateway.commands, clients.mysocket.cli, clients.mysocketctl.cli)
_FDS = 5
"""The request, stdin, stdout, stderr, and where the answer goes."""


def _serve(channel: socket.socket) -> None:
    while True:
        message, fds, _, _ = socket.recv_fds(channel, 16, _FDS)
        if not message:
            return
        if os.fork() == 0:
            channel.close()
            _watch(*fds)
        for fd in fds:
            os.close(fd)


def _watch(request_fd: int, stdin: int, stdout: int, stderr: int, answer: int) -> None:
    """Run one program in a process of its own, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(answer)
        _become(request_fd, stdin, stdout, stderr)
    for fd in (request_fd, stdin, stdout, stderr):
        os.close(fd)
    os.write(answer, f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(answer, f"{code}\n".encode())
    os._exit(0)


def _become(request_fd: int, *standard: int) -> None:
    request = json.loads(os.pread(request_fd, 1 << 24, 0))
    os.close(request_fd)
    for place, fd in enumerate(standard):
        os.dup2(fd, place)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv[1:] = request["arguments"]
    code: Any = 1
    try:
        _run(request["program"], is_file=request["file"])
        code = 0
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - the interpreter shows it, and so does this
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _run(program: str, *, is_file: bool) -> None:
    if is_file:
        sys.argv[0] = program
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def main() -> None:
    """Fork until nobody asks any more."""
    for root in (clients.mysocket.cli.root, clients.mysocketctl.cli.root):
        list(places(root))  # some commands are imported when they are looked at
    assert threading.active_count() == 1, "a thread would not live on in a fork"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()  # pages that no collector writes to stay shared
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        _serve(listening)


if __name__ == "__main__":
    main()
