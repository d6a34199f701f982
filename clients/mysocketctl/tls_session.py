"""``client tls``: standard streams or a local port on one end, a socket on the other."""

import signal
import threading
from collections.abc import Callable

from clients.mysocketctl.certificates import ClientIdentity
from clients.mysocketctl.errors import CertificateRefused, InvalidInput
from clients.mysocketctl.listener import Listener
from clients.mysocketctl.quick import Leftover
from clients.mysocketctl.settings import Settings
from clients.mysocketctl.splice import Splice, StandardStreams
from clients.mysocketctl.tls import TlsChannel, client_context


class SocketDialer:
    """Opens verified TLS channels to one socket, with a certificate made when needed."""

    def __init__(self, settings: Settings, identity: ClientIdentity, port: int | None) -> None:
        self._settings, self._identity, self._port = settings, identity, port

    def __call__(self, *, fresh: bool) -> TlsChannel:
        """Raises what login, gateway and edge may raise."""
        cached = self._identity.certificate(fresh=fresh)
        port = self._port or cached.port
        if port is None:
            raise InvalidInput("the gateway named no port for this socket; give one with --port")
        context = client_context(
            self._settings.ca_file, certificate=cached.certificate, key=cached.key
        )
        return TlsChannel(self._identity.dns_name, port, context)


def run_standard_streams(dial: SocketDialer, leftover: Leftover) -> None:
    """Connect standard input and output; a kept certificate that is refused is replaced once."""
    first, fresh = leftover.unsent, leftover.refused
    if not fresh:
        try:
            Splice(dial(fresh=False), StandardStreams(), first=first).run()
        except CertificateRefused as refusal:
            if refusal.unsent is None:
                raise
            first = refusal.unsent
        else:
            return
    Splice(dial(fresh=True), StandardStreams(), first=first).run()


def run_listener(dial: SocketDialer, port: int, say: Callable[[str], None]) -> None:
    """Serve 127.0.0.1:``port`` until SIGINT or SIGTERM; says where once it listens."""
    dial(fresh=False).close()  # a login or a refusal comes now, not at the first connection
    listener = Listener(port, dial, say)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=listener.run, daemon=True).start()
    say(f"Listening on 127.0.0.1:{listener.port}")
    stop.wait()
    listener.close()
