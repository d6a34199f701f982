"""The gateway's feed, read strictly: one line is one message, one message leads to one state.

``docs/internals.md`` is the contract. Every message is parsed once, by models that refuse keys
nobody knows; what follows works on the frozen values of ``proxy.state``. The digest closes the
loop: an edge that came to another state than the gateway notices, and asks for everything anew.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from policy.types import IPNetwork, SocketType
from proxy.errors import FeedError
from proxy.state import (
    ANYWHERE,
    BasicAuth,
    EdgeSocket,
    EdgeState,
    EdgeTunnel,
    SourceRule,
    Trust,
    TunnelUser,
    changed_keys,
)

MAX_MESSAGE_BYTES = 256 * 1024 * 1024
"""Longest line of a feed; a snapshot of a hundred thousand sockets has about a fifth of it."""

Identifier = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$")]
"""Becomes part of file names and resource names, so no dot and no slash."""
UserName = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
DnsName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+$", max_length=253)]
Port = Annotated[int, Field(ge=1, le=65535)]
Revision = Annotated[int, Field(ge=0)]
Version = Annotated[int, Field(ge=1)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,16384}$")]
SourceId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


def _canonical_network(text: str) -> str:
    """As the gateway writes it, or the digest of what was read would be another one."""
    if str(ip_network(text)) != text or "%" in text:
        raise ValueError("not in canonical form")
    return text


Network = Annotated[str, Field(max_length=49), AfterValidator(_canonical_network)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _BasicAuth(_Strict):
    username: str
    password: str


class _SourceRule(_Strict):
    allow: list[Network] | None
    deny: list[Network]


def _says_something(rule: _SourceRule) -> _SourceRule:
    if rule.allow is None and not rule.deny:
        raise ValueError("a rule that says nothing is left out")
    return rule


def _true(value: bool) -> bool:  # noqa: FBT001 - as pydantic calls it
    if not value:
        raise ValueError("what is not so is left out")
    return value


class _Socket(_Strict):
    socket_id: Identifier
    dns_name: DnsName
    name: str
    socket_type: Literal["http", "https", "tcp", "tls"]
    ports: list[Port]
    epoch: Revision
    identity_required: bool
    basic_auth: _BasicAuth | None
    upstream_http_hostname: str | None
    # Left out where there are no rules about addresses, as by gateways that know of none.
    source_rule: Annotated[_SourceRule, AfterValidator(_says_something)] = _SourceRule(
        allow=None, deny=[]
    )
    source_sets: dict[SourceId, list[Network]] = Field(default={}, min_length=1)
    source_rules_too_large: Annotated[bool, AfterValidator(_true)] = False
    rules_version: Version = 0
    # Never null: one that is not wanted is left out.
    rules_wanted: Version = 0


class _Tunnel(_Strict):
    tunnel_id: Identifier
    socket_id: Identifier
    local_port: Port
    user_name: UserName


class _TunnelUser(_Strict):
    user_name: UserName
    public_keys: list[str]
    """As their owners gave them: one that cannot be read must not stop everybody's feed."""
    generation: Annotated[int, Field(ge=1)]


class _Trust(_Strict):
    issuer: str
    session_jwks: dict[str, Any]
    client_ca: str
    tunnel_user_ca: Annotated[list[Line], Field(max_length=64)]
    tunnel_user_ca_past: Annotated[list[Line], Field(max_length=64)]


class _State(_Strict):
    trust: _Trust
    sockets: dict[Identifier, _Socket]
    tunnels: dict[Identifier, _Tunnel]
    tunnel_users: dict[UserName, _TunnelUser]


class _Upsert(_Strict):
    sockets: list[_Socket]
    tunnels: list[_Tunnel]
    tunnel_users: list[_TunnelUser]


class _Remove(_Strict):
    sockets: list[Identifier]
    tunnels: list[Identifier]
    tunnel_users: list[UserName]


class Snapshot(_Strict):
    """The whole state at a revision."""

    type: Literal["snapshot"]
    revision: Revision
    digest: Digest
    state: _State


class Delta(_Strict):
    """What changed between two revisions."""

    type: Literal["delta"]
    base: Revision
    revision: Revision
    digest: Digest
    upsert: _Upsert
    remove: _Remove
    trust: _Trust | None


class Heartbeat(_Strict):
    """The gateway lives and is at this revision."""

    type: Literal["heartbeat"]
    revision: Revision


Message = Snapshot | Delta | Heartbeat
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def parse_message(line: bytes) -> Message:
    """Read one line of the feed.

    Raises:
        FeedError: ``malformed``; too long, not JSON, an unknown key, a wrong type or value.
    """
    if len(line) > MAX_MESSAGE_BYTES:
        raise FeedError("malformed", f"a feed message of {len(line)} bytes is too long")
    try:
        return _MESSAGE.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise FeedError("malformed", f"feed message: {where}: {first['msg']}") from error


