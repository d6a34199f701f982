"""Whether the parts answer: the gateway on its socket, and through the edge as people reach it."""

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from clients.mysocket.configuration import Stack
from clients.mysocket.errors import StackError
from clients.mysocket.supervisor import Supervisor
from clients.mysocketctl.api import GatewayApi
from clients.mysocketctl.errors import ClientError

_ASK_AGAIN = 0.05
PORT_PATIENCE = 5.0
"""Seconds in which a port may become free: children of an ``up`` that was killed end by themselves,
though not in the same moment."""


def wait_for(
    supervisor: Supervisor, look: Callable[[], bool], *, seconds: float, failure: Callable[[], str]
) -> bool:
    """Ask ``look`` until it holds; ``False`` if a signal came first. Raises StackError in the end.

    A child that dies meanwhile is started again; one that keeps dying runs into the deadline.
    """
    ends = time.monotonic() + seconds
    while not supervisor.stopping:
        if look():
            return True
        if time.monotonic() > ends:
            raise StackError("not-ready", failure())
        supervisor.step(_ASK_AGAIN)
    return False


def gateway_answers(unix_socket: Path) -> bool:
    """Whether ``/healthz`` answers on the gateway's unix socket."""
    # There is no TLS on it: loading certificates would keep a look every 50 ms busy.
    transport = httpx.HTTPTransport(
        uds=str(unix_socket), verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    try:
        with httpx.Client(transport=transport, timeout=5, trust_env=False) as client:
            return client.get("http://gateway/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def edge_answers(api: GatewayApi) -> bool:
    """Whether the gateway answers through the edge, with a certificate that verifies."""
    try:
        api.get("/.well-known/jwks.json")
    except ClientError:
        return False
    return True


def check_ports_free(
    stack: Stack, say: Callable[[str], None], patience: float = PORT_PATIENCE
) -> None:
    """Wait a little for ports that are in use.

    Raises:
        StackError: one still is; names the port and the option that changes it.
    """
    ends = time.monotonic() + patience
    waiting = False
    while True:
        try:
            _check_ports(stack)
        except StackError as error:
            if time.monotonic() >= ends:
                raise
            if not waiting:
                say(f"Waiting up to {patience:.0f} s: {error}")
            waiting = True
            time.sleep(_ASK_AGAIN)
        else:
            return


def _check_ports(stack: Stack) -> None:
    ports = (
        (stack.https_port, "--https-port"),
        (stack.http_port, "--http-port"),
        (stack.tunnel_port, "--tunnel-port"),
    )
    for port, option in ports:
        reason = _why_not(stack.listen_address, port)
        if reason is not None:
            where = f"{stack.listen_address}:{port}"
            raise StackError(
                "port-taken", f"cannot listen on {where} ({reason}); choose another {option}"
            )


def _why_not(address: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen()
        except OSError as error:
            return error.strerror or str(error)
    return None


def taken_ports(port_range: tuple[int, int]) -> list[int]:
    """Ports of the range that something on this machine listens on (proc(5), ``net/tcp``)."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            for line in table.read_text("ascii").splitlines()[1:]:
                columns = line.split()
                if columns[3] == "0A":  # TCP_LISTEN
                    found.add(int(columns[1].rpartition(":")[2], 16))
    first, last = port_range
    return sorted(port for port in found if first <= port <= last)
