"""The discovery server: one delta stream per Envoy over a unix socket (xDS, incremental ADS).

``publish`` replaces what should be; every connected Envoy is sent the difference to what it has,
one answer at a time, each acknowledged before the next: clusters, secrets, listeners, and clusters
that are gone last, so that no listener ever points at nothing. Versions are content hashes, so an
Envoy that reconnects, to this process or the next, is sent only what differs.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio

from proxy.envoy.discovery_stream import Refused, Subscriptions
from proxy.envoy.errors import DiscoveryRejectedError, DiscoveryTimeoutError
from proxy.envoy.protos import discovery_pb2
from proxy.envoy.resources import Changes, Resource, ResourceKey, Resources, diff

_LOG = logging.getLogger(__name__)
_METHOD = "envoy.service.discovery.v3.AggregatedDiscoveryService"


class DiscoveryServer:
    """Serves the newest published resources; use within one event loop.

    ``retry_seconds`` is the pause before a refused resource is offered again: a port that another
    program held, say, may be free by then.
    """

    def __init__(self, socket_path: Path, *, retry_seconds: float = 5.0) -> None:
        self._path = socket_path
        self._retry_seconds = retry_seconds
        self._resources: Resources | None = None
        self._wanted: dict[ResourceKey, Resource] = {}
        self._revision = 0
        self._acked = 0
        self._streams: set[_Stream] = set()
        self._progress = asyncio.Event()
        self._server: grpc.aio.Server | None = None

    @property
    def acked_revision(self) -> int:
        """Newest revision that an Envoy has in force, refused resources excepted; 0 for none."""
        return self._acked

    async def start(self) -> None:
        """Listen; a stale socket file of an earlier run is replaced."""
        self._path.unlink(missing_ok=True)
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        method = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
        )
        handlers = {"DeltaAggregatedResources": method}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_METHOD, handlers),))
        server.add_insecure_port(f"unix:{self._path}")
        await server.start()
        self._path.chmod(0o600)
        self._server = server

    async def stop(self) -> None:
        """Hang up on every Envoy, which keeps what it has."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None
        self._path.unlink(missing_ok=True)

    def publish(self, resources: Resources, revision: int) -> None:
        """Make ``resources`` what every Envoy should have; returns at once."""
        changes = diff(self._resources, resources)
        self._resources = resources
        self._revision = revision
        self._wanted |= changes.upserted
        for key in changes.removed:
            self._wanted.pop(key, None)
        for stream in self._streams:
            stream.change(changes, revision)

    async def wait_acked(self, revision: int, timeout: float) -> None:  # noqa: ASYNC109 - a domain limit
        """Wait until an Envoy has ``revision`` or a later one in force.

        Raises:
            DiscoveryTimeoutError: not within ``timeout`` seconds.
            DiscoveryRejectedError: the revision is in force but for resources Envoy refused.
        """
        try:
            async with asyncio.timeout(timeout):
                while self._acked < revision:
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            raise DiscoveryTimeoutError(f"revision {revision} is not acknowledged") from None
        refused = {detail for stream in self._streams for detail in stream.refusals}
        if refused:
            raise DiscoveryRejectedError("; ".join(sorted(refused)))

    async def _serve(
        self, requests: AsyncIterator[Any], _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        stream = _Stream(self._wanted, self._revision, self._acknowledge)
        self._streams.add(stream)
        reader = asyncio.create_task(self._read(stream, requests))
        try:
            async for response in stream.responses():
                yield response
        finally:
            reader.cancel()
            self._streams.discard(stream)

    async def _read(self, stream: "_Stream", requests: AsyncIterator[Any]) -> None:
        try:
            async for request in requests:
                refused = stream.take(request)
                if refused is not None:
                    _LOG.error("Envoy refused resources: %.2000s", refused.detail)
                    asyncio.get_running_loop().call_later(
                        self._retry_seconds, stream.offer_again, refused
                    )
        finally:
            stream.close()

    def _acknowledge(self, revision: int) -> None:
        self._acked = max(self._acked, revision)
        self._progress.set()


class _Stream:
    """One connected Envoy: wakes its writer whenever there may be something to send."""

    def __init__(
        self, wanted: dict[ResourceKey, Resource], revision: int, acknowledge: Any
    ) -> None:
        self._subscriptions = Subscriptions(wanted)
        self._revision = revision
        self._acknowledge = acknowledge
        self._wake = asyncio.Event()
        self._open = True

    @property
    def refusals(self) -> frozenset[str]:
        return self._subscriptions.refusals

    def change(self, changes: Changes, revision: int) -> None:
        self._subscriptions.change(changes)
        self._revision = revision
        self._wake.set()

    def take(self, request: Any) -> Refused | None:
        refused = self._subscriptions.take(request)
        self._wake.set()
        return refused

    def offer_again(self, refused: Refused) -> None:
        self._subscriptions.offer_again(refused)
        self._wake.set()

    def close(self) -> None:
        self._open = False
        self._wake.set()

    async def responses(self) -> AsyncIterator[Any]:
        while self._open:
            self._wake.clear()
            response = self._subscriptions.next_response(self._revision)
            if response is not None:
                yield response
                continue
            if self._subscriptions.settled:
                self._acknowledge(self._revision)
            await self._wake.wait()
