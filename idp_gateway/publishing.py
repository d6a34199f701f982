"""Making, changing and removing sockets: what the routes of ``/socket`` and ``/connect`` share."""

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from idp_gateway import socket_policies, socket_rules
from idp_gateway.ca_generations import user_ca_id
from idp_gateway.composition import Gateway
from idp_gateway.errors import Conflict, GatewayError, InvalidInput, NameTaken
from idp_gateway.names import random_name
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.schemas.sockets import NewSocketForm, SocketChangeForm, SocketFields
from idp_gateway.socket_rules import SocketColumns
from idp_gateway.store.generations import KEY_TAKEN
from policy.types import SocketType

KEY_TRIES = 20
"""Sockets made at once may choose the same key of an agent; all but one choose again."""

NAME_TRIES = 20
"""Clashes in a row after which something else than chance is wrong."""

_COLUMN_OF_FIELD = {
    "protected_socket": "protected",
    "cloud_authentication_email_allowed_addressses": "emails",
    "cloud_authentication_email_allowed_domains": "domains",
}
_NOT_COLUMNS = {"socket_type", "custom_domains", "policy_names", "policies"}


def create_socket(
    gateway: Gateway, account: AccountRecord, form: NewSocketForm, *, with_tunnel: bool = False
) -> SocketRecord:
    """A new socket of ``account``, with a name of its own and, if asked, its first tunnel.

    Socket and tunnel come into being in one transaction, or not at all.

    Raises:
        InvalidInput: the fields make no sensible socket together; nothing was kept.
        QuotaExceeded: the account has as many sockets as it may have.
    """
    socket_type = form.socket_type or SocketType.HTTP
    columns = SocketColumns().with_said(_said(form))
    socket_rules.check(socket_type, SocketColumns(), columns)
    policy_ids = socket_policies.to_attach(gateway, account, columns, form)
    create = partial(_create, gateway, account, socket_type, columns, with_tunnel=with_tunnel)
    socket = _with_a_key_of_its_own(create)
    if not policy_ids:
        return socket
    # A socket that asks for an identity and has no policy yet admits nobody.
    return socket_policies.attach_first(gateway, account, socket, policy_ids)


def _with_a_key_of_its_own(create: Callable[[], SocketRecord]) -> SocketRecord:
    for _ in range(KEY_TRIES - 1):
        try:
            return create()
        except Conflict as error:
            if error.reason != KEY_TAKEN:
                raise
    return create()


def _create(
    gateway: Gateway,
    account: AccountRecord,
    socket_type: SocketType,
    columns: SocketColumns,
    *,
    with_tunnel: bool,
) -> SocketRecord:
    settings = gateway.settings
    limit = (
        settings.sockets_per_account
        if account.email_verified
        else settings.sockets_per_unverified_account
    )
    socket_id = str(uuid.uuid4())
    user_ca = gateway.authority.new_user_ca(socket_id)
    record = SocketRecord(
        socket_id=socket_id,
        account_id=account.account_id,
        dns_name=_new_name(gateway),
        socket_type=socket_type,
        ssh_ca_public=user_ca.public,
        created_at=gateway.clock(),
        **{name: getattr(columns, name) for name in SocketColumns.__dataclass_fields__},
    )
    add = partial(
        gateway.store.add_socket,
        ports=settings.ports,
        tunnel_id=str(uuid.uuid4()) if with_tunnel else None,
        limit=limit,
        user_ca=user_ca,
    )
    try:
        return _add_under_some_name(gateway, record, add)
    except GatewayError:
        gateway.authority.generations.give_back(user_ca)
        raise


def _add_under_some_name(
    gateway: Gateway, record: SocketRecord, add: Callable[[SocketRecord], SocketRecord]
) -> SocketRecord:
    for _ in range(NAME_TRIES - 1):
        try:
            return add(record)
        except NameTaken:
            record = replace(record, dns_name=_new_name(gateway))
    return add(record)


def change_socket(
    gateway: Gateway,
    account: AccountRecord,
    socket_id: str,
    form: SocketChangeForm,
    *,
    replaces: bool,
) -> SocketRecord:
    """Change what ``form`` says and nothing else; end older grants if it touches who gets in.

    With ``replaces``, a form that is a whole socket also empties the lists it leaves out.

    Raises:
        NotFound: no such socket of this account.
        InvalidInput: the result would make no sensible socket; nothing was changed.
    """
    socket = gateway.store.get_socket(account.account_id, socket_id)
    if form.socket_type not in {None, socket.socket_type}:
        raise InvalidInput(
            f"this is a {socket.socket_type} socket; the type of a socket never changes",
            field="socket_type",
            reason="socket-type-fixed",
        )
    socket_policies.check_unchanged(gateway, socket, form)
    said = _said(form)
    if replaces and form.is_whole:
        said = {"emails": (), "domains": ()} | said
    before = SocketColumns.of(socket)
    after = before.with_said(said)
    socket_rules.check(socket.socket_type, before, after)
    changes = socket_rules.changes_between(before, after)
    if not changes:
        return socket
    return gateway.store.update_socket(
        account.account_id,
        socket_id,
        changes,
        bump_epoch=socket_rules.ends_grants(changes),
        ports=gateway.settings.ports,
        now=gateway.clock(),
    )


def delete_socket(gateway: Gateway, account: AccountRecord, socket_id: str) -> None:
    """Remove a socket with its tunnels.

    Raises:
        NotFound: no such socket of this account.
    """
    user_cas = gateway.store.generations(user_ca_id(socket_id))
    gateway.store.delete_socket(account.account_id, socket_id, gateway.clock())
    gateway.authority.generations.end_keys(user_cas)


def _said(form: SocketFields) -> dict[str, Any]:
    """The columns a client named, under the store's names; ``null`` is not said."""
    said: Mapping[str, Any] = form.model_dump(exclude_none=True, exclude=_NOT_COLUMNS)
    return {
        _COLUMN_OF_FIELD.get(name, name): tuple(value) if isinstance(value, list) else value
        for name, value in said.items()
    }


def _new_name(gateway: Gateway) -> str:
    return f"{random_name(secrets.randbelow)}.{gateway.settings.edge_domain}"
