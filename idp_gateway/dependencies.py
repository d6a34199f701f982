"""What routes ask FastAPI for: the gateway, and who is at the other end of the connection."""

import hmac
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated

from fastapi import Depends, Request

from idp_gateway.composition import Gateway
from idp_gateway.errors import NotAuthenticated
from policy.types import IPAddress

EDGE_KEY_HEADER = "x-mysocket-edge-key"
_LOOPBACK = IPv4Address("127.0.0.1")
_REMEMBERED_ADDRESSES = 4096


async def get_gateway(request: Request) -> Gateway:
    """The gateway this application was created for; asynchronous, so that it needs no thread."""
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(get_gateway)]


def is_edge(request: Request, gateway: Gateway) -> bool:
    """Whether an edge passed this request on: exactly one edge key header, and it is right."""
    return _is_key(request.headers.getlist(EDGE_KEY_HEADER), gateway)


def require_edge(request: Request, gateway: GatewayDep) -> None:
    """Admit edges only (``Authorization: Bearer <edge key>``).

    Raises:
        NotAuthenticated: no key, or not this one.
    """
    given = request.headers.getlist("authorization")
    keys = [value[7:] for value in given if value[:7].lower() == "bearer "]
    if len(given) != 1 or not _is_key(keys, gateway):
        raise NotAuthenticated("this call is for edges", reason="edge-key-invalid")


def source_address(request: Request, gateway: GatewayDep) -> IPAddress:
    """Where the request comes from.

    ``x-forwarded-for`` counts only with the edge key, which Envoy sets and clients cannot; it then
    is exactly one address. A unix socket's peer is this machine.

    Raises:
        NotAuthenticated: an edge's request without a readable address: nothing is decided on it.
    """
    if is_edge(request, gateway):
        forwarded = request.headers.getlist("x-forwarded-for")
        address = _parse(forwarded[0]) if len(forwarded) == 1 else None
        if address is None:
            raise NotAuthenticated("the source address is unreadable", reason="source-unknown")
        return address
    peer = request.client.host if request.client else ""
    return _parse(peer) or _LOOPBACK


SourceAddress = Annotated[IPv4Address | IPv6Address, Depends(source_address)]


def _is_key(given: list[str], gateway: Gateway) -> bool:
    return len(given) == 1 and hmac.compare_digest(
        given[0].encode("latin-1", "replace"), gateway.edge_key
    )


@lru_cache(_REMEMBERED_ADDRESSES)
def _parse(text: str) -> IPAddress | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
