"""Questions and answers over a unix stream socket, each ``uint32 length`` and as many bytes.

The framing of the ssh-agent protocol (draft-ietf-sshm-ssh-agent §3); the process that holds a token
speaks it too.
"""

import socket
import struct
import time

MAX_MESSAGE = 256 * 1024
"""Longest message either side takes, as OpenSSH's agent."""


class ChannelBroken(Exception):  # noqa: N818 - read aloud in `except`
    """No whole answer in time; the channel is of no more use."""


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
