"""TLS to a socket: the server's certificate is verified, ours is shown, refusals are told apart.

In TLS 1.3 the client's handshake is complete before the server has judged the client's
certificate (RFC 8446 §4.4.2.4, appendix E.1.2), so a refusal is an alert on the first read. The
TLS engine here works on memory buffers and the socket is read even after a failed write: the
alert is never lost behind a connection reset, and one thread moves both directions.
"""

import contextlib
import os
import socket
import ssl
import time
from pathlib import Path

from clients.mysocketctl.errors import (
    CertificateRefused,
    ClientError,
    EdgeUnreachable,
    InvalidInput,
    ServerNotTrusted,
)
from clients.mysocketctl.names import dial_address

CHUNK = 1 << 18
"""Bytes moved at once."""
_CONNECT_SECONDS = 10.0

_ALERTS = {
    "CERTIFICATE_EXPIRED": "it has expired",
    "CERTIFICATE_REVOKED": "it was revoked",
    "CERTIFICATE_REQUIRED": "it wants one and got none",
    "CERTIFICATE_UNKNOWN": "it is not good for this socket (any more)",
    "BAD_CERTIFICATE": "it is not good for this socket (any more)",
    "UNSUPPORTED_CERTIFICATE": "its kind is not supported",
    "UNKNOWN_CA": "its issuer is not known there",
    "ACCESS_DENIED": "access denied",
    "HANDSHAKE_FAILURE": "the handshake was refused",
    "DECRYPT_ERROR": "its signature did not verify",
}


def client_context(
    ca_file: str | None,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    lazily: bool = False,
) -> ssl.SSLContext:
    """Trusts the system's roots and ``ca_file``; shows ``certificate``.

    ``lazily`` looks a root up only when it is needed, where the system keeps them by hash (20 ms
    less); a root that is in the system's bundle alone is not found then.

    Raises:
        InvalidInput: a file holds no certificate, or certificate and key do not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    hashed = _hashed_roots() if lazily else None
    if hashed is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(capath=hashed)
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(f"no CA certificate in {ca_file}") from error
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(f"certificate and key in {certificate.parent} do not fit") from error
    return context


def _hashed_roots() -> str | None:
    """Directory of the system's roots if it has the names OpenSSL looks for (``<hash>.0``)."""
    paths = ssl.get_default_verify_paths()
    if os.environ.get(paths.openssl_cafile_env) or paths.capath is None:
        return None
    try:
        with os.scandir(paths.capath) as entries:
            return paths.capath if any(entry.name.endswith(".0") for entry in entries) else None
    except OSError:
        return None


class TlsChannel:
    """One TLS connection; the handshake is done when the constructor returns."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        """Connect to ``host`` (also the SNI and the name verified).

        Raises EdgeUnreachable, ServerNotTrusted, CertificateRefused.
        """
        self._name = f"{host}:{port}"
        started = time.monotonic()
        try:
            self.sock = socket.create_connection((dial_address(host), port), _CONNECT_SECONDS)
        except OSError as error:
            raise EdgeUnreachable(f"cannot connect to {self._name}: {_why(error)}") from error
        self.round_trip = time.monotonic() - started
        """Seconds the TCP handshake took."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent = memoryview(b"")
        self.received = 0
        """Plain bytes read from the peer so far."""
        self.ended = False
        """Whether the peer's ``close_notify`` has been read."""
        self._failure: ClientError | None = None
        try:
            self._handshake()
        except BaseException:
            self.sock.close()
            raise
        self.sock.settimeout(0)

    def _handshake(self) -> None:
        try:
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    self._flush_blocking()
                    self._feed(self.sock.recv(CHUNK))
                else:
                    self._flush_blocking()
                    return
        except ssl.SSLCertVerificationError as error:
            raise ServerNotTrusted(
                f"the certificate of {self._name} is not to be trusted: {error.verify_message}"
                " (MYSOCKET_CA_FILE names further roots)"
            ) from error
        except (ssl.SSLError, OSError) as error:
            raise self.explain(error) from error

    def _flush_blocking(self) -> None:
        while data := self._outgoing.read():
            self.sock.sendall(data)

    def _feed(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    @property
    def refusal_may_follow(self) -> bool:
        """Whether the peer may still refuse our certificate (TLS 1.3, nothing read yet)."""
        return self._tls.version() == "TLSv1.3" and self.received == 0

    @property
    def wants_write(self) -> bool:
        """Whether ciphertext waits for the socket."""
        return bool(self._unsent) or bool(self._outgoing.pending)

    def encrypt(self, data: bytes) -> None:
        """Queue plain bytes; `flush` sends them."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]

    def flush(self) -> None:
        """Send what the socket takes. Raises OSError."""
        while self.wants_write:
            if not self._unsent:
                self._unsent = memoryview(self._outgoing.read(CHUNK))
            try:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
            except BlockingIOError:
                return

    def end_writing(self) -> None:
        """Queue ``close_notify`` (RFC 8446 §6.1); reading goes on."""
        # The alert is queued; that the peer's own has not come yet is not of interest.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()

    def receive(self, buffer: memoryview) -> int:
        """Read from the socket into ``buffer`` (longer than CHUNK by two records); bytes put there.

        Sets ``ended`` at the peer's ``close_notify``. Raises CertificateRefused, EdgeUnreachable
        (cut off without ``close_notify``); what came before a failure is handed out first,
        `check` then raises.
        """
        self.check()
        try:
            self._feed(self.sock.recv(CHUNK))
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self.explain(error) from error
        return self._decrypt(buffer)

    def check(self) -> None:
        """Raise the failure found behind bytes already handed out, if any."""
        if self._failure is not None:
            raise self._failure

    def _decrypt(self, buffer: memoryview) -> int:
        filled = 0
        try:
            while filled < len(buffer):
                count = int(self._tls.read(len(buffer) - filled, buffer[filled:]))
                self.ended = not count
                if self.ended:
                    break
                filled += count
                self.received += count
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except (ssl.SSLError, OSError) as error:
            self._failure = self.explain(error)
            if not filled:
                raise self._failure from error
        return filled

    def explain(self, error: Exception) -> ClientError:
        """What a failure of this connection means to the person."""
        if isinstance(error, ssl.SSLError) and error.reason and "_ALERT_" in error.reason:
            alert = error.reason.partition("_ALERT_")[2]
            if self.received == 0 and alert in _ALERTS:
                return CertificateRefused(_ALERTS[alert])
            return EdgeUnreachable(f"{self._name} ended TLS: {alert.lower().replace('_', ' ')}")
        if isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError):
            return EdgeUnreachable(f"the connection to {self._name} was cut: {_why(error)}")
        return EdgeUnreachable(f"TLS with {self._name} failed: {_why(error)}")

    def close(self) -> None:
        self.sock.close()


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLEOFError):
        return "it ended without notice"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "unknown error").lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
