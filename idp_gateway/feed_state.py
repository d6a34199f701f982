"""The state edges are told, kept as canonical JSON so that its digest is cheap after every change.

Format: ``docs/internals.md``, "Feed". Each entity is encoded once, when it changes; the digest is
of the pieces joined, which is the canonical JSON of the whole without encoding the whole.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from idp_gateway.address_rules import CLOSED
from idp_gateway.canonical import canonical
from idp_gateway.records import ChangeKind, SocketRecord
from idp_gateway.store.edges import FeedAccount, FeedRows, FeedTunnel
from idp_gateway.told_rules import NO_KEY, Key, Known, Told, is_enforced, key_of, kind_of
from policy.types import SocketType

SECTIONS: Mapping[ChangeKind, str] = {
    ChangeKind.SOCKET: "sockets",
    ChangeKind.TUNNEL: "tunnels",
    ChangeKind.TUNNEL_USER: "tunnel_users",
}


class _Members(NamedTuple):
    """What was told of a socket's rules, and for what kind of socket."""

    kind: object
    key: Key
    members: Mapping[str, str]
    number: int


@dataclass(slots=True)
class FeedState:
    """Every entity by section and id, each as its canonical JSON text."""

    trust: str
    http_ports: tuple[int, ...]
    revision: int = 0
    entities: dict[str, dict[str, str]] = field(
        default_factory=lambda: {section: {} for section in SECTIONS.values()}
    )

    told: dict[str, _Members] = field(default_factory=dict)
    """What was told of each socket's address rules."""

    def apply(
        self,
        rows: FeedRows,
        address_rules: Mapping[str, Told] = MappingProxyType({}),
    ) -> None:
        """Take over one look at the store, whole or partial, with the rules of its sockets by id.

        A socket that is not among them has those of before, and edges are told that they are. If
        these were for a socket of another kind, or it is new, it is closed.
        """
        if rows.complete:
            self.entities = {section: {} for section in SECTIONS.values()}
        for change in rows.changes:
            if change.kind in SECTIONS:
                self.entities[SECTIONS[change.kind]].pop(_key(change.kind, change.entity_id), None)
        ids = list(self.told) if rows.complete else [change.entity_id for change in rows.changes]
        before = {one: self.told.pop(one) for one in ids if one in self.told}
        for socket in rows.sockets:
            found = address_rules.get(socket.socket_id)
            members = _as_before(socket, before) if found is None else _members(socket, found)
            self.told[socket.socket_id] = members
            told = members.members
            shown = self._socket(socket) | _versions(socket, members.key) | dict.fromkeys(told)
            text = canonical(shown)
            for member, value in told.items():
                # In a string the quotes would be escaped: only the member itself is spelled so.
                text = text.replace(f'"{member}":null', f'"{member}":{value}', 1)
            self.entities["sockets"][socket.socket_id] = text
        for tunnel in rows.tunnels:
            self.entities["tunnels"][tunnel.tunnel.tunnel_id] = canonical(_tunnel(tunnel))
        for account in rows.accounts:
            user_name = _user_name(account.account_id)
            self.entities["tunnel_users"][user_name] = canonical(_tunnel_user(account))
        self.revision = rows.revision

    def known(self, sockets: Iterable[SocketRecord]) -> dict[str, Known]:
        """The rules that edges know of these sockets, as they are now."""
        told = {one.socket_id: (kind_of(one), self.told.get(one.socket_id)) for one in sockets}
        return {
            socket_id: Known(found.key, found.members, found.number)
            for socket_id, (kind, found) in told.items()
            if found is not None and found.kind == kind
        }

    def body(self) -> str:
        """Canonical JSON of the whole STATE."""
        sections = [
            f'"{name}":' + "{" + ",".join(f'"{key}":{known[key]}' for key in sorted(known)) + "}"
            for name, known in sorted(self.entities.items())
        ]
        # Keys in sorted order: sockets, trust, tunnel_users, tunnels.
        sections.insert(1, f'"trust":{self.trust}')
        return "{" + ",".join(sections) + "}"

    def digest(self) -> str:
        """SHA-256 (hex) of the whole STATE's canonical JSON."""
        return hashlib.sha256(self.body().encode()).hexdigest()

    def snapshot(self) -> bytes:
        """The line that tells an edge everything."""
        body = self.body()
        digest = hashlib.sha256(body.encode()).hexdigest()
        return (
            f'{{"type":"snapshot","revision":{self.revision},"digest":"{digest}","state":{body}}}\n'
        ).encode()

    def delta(self, base: int, changed: Iterable[tuple[ChangeKind, str]], digest: str) -> bytes:
        """The line that takes an edge from ``base`` to this state, given what changed since."""
        upsert: dict[str, list[str]] = {section: [] for section in SECTIONS.values()}
        remove: dict[str, list[str]] = {section: [] for section in SECTIONS.values()}
        trust = "null"
        for kind, entity_id in sorted(set(changed)):
            if kind is ChangeKind.TRUST:
                trust = self.trust
                continue
            section, key = SECTIONS[kind], _key(kind, entity_id)
            text = self.entities[section].get(key)
            if text is None:
                remove[section].append(key)
            else:
                upsert[section].append(text)
        upserts = ",".join(f'"{name}":[{",".join(texts)}]' for name, texts in upsert.items())
        return (
            f'{{"type":"delta","base":{base},"revision":{self.revision},"digest":"{digest}",'
            f'"upsert":{{{upserts}}},"remove":{canonical(remove)},"trust":{trust}}}\n'
        ).encode()

    def _socket(self, socket: SocketRecord) -> dict[str, Any]:
        own_port = SocketType(socket.socket_type).has_own_port
        basic_auth = {
            "username": socket.protected_username,
            "password": socket.protected_password,
        }
        return {
            "socket_id": socket.socket_id,
            "dns_name": socket.dns_name,
            "name": socket.name,
            "socket_type": socket.socket_type.value,
            "ports": [socket.port] if own_port else list(self.http_ports),
            "epoch": socket.epoch,
            "identity_required": socket.cloud_authentication_enabled,
            "basic_auth": basic_auth if socket.protected else None,
            "upstream_http_hostname": socket.upstream_http_hostname or None,
        }


