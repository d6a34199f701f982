"""An ssh-agent in the test's own process: for security keys, which a real one needs hardware for,
and for agents that do less than they say.
"""

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ca.formats.ssh_keys import USER_PRESENT
from ca.formats.wire import Reader, byte, string, uint32
from tests.support.security_keys import SecurityKey

_FAILURE, _SUCCESS = 5, 6
_LIST, _LISTED, _SIGN, _SIGNED = 11, 12, 13, 14


@dataclass(slots=True)
class SoftwareAgent:
    """Holds security keys; takes whatever it is given and forgets it."""

    path: Path
    keys: Sequence[SecurityKey] = ()
    flags: int = USER_PRESENT
    """What the keys say about their person."""
    forgets: bool = True
    """Says yes to keys it is given; else no."""
    nonsense: bytes | None = None
    """Sent in place of every answer, its length in front included; then the agent hangs up."""
    asked: list[int] = field(default_factory=list)
    """Numbers of the requests so far."""

    def answer(self, request: bytes) -> bytes:
        """The answer to one request."""
        reader = Reader(request)
        kind = reader.byte()
        self.asked.append(kind)
        if kind == _LIST:
            listed = b"".join(string(key.blob) + string(b"touch me") for key in self.keys)
            return byte(_LISTED) + uint32(len(self.keys)) + listed
        if kind == _SIGN:
            wanted, message = reader.string(), reader.string()
            for key in self.keys:
                if key.blob == wanted:
                    return byte(_SIGNED) + string(key.sign(message, flags=self.flags))
            return byte(_FAILURE)
        return byte(_SUCCESS if self.forgets else _FAILURE)


@contextlib.contextmanager
def software_agent(*keys: SecurityKey, forgets: bool = True) -> Iterator[SoftwareAgent]:
    """Serve an agent on a unix socket until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="agent", dir="/tmp"))
    agent = SoftwareAgent(folder / "a", keys, forgets=forgets)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(agent.path))
    listening.listen()
    thread = threading.Thread(target=_accept, args=(listening, agent), daemon=True)
    thread.start()
    try:
        yield agent
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)
        shutil.rmtree(folder)


def _accept(listening: socket.socket, agent: SoftwareAgent) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listening.accept()
            connection.settimeout(20)
            threading.Thread(target=_serve, args=(connection, agent), daemon=True).start()


def _serve(connection: socket.socket, agent: SoftwareAgent) -> None:
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as requests:
        while head := requests.read(4):
            answer = string(agent.answer(requests.read(int.from_bytes(head))))
            connection.sendall(answer if agent.nonsense is None else agent.nonsense)
            if agent.nonsense is not None:
                return
