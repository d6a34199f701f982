"""A local port whose connections go to the socket: for programs without certificates."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Protocol

from clients.mysocketctl.errors import CertificateRefused, ClientError, InvalidInput, ReaderGone
from clients.mysocketctl.splice import SocketEndpoint, Splice
from clients.mysocketctl.tls import TlsChannel


class Dial(Protocol):
    def __call__(self, *, fresh: bool) -> TlsChannel:
        """Open a channel; ``fresh`` asks for a new certificate instead of the kept one."""


class Listener:
    """Accepts on loopback only, each connection in a thread of its own."""

    def __init__(self, port: int, dial: Dial, report: Callable[[str], None]) -> None:
        """``port`` 0 lets the system choose. Raises InvalidInput if it is taken."""
        self._dial, self._report = dial, report
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._sock.bind(("127.0.0.1", port))
            self._sock.listen(64)
        except OSError as error:
            self._sock.close()
            raise InvalidInput(f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from error
        self.port = int(self._sock.getsockname()[1])

    def run(self) -> None:
        """Serve until `close`, or until the process is interrupted."""
        while True:
            try:
                connection, _peer = self._sock.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(connection,), daemon=True).start()

    def _carry(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._splice(connection)
            except ReaderGone:
                return
            except ClientError as error:
                self._report(str(error))

    def _splice(self, connection: socket.socket) -> None:
        try:
            Splice(self._dial(fresh=False), SocketEndpoint(connection)).run()
        except CertificateRefused as refusal:
            if refusal.unsent is None:
                raise
            Splice(self._dial(fresh=True), SocketEndpoint(connection), first=refusal.unsent).run()

    def close(self) -> None:
        # Closing alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
