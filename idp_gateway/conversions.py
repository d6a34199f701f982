"""Rows of the store as values of the policy."""

from idp_gateway.records import SocketRecord
from policy.addresses import DomainName, EmailAddress
from policy.types import Policy, Socket, SocketType, Who

_HTTP_PORTS = (80, 443)


def decided_socket(socket: SocketRecord) -> Socket:
    """What a decision needs to know of the socket itself, but for who is blocked there."""
    return Socket(
        socket_id=socket.socket_id,
        dns_name=socket.dns_name,
        socket_type=SocketType(socket.socket_type),
        epoch=socket.epoch,
        ports=_HTTP_PORTS if socket.port is None else (socket.port,),
        identity_required=socket.cloud_authentication_enabled,
    )


def own_lists(socket: SocketRecord) -> tuple[Policy, ...]:
    """The socket's own lists as one policy, which has the socket's id; none if they are empty."""
    if not socket.emails and not socket.domains:
        return ()
    who = Who(
        emails=frozenset(EmailAddress.parse(text) for text in socket.emails),
        domains=frozenset(DomainName.parse(text) for text in socket.domains),
    )
    return (Policy(policy_id=socket.socket_id, name="the socket's own lists", who=who),)
