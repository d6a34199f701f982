"""What is served to Envoy: named resources as bytes, grouped by the socket they come from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from proxy.envoy import tls
from proxy.envoy.protos import encode
from proxy.envoy.settings import EnvoySettings
from proxy.state import Trust

ResourceKey = tuple[str, str]
"""Type URL and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One serialised message and the version that its content is."""

    content: bytes = field(repr=False)
    version: str

    @classmethod
    def of(cls, type_url: str, config: Mapping[str, Any]) -> "Resource":
        """Serialise ``config``; equal content has equal versions, across restarts too."""
        content = encode(type_url, config)
        return cls(content=content, version=sha256(content).hexdigest()[:16])


Group = Mapping[ResourceKey, Resource]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedInputs:
    """What the resources of no socket in particular were made from."""

    trust: Trust
    settings: EnvoySettings
    certificate: tls.ServerCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Everything one revision means to Envoy. Groups that did not change keep their identity."""

    inputs: SharedInputs = field(repr=False)
    shared: Group
    sockets: Mapping[str, Group] = field(default_factory=lambda: MappingProxyType({}))
    """By socket id."""
    refused: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Sockets that get nothing because nothing safe can be built; socket id to stable reason."""

    def groups(self) -> Iterator[Group]:
        yield self.shared
        yield from self.sockets.values()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What to send to turn one set of resources into another."""

    upserted: Mapping[ResourceKey, Resource]
    removed: frozenset[ResourceKey]


def diff(old: Resources | None, new: Resources) -> Changes:
    """Compare two sets; groups that are the same object are passed over without a look."""
    upserted: dict[ResourceKey, Resource] = {}
    gone: set[ResourceKey] = set()
    for before, after in _pairs(old, new):
        if before is after:
            continue
        upserted |= {key: one for key, one in after.items() if before.get(key) != one}
        gone |= before.keys() - after.keys()
    return Changes(upserted=upserted, removed=frozenset(gone - upserted.keys()))


def _pairs(old: Resources | None, new: Resources) -> Iterator[tuple[Group, Group]]:
    nothing: Group = {}
    yield (old.shared if old else nothing), new.shared
    before: Mapping[str, Group] = old.sockets if old else {}
    get = before.get
    # One expression, for it runs over every socket at each change.
    for socket_id in [key for key, group in new.sockets.items() if get(key) is not group]:
        yield get(socket_id, nothing), new.sockets[socket_id]
    for socket_id in before.keys() - new.sockets.keys():
        yield before[socket_id], nothing