def _members(socket: SocketRecord, told: Told) -> _Members:
    return _Members(kind_of(socket), told.key, told.rules.members(socket), told.number)


def _as_before(socket: SocketRecord, before: Mapping[str, _Members]) -> _Members:
    found = before.get(socket.socket_id)
    if found is not None and found.kind == kind_of(socket):
        return found
    return _Members(kind_of(socket), NO_KEY, CLOSED.members(socket), 0)


def _versions(socket: SocketRecord, key: Key) -> dict[str, int]:
    """Of which state the rules are that are told, and which are wanted if they are late."""
    if not is_enforced(socket):
        return {}
    wanted = key_of(socket).version
    found = {"rules_version": key.version} if key.version else {}
    return found if key.version == wanted else found | {"rules_wanted": wanted}


def heartbeat(revision: int) -> bytes:
    """The line that says that the gateway lives and nothing happened."""
    return f'{{"type":"heartbeat","revision":{revision}}}\n'.encode()


def _user_name(account_id: str) -> str:
    return account_id.replace("-", "")


def _key(kind: ChangeKind, entity_id: str) -> str:
    return _user_name(entity_id) if kind is ChangeKind.TUNNEL_USER else entity_id


def _tunnel(found: FeedTunnel) -> dict[str, Any]:
    return {
        "tunnel_id": found.tunnel.tunnel_id,
        "socket_id": found.tunnel.socket_id,
        "local_port": found.tunnel.local_port,
        "user_name": _user_name(found.account_id),
    }


def _tunnel_user(account: FeedAccount) -> dict[str, Any]:
    return {
        "user_name": _user_name(account.account_id),
        "public_keys": [account.ssh_key] if account.ssh_key else [],
        "generation": account.generation,
    }
