"""Tells the gateway which revision is in force: after Envoy has said so, and never before."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import httpx

from proxy.envoy.errors import DiscoveryRejectedError, DiscoveryTimeoutError
from proxy.errors import GatewayUnavailable
from proxy.gateway import post

ACK_PATH = "/internal/feed/ack"
ACK_WAIT = 5.0
REFUSAL_PAUSE = 2.0
RETRY = 0.5
WEB_LISTENER_REFUSED = re.compile(r"\bhttps?: ")
"""In Envoy's message: the listener of every HTTP socket is not in force, say because another
program has the port. Such an edge is not ready."""

log = logging.getLogger(__name__)


class _Served(NamedTuple):
    """A revision that is in force, and the sockets whose address rules are of before."""

    revision: int
    late: tuple[str, ...] | None
    """``None`` if they are too many to be named."""


class Acknowledgements:
    """Follows publications to Envoy, one after the other; the latest is what counts."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        edge_id: str,
        wait_acked: Callable[[int, float], Awaitable[None]],
        on_ready: Callable[[], None],
        retry: float = RETRY,
    ) -> None:
        """``wait_acked`` is the discovery server's; ``on_ready`` is told once, when the first
        publication is in force. ``retry``: seconds until a lost acknowledgement is sent again."""
        self._client = client
        self._edge_id = edge_id
        self._wait_acked = wait_acked
        self._on_ready = on_ready
        self._retry = retry
        self._wake = asyncio.Event()
        self._publication = 0
        self._served = _Served(0, ())
        self._told: _Served | None = None

    def published(self, publication: int, revision: int, late: tuple[str, ...] | None = ()) -> None:
        """Envoy is given ``revision`` of the state as its ``publication`` of that number, with
        older address rules of the sockets that are ``late``.
        """
        self._publication = publication
        self._served = _Served(revision, late)
        self._wake.set()

    def gateway_changed(self) -> None:
        """A gateway that was restarted has forgotten what this edge acknowledged."""
        self._told = None
        if self._publication:
            self._wake.set()

    async def run(self) -> None:
        """Acknowledge until cancelled."""
        ready = False
        while True:
            await self._wake.wait()
            self._wake.clear()
            served = self._served
            if not await self._in_force(self._publication):
                self._wake.set()
                continue
            if not ready:
                self._on_ready()
                ready = True
            if served != self._told and not await self._tell(served):
                await asyncio.sleep(self._retry)
                self._wake.set()

    async def _in_force(self, publication: int) -> bool:
        try:
            await self._wait_acked(publication, ACK_WAIT)
        except DiscoveryTimeoutError:
            log.warning("Envoy does not answer")
            return False
        except DiscoveryRejectedError as error:
            log.error("Envoy refuses a part of the configuration: %s", error)  # noqa: TRY400
            if WEB_LISTENER_REFUSED.search(str(error)):
                await asyncio.sleep(REFUSAL_PAUSE)
                return False
            # The rest is in force; one socket's trouble must not hold up everybody's changes.
        return True

    async def _tell(self, served: _Served) -> bool:
        # Noted before the answer: another gateway that connects meanwhile is told once more.
        self._told = served
        body: dict[str, Any] = {"edge_id": self._edge_id, "revision": served.revision}
        if (
            served.late != ()
        ):  # a gateway of before has none that are late, and takes no such member
            body["late"] = None if served.late is None else list(served.late)
        try:
            await post(self._client, ACK_PATH, body)
        except GatewayUnavailable as error:
            log.info("the gateway is not told of revision %d: %s", served.revision, error)
            self._told = None
            return False
        return True
