"""How a grant that rests on addresses says so in what is made from it, so that it cannot travel.

Each enforcement point knows addresses in its own way (``docs/internals.md``, "What carries a
grant"): Envoy compares text with text, an edge's TLS names sets of networks, sshd reads networks.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from ca.specs import MAX_SOURCE_IDS
from idp_gateway.errors import Forbidden
from policy.types import Grant, IPAddress, IPNetwork

MAX_NETWORKS = 64
"""Networks of a grant that an SSH certificate spells out; beyond, the caller's address stands for
them."""


def session_address(grant: Grant) -> str | None:
    """Where a session is good from, as Envoy writes its client's address, up to the colon before
    the port; ``None`` if from anywhere.
    """
    bound = grant.sources is not None or grant.place_counts
    return _as_envoy_writes(grant.source_ip) if bound else None


def source_ids(grant: Grant) -> tuple[str, ...] | None:
    """The sets of networks a client certificate is good from; ``None`` if from wherever the socket
    is open at all, which edges see to.

    Raises:
        Forbidden: the addresses of the grant have no names, or too many, so that no edge could hold
            a certificate to them.
    """
    if grant.source_ids is None:
        return None
    if not 1 <= len(grant.source_ids) <= MAX_SOURCE_IDS:
        raise Forbidden(
            "the rules about addresses of this service are more than a certificate can say",
            reason="addresses-not-enforceable",
        )
    return grant.source_ids


def source_addresses(grant: Grant, tunnel_ends: Iterable[str]) -> tuple[IPNetwork, ...] | None:
    """From where sshd is to take an SSH certificate; ``None`` if from anywhere.

    ``tunnel_ends``: networks from which the tunnel's own end connects to sshd. Behind a tunnel that
    is all sshd sees, and the edge has looked at the person's address.
    """
    if grant.sources is None and not grant.place_counts:
        return None
    networks = grant.sources
    # Nobody can list the addresses of a country.
    if networks is None or grant.place_counts or len(networks) > MAX_NETWORKS:
        networks = (_alone(grant.source_ip),)
    return (*networks, *map(ip_network, tunnel_ends))


def _as_envoy_writes(address: IPAddress) -> str:
    # inet_ntop is what Envoy uses; Python's own text differs for some addresses with IPv4 inside.
    if isinstance(address, IPv4Address):
        return f"{address}:"
    return f"[{socket.inet_ntop(socket.AF_INET6, address.packed)}]:"


def _alone(address: IPAddress) -> IPNetwork:
    if isinstance(address, IPv4Address):
        return IPv4Network((int(address), 32))
    return IPv6Network((int(address), 128))
