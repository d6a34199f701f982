"""The questions asked of Envoy's admin socket, in HTTP/1.1 by hand."""

import asyncio
from pathlib import Path

_MAX_ANSWER = 1 << 20
_WORKERS = "listener_manager.workers_started"


async def ask(socket: Path, path: str, method: str = "GET") -> tuple[int, str]:
    """Ask for ``path``; the status and the body's text, chunk sizes included.

    Raises:
        OSError: nobody listens.
        ValueError: not an HTTP answer.
    """
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        request = f"{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        answer = await reader.read(_MAX_ANSWER)
        while chunk := await reader.read(_MAX_ANSWER):
            answer += chunk
    finally:
        writer.close()
    head, _, body = answer.decode("latin-1").partition("\r\n\r\n")
    return int(head.split(" ", 2)[1]), body


async def is_live(socket: Path) -> bool:
    """Whether Envoy has everything it asked for at start, and its workers take connections.

    ``/ready`` alone says so a moment before the workers listen.
    """
    try:
        status, _ = await ask(socket, "/ready")
        if status != 200:
            return False
        _, started = await ask(socket, f"/stats?filter=^{_WORKERS}$")
    except (OSError, ValueError, IndexError):
        return False
    return f"{_WORKERS}: 1" in started.splitlines()


async def reopen_logs(socket: Path) -> None:
    """Make Envoy open its log files by their names again, with the next line.

    Raises:
        OSError: nobody listens.
        ValueError: Envoy does not do so.
    """
    status, _ = await ask(socket, "/reopen_logs", "POST")
    if status != 200:
        raise ValueError(f"Envoy answers {status} to /reopen_logs")
