"""The conditions a policy is made of: one small total function each, no regular expression."""

from policy.addresses import EmailAddress
from policy.types import Action, Policy, SocketType

_OFFERED = {
    SocketType.HTTP: frozenset({Action.HTTP}),
    SocketType.HTTPS: frozenset({Action.HTTP}),
    SocketType.TCP: frozenset({Action.SSH}),
    SocketType.TLS: frozenset({Action.TLS, Action.SSH}),
}


def offers(socket_type: SocketType, action: Action) -> bool:
    """Whether a socket of this type can be used in this way at all."""
    return action in _OFFERED[socket_type]


def names_anybody(policy: Policy) -> bool:
    """Whether the policy has any entry; one without admits nobody."""
    return bool(policy.who.emails or policy.who.domains)


def email_listed(policy: Policy, email: EmailAddress) -> bool:
    """Whether the very address is listed."""
    return email in policy.who.emails


def domain_listed(policy: Policy, email: EmailAddress) -> bool:
    """Whether the address's domain is listed: label for label, no sub- or superdomain."""
    return email.domain in policy.who.domains
