"""How often something may be tried: by an account, a person, or those behind one address."""

from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_network

from idp_gateway.errors import TooManyAttempts
from idp_gateway.store import Store
from policy.types import IPAddress

_IPV6_PREFIX = 64
"""What one subscriber has at least (RFC 6177); counting addresses would count nobody twice."""


def counted_address(source_ip: IPAddress) -> str:
    """What attempts from ``source_ip`` are counted under: the address, or its IPv6 network."""
    if isinstance(source_ip, IPv6Address):
        return str(ip_network((source_ip.packed, _IPV6_PREFIX), strict=False))
    return str(source_ip)


def regulate(store: Store, key: str, limit: int, window: timedelta, now: datetime) -> None:
    """Let an attempt go on.

    Raises:
        TooManyAttempts: there were ``limit`` under ``key`` within ``window``.
    """
    if store.failures_since(key, now - window) >= limit:
        raise TooManyAttempts(
            "too many attempts; try again later", retry_after=int(window.total_seconds())
        )
