"""Rows of the store as values of the policy."""

from idp_gateway.records import SocketRecord
from policy.addresses import DomainName, EmailAddress
from policy.types import Policy, Socket, SocketType

_HTTP_PORTS = (80, 443)


def policy_of(socket: SocketRecord) -> Socket:
    """What a decision on the socket needs; its own lists are its one policy."""
    return Socket(
        socket_id=socket.socket_id,
        dns_name=socket.dns_name,
        socket_type=SocketType(socket.socket_type),
        epoch=socket.epoch,
        ports=_HTTP_PORTS if socket.port is None else (socket.port,),
        identity_required=socket.cloud_authentication_enabled,
        blocked=frozenset(EmailAddress.parse(text) for text in socket.blocked_emails),
        policies=(
            Policy(
                policy_id=socket.socket_id,
                emails=frozenset(EmailAddress.parse(text) for text in socket.emails),
                domains=frozenset(DomainName.parse(text) for text in socket.domains),
            ),
        ),
    )
