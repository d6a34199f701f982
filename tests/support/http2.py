"""An HTTP/2 client of bare frames (RFC 9113), which takes of an answer what it is told to."""

import asyncio
import struct
from dataclasses import dataclass, field

from tests.support.envoy import GATEWAY, Edge

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE = 4
_LARGEST = (1 << 31) - 1
_FRAME_BYTES = 1 << 14


@dataclass(slots=True)
class Stream:
    """What came of one answer."""

    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Its header is here."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    reset: bool = False
    taken: int = 0
    """Bytes of its body."""


class Http2Client:
    """One connection to the gateway. Every stream has ``window`` bytes to begin with."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._streams: dict[int, Stream] = {}
        self._numbers: dict[int, int] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, edge: Edge, *, window: int = 0) -> "Http2Client":
        tls = edge.client_tls()
        tls.set_alpn_protocols(["h2"])
        port = edge.settings.https_port
        client = cls(
            *await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=GATEWAY)
        )
        first = struct.pack(">HI", _INITIAL_WINDOW_SIZE, window)
        client._writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        client._send(SETTINGS, 0, 0, first)
        client.widen(None, _LARGEST - 65_535)
        return client

    async def ask(self, method: str, path: str, body: bytes = b"") -> Stream:
        """Send a request whole; its body is less than a stream's first window."""
        number = 2 * len(self._streams) + 1
        stream = self._streams[number] = Stream()
        self._numbers[id(stream)] = number
        pairs = {":method": method, ":scheme": "https", ":authority": GATEWAY, ":path": path}
        if body:
            pairs["content-length"] = str(len(body))
        block = b"".join(_literal(*pair) for pair in pairs.items())
        self._send(HEADERS, _END_HEADERS | (0 if body else _END_STREAM), number, block)
        for begin in range(0, len(body), _FRAME_BYTES):
            end = begin + _FRAME_BYTES
            self._send(DATA, _END_STREAM if end >= len(body) else 0, number, body[begin:end])
        await self._writer.drain()
        return stream

    def widen(self, stream: Stream | None, size: int) -> None:
        """Take so many bytes more, of one answer or of all together."""
        number = 0 if stream is None else self._numbers[id(stream)]
        self._send(WINDOW_UPDATE, 0, number, struct.pack(">I", size))

    async def close(self) -> None:
        self._reading.cancel()
        self._writer.transport.abort()
        await asyncio.gather(self._reading, return_exceptions=True)

    def _send(self, kind: int, flags: int, number: int, payload: bytes = b"") -> None:
        length = struct.pack(">I", len(payload))[1:]
        self._writer.write(length + bytes([kind, flags]) + struct.pack(">I", number) + payload)

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                self._heard(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            for stream in self._streams.values():
                stream.reset |= not stream.ended.is_set()
                stream.ended.set()

    def _heard(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind in {SETTINGS, PING} and not flags & _ACK:
            self._send(kind, _ACK, 0, payload if kind == PING else b"")
        stream = self._streams.get(number)
        if stream is None:
            return
        if kind == HEADERS:
            stream.answered.set()
        elif kind == DATA:
            stream.taken += len(payload)
        elif kind == RST_STREAM:
            stream.reset = True
        if kind == RST_STREAM or (kind in {HEADERS, DATA} and flags & _END_STREAM):
            stream.ended.set()


def _literal(name: str, value: str) -> bytes:
    """A header that is in no table (RFC 7541 §6.2.2), neither longer than one byte can say."""
    texts = [name.encode(), value.encode()]
    return b"\0" + b"".join(bytes([len(text)]) + text for text in texts)
