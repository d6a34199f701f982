"""Records as the API shows them to their owner."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from idp_gateway.composition import Gateway
from idp_gateway.policy_replies import one_reply
from idp_gateway.records import AccountRecord, SocketRecord, TunnelRecord
from idp_gateway.schemas.accounts import AccountReply
from idp_gateway.schemas.sockets import SocketReply
from idp_gateway.schemas.tunnels import TunnelReply
from idp_gateway.serving import EDGE_GONE, EDGE_SILENT
from idp_gateway.store.rules import AccountRules
from policy.types import SocketType


def account_reply(account: AccountRecord) -> AccountReply:
    """What an account's owner sees of it."""
    return AccountReply(
        user_id=account.account_id,
        user_name=account.user_name,
        name=account.name,
        email=account.email,
        email_verified=account.email_verified,
        sshkey=account.ssh_key,
    )


def socket_reply(gateway: Gateway, account: AccountRecord, socket: SocketRecord) -> SocketReply:
    """One socket with its tunnels."""
    return socket_replies(gateway, account, [socket])[0]


def socket_replies(
    gateway: Gateway, account: AccountRecord, sockets: Sequence[SocketRecord]
) -> list[SocketReply]:
    """Sockets of one account with their tunnels, in a fixed number of queries."""
    tunnels: dict[str, list[TunnelRecord]] = defaultdict(list)
    for tunnel in gateway.store.tunnels_of(*(socket.socket_id for socket in sockets)):
        tunnels[tunnel.socket_id].append(tunnel)
    view = TunnelView.now(gateway, [socket.socket_id for socket in sockets])
    policies = _attached_policies(gateway, account.account_id, sockets)
    return [
        _socket_reply(gateway, account, socket, view.replies(tunnels[socket.socket_id])).model_copy(
            update={
                "policies": policies[socket.socket_id],
                "policy_names": [policy["name"] for policy in policies[socket.socket_id]],
            }
        )
        for socket in sockets
    ]


def _attached_policies(
    gateway: Gateway, account_id: str, sockets: Sequence[SocketRecord]
) -> dict[str, list[dict[str, Any]]]:
    """The policies attached to each socket, by name; those of the whole account are not listed."""
    rules = gateway.store.rules_of(sockets).get(account_id, AccountRules())
    wanted = {policy_id for own in rules.attached.values() for policy_id in own}
    attached = gateway.store.attached_sockets(account_id, wanted)
    shown = {
        policy_id: one_reply(rules.policies[policy_id], attached).model_dump(mode="json")
        for policy_id in wanted
    }
    return {
        socket.socket_id: sorted(
            (shown[policy_id] for policy_id in rules.attached.get(socket.socket_id, ())),
            key=lambda policy: str(policy["name"]),
        )
        for socket in sockets
    }


class TunnelView:
    """What all tunnels of a reply share: where the tunnel server is, and who is connected."""

    def __init__(
        self, gateway: Gateway, *, host_keys: Sequence[str], connected: Iterable[str]
    ) -> None:
        self._settings = gateway.settings
        self._host_keys = list(host_keys)
        self._connected = frozenset(connected)

    @classmethod
    def now(cls, gateway: Gateway, socket_ids: Sequence[str]) -> "TunnelView":
        """The edges' latest reports on these sockets."""
        now = gateway.clock()
        host_keys = sorted(
            {
                edge.ssh_host_key
                for edge in gateway.store.edges()
                if edge.ssh_host_key and edge.seen_at > now - EDGE_GONE
            }
        )
        reports = gateway.store.tunnel_reports_of(socket_ids, since=now - EDGE_SILENT)
        return cls(
            gateway,
            host_keys=host_keys,
            connected=(report.tunnel_id for report in reports),
        )

    def reply(self, tunnel: TunnelRecord) -> TunnelReply:
        """One tunnel."""
        return TunnelReply(
            tunnel_id=tunnel.tunnel_id,
            local_port=tunnel.local_port,
            tunnel_server=self._settings.tunnel_host,
            tunnel_server_port=self._settings.tunnel_port,
            tunnel_server_host_keys=self._host_keys,
            connected=tunnel.tunnel_id in self._connected,
        )

    def replies(self, tunnels: Iterable[TunnelRecord]) -> list[TunnelReply]:
        """Several tunnels, in their order."""
        return [self.reply(tunnel) for tunnel in tunnels]


def _socket_reply(
    gateway: Gateway, account: AccountRecord, socket: SocketRecord, tunnels: list[TunnelReply]
) -> SocketReply:
    return SocketReply(
        socket_id=socket.socket_id,
        dnsname=socket.dns_name,
        name=socket.name,
        socket_type=str(socket.socket_type),
        socket_tcp_ports=_ports(gateway, socket),
        user_name=account.user_name,
        tunnels=tunnels,
        protected_socket=socket.protected,
        protected_username=socket.protected_username,
        protected_password=socket.protected_password,
        cloud_authentication_enabled=socket.cloud_authentication_enabled,
        cloud_authentication_email_allowed_addressses=list(socket.emails),
        cloud_authentication_email_allowed_domains=list(socket.domains),
        ssh_ca=socket.ssh_ca_public if socket.socket_type is SocketType.TLS else "",
        ssh_key_proof_required=socket.ssh_key_proof_required,
        ssh_source_addresses=list(socket.ssh_source_addresses),
        description=socket.description,
        upstream_username=socket.upstream_username,
        upstream_password=socket.upstream_password,
        upstream_http_hostname=socket.upstream_http_hostname,
        upstream_type=socket.upstream_type,
        tags=dict(socket.tags),
        private_socket=socket.private_socket,
    )


def _ports(gateway: Gateway, socket: SocketRecord) -> list[int]:
    if socket.port is not None:
        return [socket.port]
    return [gateway.settings.http_port, gateway.settings.https_port]
