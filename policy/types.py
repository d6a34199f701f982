"""The values every part of the product agrees on: who asks, for what, and what was decided.

All are frozen. Times are aware ``datetime`` in UTC; nothing here does I/O or reads a clock.
"""

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from policy.addresses import DomainName, EmailAddress
from policy.names import GroupName, SubjectName
from policy.networks import NO_NETWORKS, Networks

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


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

    @property
    def rank(self) -> int:
        """Place in the order of strength, 0 being the weakest."""
        return list(Assurance).index(self)


class Weekday(IntEnum):
    """Days as ``datetime.weekday`` counts them."""

    MONDAY = 0
    TUESDAY = 1
    WEDNESDAY = 2
    THURSDAY = 3
    FRIDAY = 4
    SATURDAY = 5
    SUNDAY = 6


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class Reason(StrEnum):
    """Why a decision fell: the one vocabulary of logs, pages, API errors and tests."""

    EMAIL_ALLOWED = "email-allowed"
    DOMAIN_ALLOWED = "domain-allowed"
    SUBJECT_ALLOWED = "subject-allowed"
    GROUP_ALLOWED = "group-allowed"
    SERVICE_ACCOUNT_ALLOWED = "service-account-allowed"
    NO_POLICY = "no-policy"
    NOT_ON_LIST = "not-on-list"
    ACTION_NOT_ALLOWED = "action-not-allowed"
    DENIED_BY_RULE = "denied-by-rule"
    ADDRESS_NOT_ALLOWED = "address-not-allowed"
    COUNTRY_NOT_ALLOWED = "country-not-allowed"
    COUNTRY_UNKNOWN = "country-unknown"
    NETWORK_NOT_ALLOWED = "network-not-allowed"
    NETWORK_UNKNOWN = "network-unknown"
    OUTSIDE_TIME_WINDOW = "outside-time-window"
    ASSURANCE_TOO_LOW = "assurance-too-low"
    LOGIN_TOO_OLD = "login-too-old"
    CLIENT_PROOF_REQUIRED = "client-proof-required"
    EMAIL_UNVERIFIED = "email-unverified"
    PERSON_REVOKED = "person-revoked"
    SESSION_EXPIRED = "session-expired"
    SOCKET_UNKNOWN = "socket-unknown"
    ACTION_NOT_OFFERED = "action-not-offered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person or program as one provider knows it; keyed by (issuer, subject), not by e-mail."""

    issuer: str
    subject: str
    provider: str = ""
    """What this gateway calls it: ``google``, ``github``, ``local`` or a configured name."""
    email: EmailAddress | None
    """The address, only if the provider verified it; ``None`` otherwise."""
    name: str
    assurance: Assurance
    groups: frozenset[GroupName] = frozenset()
    service_account: str | None = None
    """The account's name if this is a program; such an identity matches no rule for people."""
    authenticated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """People and programs, joined by OR. Nobody, if every set is empty."""

    emails: frozenset[EmailAddress] = frozenset()
    domains: frozenset[DomainName] = frozenset()
    subjects: frozenset[SubjectName] = frozenset()
    groups: frozenset[GroupName] = frozenset()
    service_accounts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Places. Each list that is not empty must be met; an address that is in one of ``prefixes`` or
    in one of ``prefix_lists`` meets both. What is not known (country, ASN) meets nothing.
    """

    prefixes: Networks = NO_NETWORKS
    prefix_lists: frozenset[str] = frozenset()
    """Names of lists kept apart from the document."""
    countries: frozenset[str] = frozenset()
    """ISO 3166-1 alpha-2, upper case."""
    countries_not: frozenset[str] = frozenset()
    asns: frozenset[int] = frozenset()
    asns_not: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Times. ``after`` and ``before`` are one span, [after, before). The others together say one
    thing, a window that comes back every week on the clocks of ``zone`` (``policy.windows``).
    """

    after: datetime | None = None
    before: datetime | None = None
    day_starts: time | None = None
    """Time of day from which on; naive, on the clocks of ``zone``."""
    day_ends: time | None = None
    """Time of day until which, itself not included; not after ``day_starts`` it is on the next day.
    With both the same a window says nothing: it is never open, and in a deny rule always."""
    weekdays: frozenset[Weekday] = frozenset()
    """Days on which a window begins; empty means every day."""
    zone: str = "UTC"
    """IANA name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyRule:
    """Whom a policy keeps out, whatever any policy of the socket allows and whatever the action.
    What it says is joined by AND; a rule that says nothing keeps everybody out. What is not known
    (country, ASN, a prefix list, a zone) counts as a match.
    """

    name: str = ""
    who: Who | None = None
    where: Where | None = None
    when: When | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy as it is decided on. Admits whoever is in ``who``, from ``where``, at ``when``."""

    policy_id: str
    name: str = ""
    actions: frozenset[Action] = frozenset(Action)
    who: Who = Who()
    where: Where = Where()
    when: When = When()
    min_assurance: Assurance | None = None
    client_proof: bool = False
    """Whether the caller must have proved that it has the private key."""
    max_session: timedelta | None = None
    """How long after logging in somebody is admitted."""
    denies: tuple[DenyRule, ...] = ()


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
    asn: int | None = None
    """Number of the autonomous system the address belongs to, or ``None`` when unknown."""
    client_proof: bool = False
    """Whether the caller proved that it has the private key it asks a certificate for."""
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What ``policy.evaluate`` found. A deny carries no end; an allow may."""

    effect: Effect
    reasons: tuple[Reason, ...]
    policy_ids: tuple[str, ...] = ()
    expires_at: datetime | None = None
    """When the same request would first be denied: the end of a window, or the start of a deny.
    Where windows adjoin one another without end, a moment up to which it is allowed for certain."""
    sources: tuple[IPNetwork, ...] | None = None
    """The only addresses from which the same request is allowed, aggregated and in order;
    ``None`` if the decision does not rest on the address."""
    source_ids: tuple[str, ...] | None = None
    """Which address conditions of policies those are, by their ids in ``policy.native``; ``None``
    if edges need to be told of none, since all that keeps anybody out is denied to everybody."""
    sources_until: datetime | None = None
    """Up to when ``sources`` holds at least; ``None`` if for as long as the decision does. A grant
    that is to be used from other addresses than this one's must not outlive it."""
    place_counts: bool = False
    """Whether the country or network of the address counts on this socket, or its addresses are too
    many to be named, so that the same request from another address may be decided on otherwise."""

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
    sources: tuple[IPNetwork, ...] | None = None
    """Where the grant may be used from; ``None`` if from anywhere. See ``Decision.sources``."""
    source_ids: tuple[str, ...] | None = None
    """See ``Decision.source_ids``."""
    place_counts: bool = False
    """Whether another address may be in a country or network that is refused."""
    policy_ids: tuple[str, ...] = field(default=())
