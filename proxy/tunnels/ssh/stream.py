"""One stream: a connection on a tunnel's unix socket, carried to the origin's client as a
``forwarded-tcpip`` channel (RFC 4254 §7.2), with half-close in both directions.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol, cast

import asyncssh

READ_AHEAD = 8 * 1024 * 1024
"""Bytes kept for a slow reader before the client's whole connection is held (see ``Hold``)."""
STALL_DEADLINE = 10.0
"""Seconds a reader may hold the connection without taking a byte before its stream is cut."""


class StreamCarrier(Protocol):
    """What a stream needs of the SSH connection it runs on."""

    open_deadline: float
    """Seconds the client may take to accept a stream."""
    holds_transport: bool
    """Push back by not reading the TCP connection, instead of by the SSH window."""

    def hold(self, stream: object) -> None: ...

    def release(self, stream: object) -> None: ...

    async def open_stream(
        self, session: Callable[[], asyncssh.SSHTCPSession[bytes]], address: str, port: int
    ) -> asyncssh.SSHTCPChannel[bytes]: ...


class OriginStream(asyncio.Protocol):
    """The unix socket's side; Envoy's connection."""

    def __init__(
        self,
        carrier: StreamCarrier,
        address: str,
        port: int,
        on_end: Callable[["OriginStream"], None],
    ) -> None:
        """``address`` and ``port`` are told to the client as the forward's."""
        self._carrier = carrier
        self._on_end = on_end
        self._address = address
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._eof_sent = False
        self._early = bytearray()
        self._early_eof = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.pause_reading()
        if self._carrier.holds_transport:
            self._transport.set_write_buffer_limits(high=READ_AHEAD)
        self._opening = asyncio.create_task(self._open())

    async def _open(self) -> None:
        channel = asyncio.ensure_future(
            self._carrier.open_stream(lambda: _ChannelEnd(self), self._address, self._port)
        )
        try:
            self._channel = await asyncio.wait_for(
                asyncio.shield(channel), self._carrier.open_deadline
            )
        except (TimeoutError, asyncssh.Error, OSError):
            # A client that answers late must not keep a channel that nobody uses.
            channel.add_done_callback(_close_late)
            self.abort()
            return
        except asyncio.CancelledError:
            channel.add_done_callback(_close_late)
            raise
        if self._transport is None:
            self._channel.close()
        else:
            self._send_early()
            self._transport.resume_reading()

    def _send_early(self) -> None:
        if self._early:
            self.data_received(bytes(self._early))
            self._early.clear()
        if self._early_eof:
            self.eof_received()

    def data_received(self, data: bytes) -> None:
        if self._channel is None:
            self._early += data
            self._pause_in_earnest()
            return
        try:
            self._channel.write(data)
        except OSError:
            # The client is closing the channel at this moment.
            self.abort()

    def _pause_in_earnest(self) -> None:
        """Up to Python 3.11.3 a transport paused in ``connection_made`` reads all the same: the
        event loop adds its reader afterwards, and a second pause is none."""
        if self._transport is not None:
            self._transport.resume_reading()
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._early_eof = self._channel is None
        if self._channel is not None and not self._eof_sent:
            self._eof_sent = True
            with contextlib.suppress(OSError):
                self._channel.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_end(self)
        self._release()
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
        if self._channel is not None:
            if exc is None:
                self._channel.close()
            else:
                self._channel.abort()

    def pause_writing(self) -> None:
        if not self._carrier.holds_transport:
            if self._channel is not None:
                self._channel.pause_reading()
            return
        self._carrier.hold(self)
        self._stall = asyncio.get_running_loop().call_later(STALL_DEADLINE, self.abort)

    def resume_writing(self) -> None:
        if not self._carrier.holds_transport:
            if self._channel is not None:
                self._channel.resume_reading()
            return
        self._release()

    def _release(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
            self._carrier.release(self)

    def abort(self) -> None:
        """Cut the connection without waiting for what is buffered."""
        if self._transport is not None:
            self._transport.abort()

    # What the channel's side tells.

    def deliver(self, data: bytes) -> None:
        """Bytes from the origin."""
        if self._transport is not None:
            self._transport.write(data)

    def deliver_eof(self) -> None:
        """The origin will send no more."""
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.write_eof()

    def pause(self) -> None:
        """The client's window is full."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """The client takes bytes again."""
        if self._transport is not None and self._channel is not None:
            self._transport.resume_reading()

    def ended(self, error: Exception | None) -> None:
        """The channel is closed; an error is a reset, lest a reader takes it for an end."""
        if self._transport is None:
            return
        if error is None:
            self._transport.close()
        else:
            self._transport.abort()


class _ChannelEnd(asyncssh.SSHTCPSession[bytes]):
    """The channel's side of a stream."""

    def __init__(self, stream: OriginStream) -> None:
        self._stream = stream

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:  # noqa: ARG002
        self._stream.deliver(data)

    def eof_received(self) -> bool:
        self._stream.deliver_eof()
        return True

    def pause_writing(self) -> None:
        self._stream.pause()

    def resume_writing(self) -> None:
        self._stream.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream.ended(exc)


def _close_late(opened: "asyncio.Future[asyncssh.SSHTCPChannel[bytes]]") -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()
