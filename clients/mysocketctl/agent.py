"""The running ssh-agent: hand it a key with its certificate, see what it holds, take keys out.

The protocol is draft-ietf-sshm-ssh-agent (PROTOCOL.agent of OpenSSH). It is spoken here and not by
asyncssh because ``ssh`` waits for this before every connection, and importing asyncssh alone takes
longer than all of it.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from ca.formats.errors import FormatError
from ca.formats.ssh_keys import blob_of
from ca.formats.wire import Reader, byte, mpint, string, uint32
from clients.mysocketctl.errors import AgentFailed

MAX_MESSAGE = 256 * 1024
"""AGENT_MAX_LEN of OpenSSH."""
MAX_SECONDS = 2**31 - 1
_TIMEOUT = 10.0
"""Seconds an agent may take over one request."""

_SUCCESS = 6
_REQUEST_IDENTITIES, _IDENTITIES_ANSWER = 11, 12
_REMOVE_IDENTITY = 18
_ADD_ID_CONSTRAINED = 25
_CONSTRAIN_LIFETIME, _CONSTRAIN_CONFIRM = 1, 2


class AgentIdentity(NamedTuple):
    """One line of ``ssh-add -L``."""

    blob: bytes
    """Key or certificate in SSH wire format."""
    comment: bytes


class SshAgent:
    """A connection to the agent; made by ``running_agent``."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def identities(self) -> tuple[AgentIdentity, ...]:
        """What the agent would sign with. Raises AgentFailed."""
        kind, answer = self._request(byte(_REQUEST_IDENTITIES))
        if kind != _IDENTITIES_ANSWER:
            raise AgentFailed("the ssh-agent does not say which keys it has")
        try:
            with Reader(answer) as reader:
                count = min(reader.uint32(), MAX_MESSAGE)
                return tuple(AgentIdentity(reader.string(), reader.string()) for _ in range(count))
        except FormatError as error:
            raise AgentFailed("the ssh-agent's answer is malformed") from error

    def keep(
        self,
        key: ec.EllipticCurvePrivateKey,
        *,
        certificate: bytes,
        comment: str,
        seconds: int,
        confirm: bool = False,
    ) -> None:
        """Hand over a P-256 key and its certificate for some seconds, both or neither.

        With ``confirm`` the agent asks its person before each use (``ssh-add -c``).

        Raises:
            AgentFailed: it does not take them; also when it says yes and then does not list them,
                as some do with certificates.
        """
        plain = blob_of(key.public_key())
        scalar = mpint(key.private_numbers().private_value)
        rest = scalar + string(comment.encode()) + _constraints(seconds, confirm=confirm)
        certified = string(Reader(certificate).string()) + string(certificate)
        try:
            self._add(certified + rest)
            self._add(plain + rest)
            self._must_list({certificate, plain})
        except AgentFailed:
            with suppress(AgentFailed):
                self.remove(certificate)
                self.remove(plain)
            raise

    def _add(self, identity: bytes) -> None:
        if self._request(byte(_ADD_ID_CONSTRAINED) + identity)[0] != _SUCCESS:
            raise AgentFailed("the ssh-agent does not take the key")

    def _must_list(self, blobs: set[bytes]) -> None:
        if not blobs <= {one.blob for one in self.identities()}:
            raise AgentFailed("the ssh-agent does not keep the certificate")

    def remove(self, blob: bytes) -> None:
        """Take a key or certificate out; one that is not there is no error. Raises AgentFailed."""
        self._request(byte(_REMOVE_IDENTITY) + string(blob))

    def _request(self, message: bytes) -> tuple[int, bytes]:
        try:
            self._connection.sendall(string(message))
            length = int.from_bytes(self._receive(4))
            if not 1 <= length <= MAX_MESSAGE:
                raise AgentFailed("the ssh-agent's answer is malformed")
            answer = self._receive(length)
        except OSError as error:
            raise AgentFailed(f"no answer from the ssh-agent: {error.strerror or error}") from error
        return answer[0], answer[1:]

    def _receive(self, length: int) -> bytes:
        received = bytearray()
        while len(received) < length:
            piece = self._connection.recv(length - len(received))
            if not piece:
                raise AgentFailed("the ssh-agent hung up")
            received += piece
        return bytes(received)


def _constraints(seconds: int, *, confirm: bool) -> bytes:
    lifetime = byte(_CONSTRAIN_LIFETIME) + uint32(max(1, min(seconds, MAX_SECONDS)))
    return lifetime + (byte(_CONSTRAIN_CONFIRM) if confirm else b"")


@contextmanager
def running_agent() -> Iterator[SshAgent]:
    """A connection to the agent ``SSH_AUTH_SOCK`` names. Raises AgentFailed."""
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        raise AgentFailed("no ssh-agent runs (SSH_AUTH_SOCK is not set)")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT)
        try:
            connection.connect(path)
        except (OSError, ValueError) as error:
            raise AgentFailed("no ssh-agent answers at SSH_AUTH_SOCK") from error
        yield SshAgent(connection)
