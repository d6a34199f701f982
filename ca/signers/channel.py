"""Questions and answers over a unix stream socket, each ``uint32 length`` and as many bytes.

The framing of the ssh-agent protocol (draft-ietf-sshm-ssh-agent §3); the process that holds a token
speaks it too.
"""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from ca.errors import SignerBusyError

MOST_WAITING = 16
"""Threads that wait for one token or agent; when it hangs, the process has others for the rest."""
_ROOM_SECONDS = 0.25
"""How long one more waits for one of these to be done."""

MAX_MESSAGE = 256 * 1024
"""Longest message either side takes, as OpenSSH's agent."""


class ChannelBroken(Exception):  # noqa: N818 - read aloud in `except`
    """No whole answer in time; the channel is of no more use."""


def waiting_room() -> BoundedSemaphore:
    """Places for those who wait for one token or agent."""
    return BoundedSemaphore(MOST_WAITING)


@contextmanager
def place_in(room: BoundedSemaphore) -> Iterator[None]:
    """Wait in a room.

    Raises:
        SignerBusyError: it is full.
    """
    if not room.acquire(timeout=_ROOM_SECONDS):
        raise SignerBusyError(f"{MOST_WAITING} wait for this token or agent already")
    try:
        yield
    finally:
        room.release()


def exchange(channel: socket.socket, question: bytes, *, seconds: float) -> bytes:
    """Ask and wait for the answer.

    Raises:
        ChannelBroken: the other side is gone, slow, or answers nonsense.
    """
    deadline = time.monotonic() + seconds
    try:
        channel.settimeout(seconds)
        channel.sendall(struct.pack(">I", len(question)) + question)
        return receive(channel, deadline)
    except OSError as error:
        raise ChannelBroken(str(error) or type(error).__name__) from error


def receive(channel: socket.socket, deadline: float | None = None) -> bytes:
    """The next message; waits for ever without a deadline (``time.monotonic``).

    Raises:
        ChannelBroken: the other side is gone, or its message too long.
        OSError: the socket failed; ``TimeoutError`` past the deadline.
    """
    (length,) = struct.unpack(">I", _exactly(channel, 4, deadline))
    if length > MAX_MESSAGE:
        raise ChannelBroken("a message that is too long")
    return _exactly(channel, length, deadline)


def send(channel: socket.socket, message: bytes) -> None:
    """Send one message.

    Raises:
        OSError: the socket failed.
    """
    channel.sendall(struct.pack(">I", len(message)) + message)


def _exactly(channel: socket.socket, length: int, deadline: float | None) -> bytes:
    read = bytearray()
    while len(read) < length:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer in time")
            channel.settimeout(left)
        part = channel.recv(length - len(read))
        if not part:
            raise ChannelBroken("the other side is gone")
        read += part
    return bytes(read)
