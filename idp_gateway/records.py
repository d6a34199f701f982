"""What the store keeps, as frozen values: one class per table, field names = column names.

Times are aware UTC. Ids are UUID text with dashes unless said otherwise. Nothing secret is stored
in the clear that could be a hash or sealed; what is left is kept out of ``repr``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from policy.types import Action, Assurance, Effect, SocketType


class CertificateKind(StrEnum):
    """What a certificate is for; no two purposes share a signing key."""

    SSH_USER = "ssh-user"
    SSH_HOST = "ssh-host"
    SSH_TUNNEL = "ssh-tunnel"
    X509_CLIENT = "x509-client"
    X509_SERVER = "x509-server"


class ChangeKind(StrEnum):
    """What part of the edges' state a change touched."""

    SOCKET = "socket"
    TUNNEL = "tunnel"
    TUNNEL_USER = "tunnel_user"
    TRUST = "trust"


class CaState(StrEnum):
    """Where one generation of a CA key stands in its life; see ``docs/operations.md``, rotation."""

    PREPARED = "prepared"
    """The key exists; nobody was told."""
    PUBLISHED = "published"
    """Verifiers are told to trust it; it signs nothing yet."""
    ACTIVE = "active"
    """It signs. Exactly one generation of a CA does."""
    DRAINING = "draining"
    """It signs nothing any more; what it signed may still be good, so it is still trusted."""
    RETIRED = "retired"
    """No longer trusted; the private half is destroyed."""
    WITHDRAWN = "withdrawn"
    """Rolled back before it ever signed, or not trusted any more from one moment to the next."""


class RevocationScope(StrEnum):
    """What a revocation names."""

    PERSON = "person"
    """An e-mail address: every certificate of theirs for the socket, and new ones until lifted."""
    KEY = "key"
    """A fingerprint: every certificate of the key, and new ones until lifted."""
    SERIAL = "serial"
    """One certificate."""
    SOCKET = "socket"
    """Every certificate issued for the socket up to now."""


class DeviceState(StrEnum):
    """Where a device authorisation stands (RFC 8628 §3.5)."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecord:
    account_id: str
    email: str
    """``str(EmailAddress)``: lower case, A-label domain."""
    email_verified: bool
    name: str
    password_hash: str = field(repr=False)
    ssh_key: str
    """One ``authorized_keys`` line without options, or empty."""
    created_at: datetime
    verified_at: datetime | None = None
    generation: int = 1
    """Counts the hands the account has been in; tunnel logins of an earlier one are void."""

    @property
    def user_name(self) -> str:
        """The SSH login: the account id without dashes, 32 hex digits."""
        return self.account_id.replace("-", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRecord:
    """The first and last time somebody was seen; keyed by (issuer, subject)."""

    issuer: str
    subject: str
    email: str | None
    name: str
    account_id: str | None
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSessionRecord:
    session_id: str
    """SHA-256 (hex) of the cookie's secret, or a random id for logins without a browser."""
    issuer: str
    subject: str
    email: str | None
    """Only if the provider verified it."""
    name: str
    assurance: Assurance
    provider: str = ""
    """What the gateway calls the provider; empty for a login from before it was kept."""
    groups: tuple[str, ...] = ()
    """Each ``str(GroupName)``."""
    authenticated_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    renews: str | None = None
    """The session its login began with, if this is a renewal of it; they are revoked together."""

    @property
    def first_id(self) -> str:
        """The session its login began with: what all renewals of one login have in common."""
        return self.renews or self.session_id

    def stands(self, now: datetime) -> bool:
        """Whether the session is neither revoked nor over."""
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAttemptRecord:
    attempt_id: str
    """SHA-256 (hex) of ``state``."""
    provider: str
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    return_to: Mapping[str, Any]
    created_at: datetime
    expires_at: datetime
    consumed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketSessionRecord:
    """Ties one socket to one login session; its id is the ``sid`` of the session cookie."""

    socket_session_id: str
    socket_id: str
    session_id: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeCodeRecord:
    code_hash: str
    purpose: str
    payload: Mapping[str, Any]
    created_at: datetime
    expires_at: datetime
    consumed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCodeRecord:
    device_code_hash: str
    user_code: str
    payload: Mapping[str, Any]
    state: DeviceState = DeviceState.PENDING
    session_id: str | None = None
    created_at: datetime
    expires_at: datetime
    last_polled_at: datetime | None = None


