"""What can go wrong for a person at the command line.

    ClientError
    ├── InvalidInput          an option, a setting or a file makes no sense (exit 2)
    ├── GatewayUnreachable    no answer from the gateway
    ├── GatewayRefused        the gateway answered with a problem document
    │   └── NotLoggedIn       … with 401, or there is no token at all
    ├── ProtocolViolation     an answer that does not follow the contract
    ├── LoginFailed           browser or device login ended without a token
    ├── EdgeUnreachable       no TCP or TLS connection to a socket
    │   └── ServerNotTrusted  the edge's certificate does not verify
    ├── CertificateRefused    the edge refused our client certificate
    ├── KeyProofFailed        an SSH key's holder did not prove to have it
    ├── AgentFailed           the ssh-agent does not answer, or does not do as it is asked
    ├── LogNotTrusted         the transparency log contradicts itself, or its key
    │   └── LogProofMissing   … or says nothing where a proof is demanded
    ├── BundleRefused         news for this host's sshd that do not hold; those were not installed
    ├── HostOutOfDate         this host's sshd goes by files that are too old, or missing
    ├── UnknownName           nothing of yours is called that, or several things are
    ├── PolicyFaulty          a policy document that breaks the format; nothing was sent
    ├── DraftKept             an edit that was given up; what was written is still there
    ├── TunnelFailed          a tunnel that cannot be established by trying again
    └── ReaderGone            whoever read our output has gone (exit 141, not a word)

Each carries a stable ``reason`` and a sentence; none is ever shown as a traceback.
"""

from collections.abc import Sequence
from typing import NamedTuple

# ruff: noqa: N818 - the names are the tree above, read aloud in `except`


class ClientError(Exception):
    """Base of all; ``str()`` is one sentence for the person."""

    reason = "client-error"
    exit_code = 1
    details: tuple[str, ...] = ()
    """Lines shown before the sentence: one for each fault of a document."""


class InvalidInput(ClientError):
    reason = "invalid-input"
    exit_code = 2


class GatewayUnreachable(ClientError):
    reason = "gateway-unreachable"


class GatewayRefused(ClientError):
    """A problem document (RFC 9457); ``reason`` is the gateway's own word where it gave one."""

    reason = "gateway-refused"

    faults: "tuple[Fault, ...]" = ()
    """What is wrong with a document, where the gateway says so."""

    def __init__(self, message: str, *, status: int, reason: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        if reason:
            self.reason = reason


class NotLoggedIn(GatewayRefused):
    reason = "not-logged-in"

    def __init__(self, message: str = "not logged in; run: mysocketctl login") -> None:
        super().__init__(message, status=401, reason="not-logged-in")


class ProtocolViolation(ClientError):
    reason = "protocol-violation"


class LoginFailed(ClientError):
    reason = "login-failed"


class EdgeUnreachable(ClientError):
    reason = "edge-unreachable"


class ServerNotTrusted(EdgeUnreachable):
    reason = "server-not-trusted"


class CertificateRefused(ClientError):
    """The edge refused our certificate; nothing of what was sent reached the origin.

    ``unsent`` is what had been read from the source so far, or ``None`` if that was too much to
    keep.
    """

    reason = "certificate-refused"

    def __init__(self, why: str) -> None:
        super().__init__(f"the edge refused the certificate: {why}")
        self.unsent: bytes | None = b""


class KeyProofFailed(ClientError):
    reason = "key-proof-failed"


class AgentFailed(ClientError):
    reason = "agent-failed"


class LogNotTrusted(ClientError):
    reason = "log-not-trusted"


class LogProofMissing(LogNotTrusted):
    reason = "log-proof-missing"


class BundleRefused(ClientError):
    reason = "bundle-refused"


class HostOutOfDate(ClientError):
    reason = "host-out-of-date"


class UnknownName(ClientError):
    reason = "name-unknown"


class Fault(NamedTuple):
    """One thing that is wrong with a document."""

    path: str
    line: int | None
    """From 1 on; ``None`` where it is not known."""
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def placed(name: str, faults: Sequence[Fault]) -> list[str]:
    """A line for each, as compilers write them; ``name`` is the file's."""
    return [
        f"{name}: {fault}" if fault.line is None else f"{name}:{fault.line}: {fault}"
        for fault in faults
    ]


class PolicyFaulty(ClientError):
    """``details`` are the faults as ``FILE:LINE: path: message``."""

    reason = "policy-document-invalid"

    def __init__(self, name: str, faults: Sequence[Fault]) -> None:
        many = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{many} in {name}; nothing was changed")
        self.faults = tuple(faults)
        self.details = tuple(placed(name, faults))


class DraftKept(ClientError):
    reason = "draft-kept"


class TunnelFailed(ClientError):
    reason = "tunnel-failed"


class ReaderGone(ClientError):
    """Not worth a word: ``| head`` has seen enough. 141 is what shells report for SIGPIPE."""

    reason = "reader-gone"
    exit_code = 141
