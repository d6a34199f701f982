"""Origins that remember everything that reached them."""

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Origin:
    """A TCP server on a port of 127.0.0.1; ``connections`` holds what each one sent."""

    port: int
    connections: list[bytearray] = field(default_factory=list)

    @property
    def received(self) -> bytes:
        """Everything all connections sent."""
        return b"".join(bytes(connection) for connection in self.connections)


@contextlib.contextmanager
def _serving(answer: type[socketserver.BaseRequestHandler], origin: Origin) -> Iterator[Origin]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), answer) as server:
        server.daemon_threads = True
        origin.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield origin
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def banner_origin(banner: bytes = b"220 ready\r\n") -> Iterator[Origin]:
    """Speaks first, as mail and SSH servers do, then sends back what it gets."""
    origin = Origin(0)

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            seen = bytearray()
            origin.connections.append(seen)
            self.request.sendall(banner)
            while chunk := self.request.recv(65536):
                seen += chunk
                self.request.sendall(chunk)

    with _serving(Answer, origin) as serving:
        yield serving


@contextlib.contextmanager
def http_origin() -> Iterator[Origin]:
    """Answers every request with the bytes of the request itself, headers as they came."""
    origin = Origin(0)

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            seen = bytearray()
            origin.connections.append(seen)
            while head := self._head():
                seen += head
                self.wfile.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
                    b"content-length: %d\r\n\r\n%b" % (len(head), head)
                )

        def _head(self) -> bytes:
            lines = []
            while (line := self.rfile.readline(65536)) not in (b"\r\n", b""):
                lines.append(line)
            return b"".join(lines)

    with _serving(Answer, origin) as serving:
        yield serving
