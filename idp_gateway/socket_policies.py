"""What a socket's own bodies say about policies, which have routes of their own.

Clients of 2022 name policies when they make a socket, and send back whole sockets with the policies
in them. What such a body says is done or is so already; it is never ignored.
"""

from typing import Any

from idp_gateway.composition import Gateway
from idp_gateway.errors import InvalidInput
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.schemas.sockets import NewSocketForm, SocketFields
from idp_gateway.socket_rules import SocketColumns
from idp_gateway.store.policies import Author


def to_attach(
    gateway: Gateway, account: AccountRecord, columns: SocketColumns, form: NewSocketForm
) -> tuple[str, ...]:
    """Ids of the policies a new socket is to have.

    Raises:
        InvalidInput: one of them is not there, or nothing could enforce it.
    """
    names = dict.fromkeys([*(form.policy_names or ()), *map(_name, form.policies or ())])
    found = []
    for name in names:
        policy = gateway.store.find_policy(account.account_id, name)
        if policy is None:
            raise InvalidInput(
                f"there is no policy called {name}", field="policy_names", reason="policy-unknown"
            )
        found.append(policy.policy_id)
    if found and not columns.cloud_authentication_enabled:
        raise InvalidInput(
            "a policy says who may come in, but cloud_authentication_enabled is not true: the"
            " socket would be open to everybody",
            field="cloud_authentication_enabled",
            reason="policy-without-authentication",
        )
    return tuple(found)


def attach_first(
    gateway: Gateway, account: AccountRecord, socket: SocketRecord, policy_ids: tuple[str, ...]
) -> SocketRecord:
    """Attach policies to a socket made a moment ago.

    Raises:
        NotFound, QuotaExceeded: the socket is there, and admits nobody.
    """
    gateway.store.attach(
        account.account_id,
        {policy_id: {socket.socket_id: True} for policy_id in policy_ids},
        Author(email=account.email, at=gateway.clock(), why="the socket was made with it"),
        limit=gateway.settings.policies_per_socket,
    )
    return gateway.store.get_socket(account.account_id, socket.socket_id)


def check_unchanged(gateway: Gateway, socket: SocketRecord, form: SocketFields) -> None:
    """Let a body through that says nothing of policies, or what is so already.

    Raises:
        InvalidInput: it names other policies than are attached.
    """
    said = [*(form.policy_names or ()), *map(_name, form.policies or ())]
    if not said:
        return
    rules = gateway.store.rules_of([socket])[socket.account_id]
    attached = rules.attached.get(socket.socket_id, frozenset())
    if {rules.policies[policy_id].name for policy_id in attached} != set(said):
        raise InvalidInput(
            "these are not the policies of this socket; PUT /socket/{socket_id}/policy changes"
            " them",
            field="policy_names",
            reason="policies-elsewhere",
        )


def _name(policy: dict[str, Any]) -> str:
    name = policy.get("name")
    if not isinstance(name, str):
        raise InvalidInput(
            "a policy in a socket has its name", field="policies", reason="policies-elsewhere"
        )
    return name