def apply(
    state: EdgeState | None, message: Snapshot | Delta, texts: "CanonicalTexts | None" = None
) -> EdgeState:
    """The state after ``message``; ``texts`` kept from call to call make a delta's digest cheap.

    Raises:
        FeedError: ``gap``, the delta does not start at ``state``; ``digest-mismatch``, the result
            is not what the gateway has; ``inconsistent``, an entry under another's id. The edge
            then asks for a snapshot.
    """
    result = _from_snapshot(message) if isinstance(message, Snapshot) else _changed(state, message)
    if (texts or CanonicalTexts()).digest(result) != message.digest:
        raise FeedError(
            "digest-mismatch", f"another state than the gateway's at {message.revision}"
        )
    return result


def _from_snapshot(message: Snapshot) -> EdgeState:
    state = message.state
    keyed = (
        all(key == item.socket_id for key, item in state.sockets.items())
        and all(key == item.tunnel_id for key, item in state.tunnels.items())
        and all(key == item.user_name for key, item in state.tunnel_users.items())
    )
    if not keyed:
        raise FeedError("inconsistent", "a snapshot's entry is filed under another's id")
    return EdgeState(
        revision=message.revision,
        trust=_trust(state.trust),
        sockets=_frozen({key: _socket(item) for key, item in state.sockets.items()}),
        tunnels=_frozen({key: _tunnel(item) for key, item in state.tunnels.items()}),
        tunnel_users=_frozen({key: _tunnel_user(item) for key, item in state.tunnel_users.items()}),
    )


def _changed(state: EdgeState | None, delta: Delta) -> EdgeState:
    if state is None or delta.base != state.revision or delta.revision <= delta.base:
        have = "nothing" if state is None else state.revision
        raise FeedError("gap", f"a delta from {delta.base} to {delta.revision} on top of {have}")
    upsert, remove = delta.upsert, delta.remove
    sockets = ((item.socket_id, _socket(item)) for item in upsert.sockets)
    tunnels = ((item.tunnel_id, _tunnel(item)) for item in upsert.tunnels)
    users = ((item.user_name, _tunnel_user(item)) for item in upsert.tunnel_users)
    return EdgeState(
        revision=delta.revision,
        trust=state.trust if delta.trust is None else _trust(delta.trust),
        sockets=_merged(state.sockets, sockets, remove.sockets),
        tunnels=_merged(state.tunnels, tunnels, remove.tunnels),
        tunnel_users=_merged(state.tunnel_users, users, remove.tunnel_users),
    )


_Item = TypeVar("_Item")


class CanonicalTexts:
    """The canonical JSON of states; what did not change since the last one is not encoded again.

    One thread at a time may use it.
    """

    def __init__(self) -> None:
        self._sockets = _Section("sockets", _socket_document)
        self._users = _Section("tunnel_users", _tunnel_user_document)
        self._tunnels = _Section("tunnels", _tunnel_document)
        self._last: tuple[EdgeState, bytes, str] | None = None

    def body(self, state: EdgeState) -> bytes:
        """Canonical JSON of the whole STATE."""
        return self._of(state)[0]

    def digest(self, state: EdgeState) -> str:
        """SHA-256 (hex) of ``body``."""
        return self._of(state)[1]

    def _of(self, state: EdgeState) -> tuple[bytes, str]:
        if self._last is None or self._last[0] is not state:
            sections = [
                self._sockets.text(state.sockets),
                b'"trust":' + canonical(_trust_document(state.trust)),
                self._users.text(state.tunnel_users),
                self._tunnels.text(state.tunnels),
            ]
            body = b"{" + b",".join(sections) + b"}"
            self._last = (state, body, hashlib.sha256(body).hexdigest())
        return self._last[1:]


class _Section(Generic[_Item]):
    """One mapping of the state as canonical JSON, renewed entry by entry."""

    def __init__(self, name: str, encode: Callable[[_Item], dict[str, Any]]) -> None:
        self._name = name
        self._encode = encode
        self._items: Mapping[str, _Item] = {}
        self._texts: dict[str, bytes] = {}
        """In the order of the keys."""
        self._text = self._joined()

    def text(self, items: Mapping[str, _Item]) -> bytes:
        if items is not self._items:
            self._renew(items)
        return self._text

    def _renew(self, items: Mapping[str, _Item]) -> None:
        moved = False
        for key in changed_keys(self._items, items):
            moved = moved or key not in self._texts or key not in items
            if key in items:
                text = canonical(key) + b":" + canonical(self._encode(items[key]))
                self._texts[key] = text
            else:
                del self._texts[key]
        if moved:
            self._texts = {key: self._texts[key] for key in sorted(self._texts)}
        self._items = items
        self._text = self._joined()

    def _joined(self) -> bytes:
        return f'"{self._name}":{{'.encode() + b",".join(self._texts.values()) + b"}"


def digest(state: EdgeState) -> str:
    """SHA-256 (hex) of the state's canonical JSON; the revision is not part of it."""
    return CanonicalTexts().digest(state)


