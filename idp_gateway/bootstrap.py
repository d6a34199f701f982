"""The first start of a machine: one account, one demonstration socket with a tunnel.

May be repeated: what is there stays as it is. The password is written to ``<state>/first-account``
(mode 0600) before the account is made, so that a start that was cut short is taken up again.
"""

import json
import secrets
import uuid
from pathlib import Path
from typing import Any

from ca.signers.file import read_private_file, write_new_file
from idp_gateway import publishing
from idp_gateway.accounts import register
from idp_gateway.composition import Gateway
from idp_gateway.errors import SettingsError
from idp_gateway.records import AccountRecord, SocketRecord, TunnelRecord
from idp_gateway.schemas.sockets import NewSocketForm
from policy.addresses import EmailAddress
from policy.types import SocketType

FIRST_ACCOUNT = "first-account"
DEFAULT_EMAIL = "admin@example.test"
DEMO_NAME = "demo"


def bootstrap(gateway: Gateway, email: str = DEFAULT_EMAIL) -> dict[str, Any]:
    """Make what is missing and describe what is there.

    ``password`` is ``None`` if its file was removed: nobody knows it any more.

    Raises:
        SettingsError: the first account's file is open to others or unreadable.
    """
    account, password = _first_account(gateway, str(EmailAddress.parse(email)))
    socket = _demo_socket(gateway, account)
    tunnels = gateway.store.tunnels_of(socket.socket_id)
    tunnel = tunnels[0] if tunnels else _tunnel(gateway, account, socket)
    return {
        "gateway": gateway.settings.base_url,
        "account_id": account.account_id,
        "user_name": account.user_name,
        "email": account.email,
        "password": password,
        "socket": {
            "socket_id": socket.socket_id,
            "dns_name": socket.dns_name,
            "name": socket.name,
            "url": f"https://{socket.dns_name}{gateway.settings.port_suffix}/",
        },
        "tunnel": {"tunnel_id": tunnel.tunnel_id, "local_port": tunnel.local_port},
    }


def _first_account(gateway: Gateway, email: str) -> tuple[AccountRecord, str | None]:
    path = gateway.settings.state_dir / FIRST_ACCOUNT
    if path.exists():
        email, password = _read(path)
        found = gateway.store.find_account_by_email(email)
        return found or _register(gateway, email, password), password
    found = gateway.store.find_account_by_email(email)
    if found is not None:
        return found, None
    password = secrets.token_urlsafe(15)
    write_new_file(path, json.dumps({"email": email, "password": password}).encode() + b"\n")
    return _register(gateway, email, password), password


def _read(path: Path) -> tuple[str, str]:
    try:
        content = json.loads(read_private_file(path))
        return str(content["email"]), str(content["password"])
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path}: {error}; remove the file to go on without it") from error


def _register(gateway: Gateway, email: str, password: str) -> AccountRecord:
    return register(
        gateway.store,
        name="Administrator",
        email=email,
        password=password,
        email_verified=True,
        now=gateway.clock(),
    )


def _demo_socket(gateway: Gateway, account: AccountRecord) -> SocketRecord:
    for socket in gateway.store.sockets_of(account.account_id):
        if socket.name == DEMO_NAME:
            return socket
    form = NewSocketForm(
        name=DEMO_NAME,
        socket_type=SocketType.HTTP,
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[account.email],
    )
    return publishing.create_socket(gateway, account, form, with_tunnel=True)


def _tunnel(gateway: Gateway, account: AccountRecord, socket: SocketRecord) -> TunnelRecord:
    return gateway.store.add_tunnel(
        account.account_id,
        socket.socket_id,
        tunnel_id=str(uuid.uuid4()),
        now=gateway.clock(),
    )
