"""Moves bytes between a TLS channel and two file descriptors until both directions have ended.

One thread, ``poll`` and large buffers: each direction waits for its own receiver and for nothing
else. An end of file on one side becomes an end of writing on the other (half-close).
"""

import contextlib
import os
import select
import socket
import stat
from typing import Protocol

from clients.mysocketctl.errors import CertificateRefused, ReaderGone
from clients.mysocketctl.tls import CHUNK, TlsChannel

KEPT_FOR_REPLAY = 1 << 16
"""Bytes kept until the peer has answered, to be sent again if it refuses the certificate."""
_REFUSAL_GRACE = 0.003


class Endpoint(Protocol):
    """The local side of a splice."""

    source: int
    """Descriptor to read from."""
    sink: int
    """Descriptor to write to."""
    ends_with_peer: bool
    """Whether to stop at the peer's end of file without waiting for the source's."""

    def end_writing(self) -> None:
        """No more bytes will be written to ``sink``."""

    def restore(self) -> None:
        """Leave the descriptors as they were found."""


class StandardStreams:
    """Standard input and output of this process."""

    def __init__(self, source: int = 0, sink: int = 1) -> None:
        self.source, self.sink = source, sink
        self.ends_with_peer = os.isatty(source)
        mode = os.fstat(sink).st_mode
        self._made_nonblocking = (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) and os.get_blocking(
            sink
        )
        if self._made_nonblocking:
            os.set_blocking(sink, False)

    def end_writing(self) -> None:
        self.restore()
        # Closing descriptor 1 itself would let the next opened file take its place.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.sink)
        os.close(null)

    def restore(self) -> None:
        """A pipe's other holders (a shell, standard error) expect it to block."""
        if self._made_nonblocking:
            os.set_blocking(self.sink, True)
            self._made_nonblocking = False


class SocketEndpoint:
    """A connected local socket, as the listener hands out."""

    ends_with_peer = False

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self._sock = sock
        self.source = self.sink = sock.fileno()

    def end_writing(self) -> None:
        with contextlib.suppress(OSError):  # the other side may have gone already
            self._sock.shutdown(socket.SHUT_WR)

    def restore(self) -> None:
        pass


class Splice:
    """State of both directions; ``run`` once."""

    def __init__(self, channel: TlsChannel, local: Endpoint, *, first: bytes = b"") -> None:
        """``first`` is sent before anything read from the source."""
        self._channel, self._local = channel, local
        self._buffer = memoryview(bytearray(CHUNK + 2 * (16384 + 256)))
        self._to_sink = self._buffer[:0]
        self._source_open, self._peer_open = True, True
        self._half_closed, self._sink_ended = False, False
        self._kept: bytes | None = b""
        self._failed_sends = False
        if first:
            self._send(first)

    def run(self) -> None:
        """Raises CertificateRefused (with ``unsent``), EdgeUnreachable, ReaderGone."""
        try:
            self._await_refusal()
            while not self._finished():
                self._step()
        except CertificateRefused as refusal:
            refusal.unsent = self._kept
            raise
        finally:
            self._local.restore()
            self._channel.close()

    def _await_refusal(self) -> None:
        """Give a refusal about a round trip to arrive before the source is read at all."""
        if self._channel.refusal_may_follow:
            poll = select.poll()
            poll.register(self._channel.sock, select.POLLIN)
            poll.poll((2 * self._channel.round_trip + _REFUSAL_GRACE) * 1000)

    def _finished(self) -> bool:
        if self._peer_open or self._to_sink:
            return False
        done_sending = not self._source_open and not self._channel.wants_write
        return done_sending or self._failed_sends or self._local.ends_with_peer

    def _step(self) -> None:
        wanted: dict[int, int] = {}
        net, channel = self._channel.sock.fileno(), self._channel
        if self._peer_open and not self._to_sink:
            wanted[net] = select.POLLIN
        if channel.wants_write and not self._failed_sends:
            wanted[net] = wanted.get(net, 0) | select.POLLOUT
        elif self._source_open:
            wanted[self._local.source] = select.POLLIN
        if self._to_sink:
            wanted[self._local.sink] = wanted.get(self._local.sink, 0) | select.POLLOUT
        poll = select.poll()
        for descriptor, mask in wanted.items():
            poll.register(descriptor, mask)
        for descriptor, events in poll.poll():
            self._act(descriptor, wanted[descriptor], events)

    def _act(self, descriptor: int, wanted: int, events: int) -> None:
        hung = events & (select.POLLERR | select.POLLHUP | select.POLLNVAL)
        readable = wanted & select.POLLIN and (events & select.POLLIN or hung)
        writable = wanted & select.POLLOUT and (events & select.POLLOUT or hung)
        if descriptor == self._channel.sock.fileno():
            # Reading first: what the peer said explains why a write fails.
            if readable:
                self._read_peer()
            if writable:
                self._flush()
            return
        if writable:
            self._write_sink()
        if readable:
            self._read_source()

    def _read_peer(self) -> None:
        self._to_sink = self._buffer[: self._channel.receive(self._buffer)]
        if self._to_sink:
            self._kept = None
        self._write_sink()

    def _write_sink(self) -> None:
        if self._to_sink:
            try:
                self._to_sink = self._to_sink[os.write(self._local.sink, self._to_sink) :]
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError) as error:
                raise ReaderGone from error
        if not self._to_sink:
            self._channel.check()
            if self._channel.ended:
                self._peer_open = False
                self._end_sink()

    def _end_sink(self) -> None:
        if not self._sink_ended:
            self._sink_ended = True
            self._local.end_writing()

    def _read_source(self) -> None:
        try:
            data = os.read(self._local.source, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a reset local connection or a vanished terminal has nothing more to say
        if data:
            self._send(data)
            return
        self._source_open = False
        self._channel.end_writing()
        self._half_closed = True
        self._flush()

    def _send(self, data: bytes) -> None:
        if self._kept is not None:
            kept = self._kept + data
            self._kept = kept if len(kept) <= KEPT_FOR_REPLAY else None
        self._channel.encrypt(data)
        self._flush()

    def _flush(self) -> None:
        try:
            self._channel.flush()
            if self._half_closed and not self._channel.wants_write:
                self._half_closed = False
                self._channel.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._failed_sends = True
            self._source_open = False
