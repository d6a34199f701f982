"""The gateway's feed, read strictly: one line is one message, one message leads to one state.

``docs/internals.md`` is the contract. Every message is parsed once, by models that refuse keys
nobody knows; what follows works on the frozen values of ``proxy.state``. The digest closes the
loop: an edge that came to another state than the gateway notices, and asks for everything anew.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from policy.types import SocketType
from proxy.errors import FeedError
from proxy.state import BasicAuth, EdgeSocket, EdgeState, EdgeTunnel, Trust, TunnelUser

MAX_MESSAGE_BYTES = 256 * 1024 * 1024
"""Longest line of a feed; a snapshot of a hundred thousand sockets has about a fifth of it."""

Identifier = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$")]
"""Becomes part of file names and resource names, so no dot and no slash."""
UserName = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
DnsName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+$", max_length=253)]
Port = Annotated[int, Field(ge=1, le=65535)]
Revision = Annotated[int, Field(ge=0)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,16384}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _BasicAuth(_Strict):
    username: str
    password: str


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


class _Tunnel(_Strict):
    tunnel_id: Identifier
    socket_id: Identifier
    local_port: Port
    user_name: UserName


class _TunnelUser(_Strict):
    user_name: UserName
    public_keys: list[str]
    """As their owners gave them: one that cannot be read must not stop everybody's feed."""


class _Trust(_Strict):
    issuer: str
    session_jwks: dict[str, Any]
    client_ca: str
    tunnel_user_ca: Annotated[list[Line], Field(max_length=64)]


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
    """The canonical JSON of states, entry by entry: what did not change is not encoded again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[object, str]] = {}

    def body(self, state: EdgeState) -> bytes:
        """Canonical JSON of the whole STATE."""
        known: dict[tuple[str, str], tuple[object, str]] = {}
        sections = [
            self._section("sockets", state.sockets, _socket_document, known),
            f'"trust":{canonical(_trust_document(state.trust)).decode()}',
            self._section("tunnel_users", state.tunnel_users, _tunnel_user_document, known),
            self._section("tunnels", state.tunnels, _tunnel_document, known),
        ]
        self._known = known
        return ("{" + ",".join(sections) + "}").encode()

    def digest(self, state: EdgeState) -> str:
        """SHA-256 (hex) of ``body``."""
        return hashlib.sha256(self.body(state)).hexdigest()

    def _section(
        self,
        name: str,
        items: Mapping[str, _Item],
        encode: Callable[[_Item], dict[str, Any]],
        known: dict[tuple[str, str], tuple[object, str]],
    ) -> str:
        parts = []
        for key in sorted(items):
            item = items[key]
            entry = self._known.get((name, key))
            if entry is None or entry[0] is not item:
                entry = (item, f"{json.dumps(key)}:{canonical(encode(item)).decode()}")
            known[name, key] = entry
            parts.append(entry[1])
        return f'"{name}":{{' + ",".join(parts) + "}"


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
    body = (texts or CanonicalTexts()).body(state)
    found = hashlib.sha256(body).hexdigest()
    head = f'{{"digest":"{found}","revision":{state.revision},"state":'
    return head.encode() + body + b',"type":"snapshot"}'


def _frozen(items: dict[str, _Item]) -> Mapping[str, _Item]:
    return MappingProxyType(items)


def _merged(
    current: Mapping[str, _Item], upsert: Iterable[tuple[str, _Item]], remove: Iterable[str]
) -> Mapping[str, _Item]:
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
    )


def _trust_document(item: Trust) -> dict[str, Any]:
    return {
        "issuer": item.issuer,
        "session_jwks": dict(item.session_jwks),
        "client_ca": item.client_ca,
        "tunnel_user_ca": list(item.tunnel_user_ca),
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
    )


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
    }


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
    return TunnelUser(user_name=item.user_name, public_keys=tuple(item.public_keys))


def _tunnel_user_document(item: TunnelUser) -> dict[str, Any]:
    return {"user_name": item.user_name, "public_keys": list(item.public_keys)}
