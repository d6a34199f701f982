"""What an edge knows: one frozen snapshot of sockets, tunnels and trust.

Built from the gateway's feed (``docs/internals.md``) and from nothing else; the Envoy builders and
the tunnel server read it, the agent replaces it whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from policy.types import IPNetwork, SocketType


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuth:
    """User name and password of a protected socket, as its owner set them."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRule:
    """From where a socket of its own port may be reached at all, whoever it is."""

    allow: tuple[IPNetwork, ...] | None = None
    """``None`` means from anywhere, no network at all from nowhere."""
    deny: tuple[IPNetwork, ...] = ()
    """Networks that are kept out, whatever ``allow`` says."""


ANYWHERE = SourceRule()


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSocket:
    socket_id: str
    dns_name: str
    """Public name: lower case, no port, no trailing dot."""
    name: str
    """What the owner calls it; shown in the tunnel's banner."""
    socket_type: SocketType
    ports: tuple[int, ...]
    """Own ports of a TCP or TLS socket; the public ports of an HTTP one."""
    epoch: int
    """Grants of any other epoch are refused."""
    identity_required: bool
    basic_auth: BasicAuth | None = None
    upstream_http_hostname: str | None = None
    """Host header for the origin, if its owner wants another than the socket's name."""
    source_rule: SourceRule = ANYWHERE
    """Enforced where the edge sees connections and not requests: TCP and TLS sockets."""
    source_sets: Mapping[str, tuple[IPNetwork, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """Networks by the id a client certificate names them with: it is good from there alone."""
    source_rules_too_large: bool = False
    """Whether there are rules about addresses that nobody could say: nothing may be let in."""
    rules_version: int = 0
    """Of which state these three are; the newer has the higher, and 0 is of none."""
    rules_wanted: int | None = None
    """Of which they are to be, if they are older."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeTunnel:
    tunnel_id: str
    socket_id: str
    local_port: int
    user_name: str
    """Account the tunnel belongs to: 32 hex digits, the SSH login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelUser:
    user_name: str
    public_keys: tuple[str, ...]
    """``authorized_keys`` lines without options."""
    generation: int = 1
    """Certificates made out to an earlier one log in no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the edge verifies grants with; public halves only."""

    issuer: str
    session_jwks: Mapping[str, Any]
    client_ca: str
    """PEM: the issuing CA, then the root."""
    tunnel_user_ca: tuple[str, ...]
    """Keys that sign tunnel logins."""
    tunnel_user_ca_past: tuple[str, ...] = ()
    """Keys that did, and were replaced in good order: no login is new by them, and what stands
    on one stays."""
    """SSH public keys that sign tunnel logins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeState:
    """One revision of everything; mappings are read-only and keyed by id."""

    revision: int
    trust: Trust
    sockets: Mapping[str, EdgeSocket] = field(default_factory=lambda: MappingProxyType({}))
    tunnels: Mapping[str, EdgeTunnel] = field(default_factory=lambda: MappingProxyType({}))
    tunnel_users: Mapping[str, TunnelUser] = field(default_factory=lambda: MappingProxyType({}))


def changed_keys(before: Mapping[str, object], after: Mapping[str, object]) -> frozenset[str]:
    """Keys whose entries differ, those that only one of the two has included.

    Costs nothing when both are one object, and little for entries that are: a state that came out
    of another one shares with it what did not change.
    """
    if before is after:
        return frozenset()
    missing = object()
    found = {
        key
        for key, item in after.items()
        if (old := before.get(key, missing)) is not item and old != item
    }
    if len(before) + sum(key not in before for key in found) != len(after):
        found.update(before.keys() - after.keys())
    return frozenset(found)
