"""The values every part of the product agrees on: who asks, for what, and what was decided.

All are frozen. Times are aware ``datetime`` in UTC; nothing here does I/O or reads a clock.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from policy.addresses import DomainName, EmailAddress

IPAddress = IPv4Address | IPv6Address


class SocketType(StrEnum):
    """What a socket carries; the words are the original API's ``socket_type``."""

    HTTP = "http"
    """HTTP to the origin, HTTPS to the world."""
    HTTPS = "https"
    """As HTTP, but the origin itself speaks TLS."""
    TCP = "tcp"
    """Bytes on a port of its own, no TLS at the edge."""
    TLS = "tls"
    """TLS ends at the edge on a port of its own; the origin gets the bytes inside."""

    @property
    def has_own_port(self) -> bool:
        """Whether the type is told apart by port (tcp, tls) rather than by name (http, https)."""
        return self in {SocketType.TCP, SocketType.TLS}


class Action(StrEnum):
    """What somebody wants to do with a socket."""

    HTTP = "http"
    TLS = "tls"
    SSH = "ssh"


class Assurance(StrEnum):
    """How the provider came to vouch for the e-mail, weakest first."""

    SELF_ASSERTED = "self-asserted"
    """A social provider that may be any mailbox's (Facebook)."""
    LOCAL_PASSWORD = "local-password"  # noqa: S105 - a word of the vocabulary, not a password
    PROVIDER_VERIFIED = "provider-verified"
    """An OpenID provider said ``email_verified``."""


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class Reason(StrEnum):
    """Why a decision fell: the one vocabulary of logs, pages, API errors and tests."""

    EMAIL_ALLOWED = "email-allowed"
    DOMAIN_ALLOWED = "domain-allowed"
    NO_POLICY = "no-policy"
    NOT_ON_LIST = "not-on-list"
    EMAIL_UNVERIFIED = "email-unverified"
    PERSON_REVOKED = "person-revoked"
    SESSION_EXPIRED = "session-expired"
    SOCKET_UNKNOWN = "socket-unknown"
    ACTION_NOT_OFFERED = "action-not-offered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person as one provider knows them; keyed by (issuer, subject), never by e-mail."""

    issuer: str
    subject: str
    email: EmailAddress | None
    """The address, only if the provider verified it; ``None`` otherwise."""
    name: str
    assurance: Assurance
    groups: frozenset[str] = frozenset()
    authenticated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who may reach a socket. Empty sets admit nobody."""

    policy_id: str
    emails: frozenset[EmailAddress] = frozenset()
    domains: frozenset[DomainName] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """What a decision needs to know of a socket."""

    socket_id: str
    dns_name: str
    """Static public name, lower case, no port, no trailing dot."""
    socket_type: SocketType
    epoch: int
    """Counts up whenever older grants must stop; 1 at creation."""
    ports: tuple[int, ...] = ()
    identity_required: bool = False
    """The original API's ``cloud_authentication_enabled``."""
    policies: tuple[Policy, ...] = ()
    blocked: frozenset[EmailAddress] = frozenset()
    """People revoked here: no policy admits them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """One way from an edge to an origin; several of one socket share its load."""

    tunnel_id: str
    socket_id: str
    local_port: int
    """The port a client asks for in ``tcpip-forward`` (RFC 4254 §7.1); nothing listens on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    identity: Identity
    socket: Socket
    action: Action
    source_ip: IPAddress
    country: str | None = None
    """ISO 3166-1 alpha-2, upper case, or ``None`` when unknown."""
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What ``policy.evaluate`` found. A deny carries no end; an allow may."""

    effect: Effect
    reasons: tuple[Reason, ...]
    policy_ids: tuple[str, ...] = ()
    expires_at: datetime | None = None
    """End of the policy's own time window, if it has one."""

    @property
    def allowed(self) -> bool:
        return self.effect is Effect.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Leave to use one socket for minutes; made only by ``idp_gateway.access.grant``."""

    grant_id: str
    decision_id: str
    identity: Identity
    email: EmailAddress
    """The verified address the decision rests on."""
    socket_id: str
    dns_name: str
    epoch: int
    action: Action
    not_before: datetime
    not_after: datetime
    session_id: str
    source_ip: IPAddress
    policy_ids: tuple[str, ...] = field(default=())
