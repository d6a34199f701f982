"""What one Envoy has, wants and was just sent: the delta protocol without any I/O.

https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#incremental-xds
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.envoy.protos import CLUSTER, LISTENER, SECRET, discovery_pb2
from proxy.envoy.resources import Changes, Resource, ResourceKey

_ORDER = (CLUSTER, SECRET, LISTENER)
_WILDCARD = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A response Envoy rejected, wholly or in part, and in its own words why."""

    type_url: str
    names: frozenset[str]
    detail: str


@dataclass(slots=True)
class _Type:
    """One resource type on one stream."""

    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    has: dict[str, str] = field(default_factory=dict)
    """Versions this Envoy holds, by name."""
    pending: set[str] = field(default_factory=set)
    """Names whose state may differ from ``has``."""
    unanswered: bool = True
    """Nothing was sent yet: Envoy waits for an answer to its first question, be it empty."""
    refusal: str = ""

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names


class Subscriptions:
    """The state of one stream; ``wanted`` is shared with the server and read only."""

    def __init__(self, wanted: Mapping[ResourceKey, Resource]) -> None:
        self._wanted = wanted
        self._types: dict[str, _Type] = {}
        self._in_flight: tuple[str, str, frozenset[str]] | None = None
        self._count = 0

    @property
    def settled(self) -> bool:
        """Nothing left to send or to be acknowledged, and Envoy has asked for everything basic."""
        known = self._types.keys() >= {CLUSTER, LISTENER}
        return (
            known
            and self._in_flight is None
            and not any(one.pending for one in self._types.values())
        )

    @property
    def refusals(self) -> frozenset[str]:
        """Why resources of this stream are not in force."""
        return frozenset(one.refusal for one in self._types.values() if one.refusal)

    def change(self, changes: Changes) -> None:
        for type_url, name in (*changes.upserted, *changes.removed):
            one = self._types.get(type_url)
            if one is not None and one.wants(name):
                one.pending.add(name)

    def take(self, request: Any) -> Refused | None:
        """Process a subscription, an acknowledgement or a refusal."""
        first = request.type_url not in self._types
        one = self._types.setdefault(request.type_url, _Type())
        if first:
            one.has.update(request.initial_resource_versions)
            one.wildcard = not request.resource_names_subscribe
        self._subscribe(request.type_url, one, request, first=first)
        return self._acknowledged(one, request) if request.response_nonce else None

    def offer_again(self, refused: Refused) -> None:
        """Forget that Envoy was given these names, so that they are sent once more."""
        one = self._types[refused.type_url]
        for name in refused.names:
            one.has.pop(name, None)
        one.pending |= refused.names

    def next_response(self, revision: int) -> Any | None:
        """The next message to send, or ``None`` while one is unanswered or nothing differs."""
        if self._in_flight is not None:
            return None
        for type_url in (*_ORDER, CLUSTER):
            later = type_url == CLUSTER and any(
                self._types[other].pending for other in _ORDER[1:] if other in self._types
            )
            response = self._difference(type_url, revision, removals=not later)
            if response is not None:
                return response
        return None

    def _subscribe(self, type_url: str, one: _Type, request: Any, *, first: bool) -> None:
        added = set(request.resource_names_subscribe)
        removed = set(request.resource_names_unsubscribe)
        one.wildcard = (one.wildcard or _WILDCARD in added) and _WILDCARD not in removed
        one.names = (one.names | added) - removed - {_WILDCARD}
        for name in removed:
            one.has.pop(name, None)
        if first or _WILDCARD in added:
            one.pending |= {name for kind, name in self._wanted if kind == type_url}
            one.pending |= one.has.keys()
        one.pending |= added - {_WILDCARD}
        one.pending = {name for name in one.pending if one.wants(name) or name in one.has}

    def _acknowledged(self, one: _Type, request: Any) -> Refused | None:
        if self._in_flight is None or self._in_flight[1] != request.response_nonce:
            return None
        type_url, _, names = self._in_flight
        self._in_flight = None
        detail = request.error_detail.message
        one.refusal = detail
        return Refused(type_url=type_url, names=names, detail=detail) if detail else None

    def _difference(self, type_url: str, revision: int, *, removals: bool) -> Any | None:
        one = self._types.get(type_url)
        if one is None or not (one.pending or one.unanswered):
            return None
        response = discovery_pb2.DeltaDiscoveryResponse(
            type_url=type_url, system_version_info=str(revision)
        )
        for name in sorted(one.pending):
            if self._add(response, one, type_url, name, removals=removals):
                one.pending.discard(name)
        if not (response.resources or response.removed_resources or one.unanswered):
            return None
        one.unanswered = False
        self._count += 1
        response.nonce = str(self._count)
        sent = {resource.name for resource in response.resources}
        self._in_flight = (type_url, response.nonce, frozenset(sent))
        return response

    def _add(self, response: Any, one: _Type, type_url: str, name: str, *, removals: bool) -> bool:
        resource = self._wanted.get((type_url, name))
        if resource is None:
            if not removals:
                return False
            # A name asked for by itself is answered even if there is none, or Envoy waits for it.
            if one.has.pop(name, None) is not None or name in one.names:
                response.removed_resources.append(name)
        elif one.has.get(name) != resource.version:
            entry = response.resources.add(name=name, version=resource.version)
            entry.resource.type_url = type_url
            entry.resource.value = resource.content
            one.has[name] = resource.version
        return True
