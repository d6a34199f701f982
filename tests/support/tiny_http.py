"""A raw HTTP/1.1 server and client, which show exactly what was on the wire."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request or a response: its first line, header pairs in order, and the body."""

    start: str
    headers: tuple[Pair, ...]
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, (name, values)
        return values[0] if values else None

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    def json(self) -> dict:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int = 200
    headers: tuple[Pair, ...] = ()
    body: bytes = b""
    pieces: tuple[bytes, ...] = ()
    """Sent instead of the body, chunked."""
    pause: float = 0
    """Seconds before each of them."""


async def read_message(reader: asyncio.StreamReader) -> Message:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.rstrip("\r\n").split("\r\n")
    pairs = tuple((n, v.strip()) for n, _, v in (line.partition(":") for line in lines))
    message = Message(start=start, headers=pairs)
    if (message.one("transfer-encoding") or "") == "chunked":
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return Message(start=start, headers=pairs, body=body)
    length = message.one("content-length")
    if length is None and start.startswith("HTTP/") and message.status not in {101, 204, 304}:
        return Message(start=start, headers=pairs, body=await reader.read())
    return Message(start=start, headers=pairs, body=await reader.readexactly(int(length or 0)))


@dataclass(slots=True)
class TinyServer:
    """Listens on a unix socket and keeps every request; ``answer`` makes the answers."""

    path: Path
    answer: Callable[[Message], Answer | Awaitable[Answer]]
    greeting: bytes = b""
    """Sent at once to every connection, as SSH and mail servers do; then bytes are echoed."""
    tls: ssl.SSLContext | None = None
    requests: list[Message] = field(default_factory=list)
    connections: int = 0
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> "TinyServer":
        self.path.unlink(missing_ok=True)
        self.server = await asyncio.start_unix_server(self._serve, str(self.path), ssl=self.tls)
        return self

    async def stop(self) -> None:
        if self.server:
            self.server.close()
            for writer in list(self.writers):
                writer.close()
            await self.server.wait_closed()
            self.server = None
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        try:
            if self.greeting:
                writer.write(self.greeting)
                await _echo(reader, writer)
            else:
                await self._http(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_message(reader)
            self.requests.append(request)
            answer = self.answer(request)
            if not isinstance(answer, Answer):
                answer = await answer
            extra = () if answer.status == 101 else (_framing(answer),)
            lines = [
                f"HTTP/1.1 {answer.status} X",
                *(f"{n}: {v}" for n, v in (*answer.headers, *extra)),
            ]
            writer.write("\r\n".join((*lines, "", "")).encode("latin-1") + answer.body)
            await writer.drain()
            for piece in (*answer.pieces, b"") if answer.pieces else ():
                await asyncio.sleep(answer.pause)
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
            if answer.status == 101:
                await _echo(reader, writer)
                return


def _framing(answer: Answer) -> Pair:
    if answer.pieces:
        return "transfer-encoding", "chunked"
    return "content-length", str(len(answer.body))


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()


def request_bytes(
    host: str, target: str, headers: Iterable[Pair], method: str = "GET", body: bytes = b""
) -> bytes:
    length = (("content-length", str(len(body))),) if body else ()
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (*headers, *length)]
    return ("\r\n".join((*lines, "", ""))).encode("latin-1") + body
