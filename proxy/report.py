"""Tells the gateway which tunnels are connected: everything now and then, else what changed."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import httpx

from proxy.errors import GatewayUnavailable
from proxy.gateway import post
from proxy.tunnels.table import ConnectedTunnel, TunnelTable

REPORT_PATH = "/internal/report"
MAX_ENTRIES = 16_384
"""The gateway takes no longer list at a time."""
GATHER = 0.05
"""Seconds from one report to the next, in which changes are collected."""
RETRY = 2.0

log = logging.getLogger(__name__)

_Item = TypeVar("_Item")


class TunnelReports:
    """One edge's reports."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        edge_id: str,
        table: TunnelTable,
        interval: float,
        retry: float = RETRY,
    ) -> None:
        """``interval`` is from one whole report to the next, in seconds; ``retry`` the pause after
        one that did not get through."""
        self._client = client
        self._edge_id = edge_id
        self._table = table
        self._interval = interval
        self._retry = retry
        self._wake = asyncio.Event()
        self._changed: set[str] = set()
        self._whole_due = True
        self._takes_changes = True
        self.ssh_host_key = ""
        self._server_ca = ""

    def certified_by(self, server_ca: str) -> None:
        """Which issuing CA the certificate is of that this edge shows."""
        self._server_ca = server_ca
        self._whole_due = True
        self._wake.set()

    def changed(self, tunnel_id: str) -> None:
        """The tunnel was attached or detached."""
        self._changed.add(tunnel_id)
        self._wake.set()

    def gateway_changed(self) -> None:
        """The gateway that answers now may be another one, which knows nothing of this edge."""
        self._takes_changes = True
        self._whole_due = True
        self._wake.set()

    async def run(self) -> None:
        """Report until cancelled."""
        loop = asyncio.get_running_loop()
        last_whole = -self._interval
        while True:
            whole = self._whole_due or loop.time() >= last_whole + self._interval
            try:
                if whole:
                    last_whole = loop.time()
                    await self._report_all()
                else:
                    await self._report_changes()
            except GatewayUnavailable as error:
                # What was lost with it is in the next one.
                self._whole_due = True
                if not whole and error.status == httpx.codes.BAD_REQUEST:
                    self._takes_changes = False
                    continue
                log.info("no report: %s", error)
                await asyncio.sleep(self._retry)
                continue
            await self._wait_for_change(last_whole + self._interval - loop.time())

    async def _wait_for_change(self, longest: float) -> None:
        # After a report, not before one: a change on its own is told at once.
        await asyncio.sleep(GATHER)
        try:
            async with asyncio.timeout(max(0.0, longest)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
        if not self._takes_changes:
            self._whole_due = True

    async def _report_all(self) -> None:
        self._whole_due = False
        self._changed.clear()
        tunnels = list(self._table.connected().values())
        first, *others = list(_lists(tunnels)) or [[]]
        listed = await asyncio.to_thread(_entries, first)
        about = {"ssh_host_key": self.ssh_host_key, "server_ca": self._server_ca}
        await self._post(**about, tunnels=listed)
        for part in others:
            await self._post(changed=await asyncio.to_thread(_entries, part))

    async def _report_changes(self) -> None:
        changed, self._changed = self._changed, set()
        connected = self._table.connected()
        present = [connected[tunnel_id] for tunnel_id in changed if tunnel_id in connected]
        gone = [tunnel_id for tunnel_id in changed if tunnel_id not in connected]
        for part in _lists(present):
            await self._post(changed=await asyncio.to_thread(_entries, part))
        for names in _lists(gone):
            await self._post(gone=names)

    async def _post(self, **content: Any) -> None:
        await post(self._client, REPORT_PATH, {"edge_id": self._edge_id, **content})


def _lists(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    remaining = iter(items)
    while part := list(islice(remaining, MAX_ENTRIES)):
        yield part


def _entries(tunnels: Sequence[ConnectedTunnel]) -> list[dict[str, str]]:
    return [
        {
            "tunnel_id": item.tunnel_id,
            "connected_at": item.connected_at.isoformat(),
            "peer": item.peer,
        }
        for item in tunnels
    ]