def canonical(value: object) -> bytes:
    """JSON with sorted keys and without blanks, in UTF-8, characters unescaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def document(state: EdgeState) -> dict[str, Any]:
    """The STATE object of the contract."""
    return {
        "trust": _trust_document(state.trust),
        "sockets": {key: _socket_document(item) for key, item in state.sockets.items()},
        "tunnels": {key: _tunnel_document(item) for key, item in state.tunnels.items()},
        "tunnel_users": {
            key: _tunnel_user_document(item) for key, item in state.tunnel_users.items()
        },
    }


def snapshot_line(state: EdgeState, texts: CanonicalTexts | None = None) -> bytes:
    """``state`` as the snapshot message that leads to it; what an edge keeps on disk."""
    texts = texts or CanonicalTexts()
    body = texts.body(state)
    head = f'{{"digest":"{texts.digest(state)}","revision":{state.revision},"state":'
    return head.encode() + body + b',"type":"snapshot"}'


def _frozen(items: dict[str, _Item]) -> Mapping[str, _Item]:
    return MappingProxyType(items)


def _merged(
    current: Mapping[str, _Item], upsert: Iterable[tuple[str, _Item]], remove: Iterable[str]
) -> Mapping[str, _Item]:
    upsert, remove = list(upsert), list(remove)
    if not (upsert or remove):
        return current
    items = dict(current)
    for key in remove:
        items.pop(key, None)
    items.update(upsert)
    return _frozen(items)


def _trust(item: _Trust) -> Trust:
    return Trust(
        issuer=item.issuer,
        session_jwks=MappingProxyType(item.session_jwks),
        client_ca=item.client_ca,
        tunnel_user_ca=tuple(item.tunnel_user_ca),
        tunnel_user_ca_past=tuple(item.tunnel_user_ca_past),
    )


def _trust_document(item: Trust) -> dict[str, Any]:
    return {
        "issuer": item.issuer,
        "session_jwks": dict(item.session_jwks),
        "client_ca": item.client_ca,
        "tunnel_user_ca": list(item.tunnel_user_ca),
        "tunnel_user_ca_past": list(item.tunnel_user_ca_past),
    }


def _socket(item: _Socket) -> EdgeSocket:
    auth = item.basic_auth
    return EdgeSocket(
        socket_id=item.socket_id,
        dns_name=item.dns_name,
        name=item.name,
        socket_type=SocketType(item.socket_type),
        ports=tuple(item.ports),
        epoch=item.epoch,
        identity_required=item.identity_required,
        basic_auth=None if auth is None else BasicAuth(**auth.model_dump()),
        upstream_http_hostname=item.upstream_http_hostname,
        source_rule=_source_rule(item.source_rule),
        source_sets=_frozen({key: _networks(texts) for key, texts in item.source_sets.items()}),
        source_rules_too_large=item.source_rules_too_large,
        rules_version=item.rules_version,
        rules_wanted=item.rules_wanted or None,
    )


def _source_rule(item: _SourceRule) -> SourceRule:
    allow = None if item.allow is None else _networks(item.allow)
    return SourceRule(allow=allow, deny=_networks(item.deny))


def _networks(texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(text) for text in texts)


def _socket_document(item: EdgeSocket) -> dict[str, Any]:
    auth = item.basic_auth
    return {
        "socket_id": item.socket_id,
        "dns_name": item.dns_name,
        "name": item.name,
        "socket_type": item.socket_type.value,
        "ports": list(item.ports),
        "epoch": item.epoch,
        "identity_required": item.identity_required,
        "basic_auth": auth and {"username": auth.username, "password": auth.password},
        "upstream_http_hostname": item.upstream_http_hostname,
        **_address_rules(item),
    }


def _address_rules(item: EdgeSocket) -> dict[str, Any]:
    """The members that are there only if they say something."""
    rule, found = item.source_rule, dict[str, Any]()
    if item.source_rules_too_large:
        found["source_rules_too_large"] = True
    if item.rules_version:
        found["rules_version"] = item.rules_version
    if item.rules_wanted is not None:
        found["rules_wanted"] = item.rules_wanted
    if rule != ANYWHERE:
        allow = None if rule.allow is None else list(map(str, rule.allow))
        found["source_rule"] = {"allow": allow, "deny": list(map(str, rule.deny))}
    if item.source_sets:
        found["source_sets"] = {
            key: list(map(str, networks)) for key, networks in item.source_sets.items()
        }
    return found


def _tunnel(item: _Tunnel) -> EdgeTunnel:
    return EdgeTunnel(
        tunnel_id=item.tunnel_id,
        socket_id=item.socket_id,
        local_port=item.local_port,
        user_name=item.user_name,
    )


def _tunnel_document(item: EdgeTunnel) -> dict[str, Any]:
    return {
        "tunnel_id": item.tunnel_id,
        "socket_id": item.socket_id,
        "local_port": item.local_port,
        "user_name": item.user_name,
    }


def _tunnel_user(item: _TunnelUser) -> TunnelUser:
    return TunnelUser(
        user_name=item.user_name,
        public_keys=tuple(item.public_keys),
        generation=item.generation,
    )


def _tunnel_user_document(item: TunnelUser) -> dict[str, Any]:
    return {
        "user_name": item.user_name,
        "public_keys": list(item.public_keys),
        "generation": item.generation,
    }