LOOPBACK = ("127.0.0.1/32", "::1/128")
"""Where a tunnel and the sshd behind it usually meet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketRecord:
    socket_id: str
    account_id: str
    dns_name: str
    name: str
    socket_type: SocketType
    port: int | None = None
    """Own port of a TCP or TLS socket; the store gives it out."""
    protected: bool = False
    protected_username: str = ""
    protected_password: str = field(default="", repr=False)
    cloud_authentication_enabled: bool = False
    emails: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    description: str = ""
    upstream_username: str = ""
    upstream_password: str = field(default="", repr=False)
    upstream_http_hostname: str = ""
    upstream_type: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    private_socket: bool = False
    epoch: int = 1
    rules_version: int = 1
    """Counts the changes of policies and lists that bear on the socket, whether or not it asks for
    an identity; with ``epoch`` it says whether what is remembered of its rules still holds."""
    ssh_ca_public: str
    """One ``authorized_keys`` line: the key of the socket's own SSH user CA that signs now."""
    ssh_key_proof_required: bool = False
    """Whether an SSH key is certified only with proof that its holder has the private half."""
    ssh_source_addresses: tuple[str, ...] = LOOPBACK
    """Networks from which the end of a tunnel connects to the socket's sshd."""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelRecord:
    tunnel_id: str
    socket_id: str
    local_port: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyRecord:
    purpose: str
    key_id: str
    public: Mapping[str, Any]
    """Public JWK (or another public description of the key)."""
    private_sealed: bytes = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRecord:
    """One issuance; written before the certificate leaves the gateway."""

    serial: str
    """Decimal for SSH, lower-case hex for X.509; unique over all kinds."""
    kind: CertificateKind
    ca_key_id: str
    subject: str
    """E-mail, host name or tunnel login."""
    socket_id: str | None = None
    epoch: int | None = None
    grant_id: str | None = None
    decision_id: str | None = None
    public_key_fingerprint: str
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    body: str
    """The certificate as it was released: PEM or one SSH line."""
    policy_version: str | None = None
    """Version of the rules the decision rested on."""
    proven: bool = False
    """Whether the holder proved to have the private key."""
    log_index: int | None = None
    """Its leaf in the transparency log; none for what was issued before there was a log."""
    holder_issuer: str | None = None
    """With the next, the identity it was issued to; none for hosts, tunnels, edges and of before.

    An address is no identity: another provider vouches for the same, or for whoever has it next.
    """
    holder_subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    decision_id: str
    at: datetime
    effect: Effect
    reasons: tuple[str, ...]
    policy_ids: tuple[str, ...] = ()
    issuer: str
    subject: str
    email: str | None
    socket_id: str
    action: Action
    source_ip: str
    country: str | None = None
    expires_at: datetime | None = None
    epoch: int | None = None
    """The socket's at that time; none, as for all that follows, in records of before."""
    provider: str | None = None
    assurance: Assurance | None = None
    groups: tuple[str, ...] = ()
    service_account: str | None = None
    authenticated_at: datetime | None = None
    asn: int | None = None
    client_proof: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelReportRecord:
    """A tunnel an edge says is connected."""

    tunnel_id: str
    edge_id: str
    connected_at: datetime
    peer: str
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRecord:
    edge_id: str
    ssh_host_key: str
    acked_revision: int
    late_sockets: tuple[str, ...]
    """Those it serves by older address rules than it should."""
    late_unnamed: bool
    """Whether they are too many to be named."""
    seen_at: datetime
    server_ca: str = ""
    """Key id of the issuing CA of the certificate it shows; empty if it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRecord:
    revision: int
    kind: ChangeKind
    entity_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CaGenerationRecord:
    """One key of one CA. ``(ca_id, generation)`` is the key."""

    ca_id: str
    """``ssh-user:<socket id>``, ``ssh-host``, ``ssh-tunnel`` or ``x509-issuing``."""
    generation: int
    """Counts from 1."""
    state: CaState
    public: str
    """SSH: one ``authorized_keys`` line. X.509: PEM of the issuing CA, then the root."""
    key_id: str
    """``ca_key_id`` of the certificates it signs: SSH fingerprint, or hex serial of the CA."""
    signer: str
    """Which signer has the private half: ``file`` (sealed here), ``pkcs11``, ``ssh-agent``."""
    private_sealed: bytes | None = field(default=None, repr=False)
    """For the ``file`` signer, until retired."""
    key_reference: str = ""
    """Where the other signers find the private half; no secret."""
    created_at: datetime
    published_at: datetime | None = None
    published_revision: int | None = None
    """Revision of the edges' feed that told them of it."""
    activated_at: datetime | None = None
    draining_until: datetime | None = None
    """End of the last certificate it can have signed."""
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """A server whose sshd was enrolled for a socket."""

    host_id: str
    socket_id: str
    name: str
    """What its operator calls it."""
    public_key: str
    """The host key: one ``authorized_keys`` line."""
    fingerprint: str
    principals: tuple[str, ...]
    serial: str
    """Of the host certificate it last showed; until it has shown one, of its enrolment's."""
    not_after: datetime
    enrolled_at: datetime
    enrolled_by: str
    """Account id."""
    seen_at: datetime
    synced_number: int = 0
    """Number of the newest bundle it says it has installed."""
    trusted_cas: tuple[str, ...] = ()
    """Fingerprints of the user CAs in that bundle."""
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRecord:
    revocation_id: str
    socket_id: str
    scope: RevocationScope
    value: str
    """E-mail, ``SHA256:…`` fingerprint (hex for X.509 keys), serial; for a whole socket the epoch
    that ended with it."""
    reason: str
    """In the revoker's words; may be empty."""
    created_by: str
    """E-mail of the account."""
    created_at: datetime
    lifted_at: datetime | None = None
    ended_epoch: int | None = None
    """The socket's epoch that ended with it. Lifted, it names what was given out up to then, by
    whichever clock; none until it is lifted, if it ended no epoch when it was made.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class RootListRecord:
    """The newest revocation list of a root."""

    root: str
    """Its serial number, hex."""
    number: int
    made_at: datetime
    content: bytes
    """DER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLeafRecord:
    """A leaf of the transparency log; outlives the certificate's own record."""

    leaf_index: int
    leaf_hash: bytes
    serial: str
    issued_at: datetime
    kind: CertificateKind
    ca_key_id: str
    public_key_fingerprint: str
    named_sha256: bytes
    """Hash of what logs name beside that: an SSH certificate's key id, or all of an X.509 one."""
    not_after: datetime
    account_id: str | None
    """Whose socket it was issued for, which may be deleted since; none for the product's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogNodeRecord:
    """The root of a complete subtree of 2^level leaves."""

    level: int
    node_index: int
    node_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheckpointRecord:
    tree_size: int
    root_hash: bytes
    note: str
    """The signed checkpoint."""
    at: datetime
