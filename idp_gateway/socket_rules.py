"""What makes a sensible socket: the rules across fields, pure and apart from JSON and database.

``create`` and ``change`` turn what a client said into columns of a socket; a combination that would
leave a socket more open than it looks is refused with an explanation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from idp_gateway.errors import InvalidInput
from idp_gateway.records import LOOPBACK, SocketRecord
from policy.types import SocketType

MAX_BASIC_AUTH_LENGTH = 128

POLICY_COLUMNS = frozenset(
    {
        "protected",
        "protected_username",
        "protected_password",
        "cloud_authentication_enabled",
        "emails",
        "domains",
        "ssh_key_proof_required",
        "ssh_source_addresses",
    }
)
"""Columns that decide who gets in: a change of one ends every older grant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketColumns:
    """The columns of a socket its owner decides on; the defaults are those of a new socket."""

    name: str = ""
    protected: bool = False
    protected_username: str = ""
    protected_password: str = field(default="", repr=False)
    cloud_authentication_enabled: bool = False
    emails: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    ssh_key_proof_required: bool = False
    ssh_source_addresses: tuple[str, ...] = LOOPBACK
    description: str = ""
    upstream_username: str = ""
    upstream_password: str = field(default="", repr=False)
    upstream_http_hostname: str = ""
    upstream_type: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    private_socket: bool = False

    @classmethod
    def of(cls, socket: SocketRecord) -> "SocketColumns":
        """What ``socket`` says at present."""
        return cls(**{name: getattr(socket, name) for name in cls.__dataclass_fields__})

    def with_said(self, said: Mapping[str, Any]) -> "SocketColumns":
        """These columns with those of ``said`` put in their place."""
        return replace(self, **said)


def check(socket_type: SocketType, before: SocketColumns, after: SocketColumns) -> None:
    """Refuse a socket that could not be enforced, or that is more open than it looks.

    Raises:
        InvalidInput: with the field that has to change and a stable reason.
    """
    _check_identity(socket_type, before, after)
    _check_password(socket_type, after)
    if after.ssh_key_proof_required and socket_type is not SocketType.TLS:
        raise InvalidInput(
            f"there are SSH certificates for tls sockets only, none for a {socket_type} socket",
            field="ssh_key_proof_required",
            reason="key-proof-not-applicable",
        )
    if after.ssh_source_addresses != LOOPBACK and socket_type is not SocketType.TLS:
        raise InvalidInput(
            f"there are SSH certificates for tls sockets only, none for a {socket_type} socket",
            field="ssh_source_addresses",
            reason="source-addresses-not-applicable",
        )
    if after.private_socket:
        raise InvalidInput(
            "this gateway has no private network: a private socket would be public",
            field="private_socket",
            reason="private-socket-unsupported",
        )


def changes_between(before: SocketColumns, after: SocketColumns) -> dict[str, Any]:
    """The columns that really differ."""
    return {
        name: getattr(after, name)
        for name in SocketColumns.__dataclass_fields__
        if getattr(before, name) != getattr(after, name)
    }


def ends_grants(changes: Mapping[str, Any]) -> bool:
    """Whether ``changes`` touch who gets in, so that grants made before must stop."""
    return not POLICY_COLUMNS.isdisjoint(changes)


def _check_identity(socket_type: SocketType, before: SocketColumns, after: SocketColumns) -> None:
    lists = (after.emails, after.domains)
    if after.cloud_authentication_enabled and socket_type is SocketType.TCP:
        raise InvalidInput(
            "a tcp socket carries bare bytes, so nothing at the edge could tell who is coming;"
            " use the type tls",
            field="cloud_authentication_enabled",
            reason="identity-not-enforceable",
        )
    lists_are_new = any(lists) and lists != (before.emails, before.domains)
    if lists_are_new and not after.cloud_authentication_enabled:
        raise InvalidInput(
            "allowed addresses or domains are given, but cloud_authentication_enabled is not true:"
            " the socket would be open to everybody",
            field="cloud_authentication_enabled",
            reason="lists-without-authentication",
        )


def _check_password(socket_type: SocketType, after: SocketColumns) -> None:
    if not after.protected:
        return
    if socket_type.has_own_port:
        raise InvalidInput(
            f"a {socket_type} socket cannot ask for a password; only http and https can",
            field="protected_socket",
            reason="password-not-enforceable",
        )
    if after.cloud_authentication_enabled:
        raise InvalidInput(
            "a shared password beside cloud authentication would let people in unnamed;"
            " choose one of the two",
            field="protected_socket",
            reason="password-beside-identity",
        )
    for name, text in (
        ("protected_username", after.protected_username),
        ("protected_password", after.protected_password),
    ):
        if not text:
            raise InvalidInput(
                "a protected socket needs a user name and a password",
                field=name,
                reason="password-missing",
            )
        if len(text.encode()) > MAX_BASIC_AUTH_LENGTH:
            raise InvalidInput(
                f"at most {MAX_BASIC_AUTH_LENGTH} bytes", field=name, reason="password-too-long"
            )
    if ":" in after.protected_username:
        raise InvalidInput(
            "a user name for HTTP basic authentication has no colon (RFC 7617 §2)",
            field="protected_username",
            reason="username-invalid",
        )
