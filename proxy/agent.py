"""The edge's one loop: what the gateway says and which tunnels are connected, turned into Envoy's
configuration.

State, tunnels and certificate each wake the loop; it builds, publishes and goes back to sleep. A
second task waits for Envoy's acknowledgement and passes it on to the gateway. None of this is in
the way of a request: Envoy serves what it was last told, whatever happens here.
"""

import asyncio
import logging
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from proxy.acknowledge import Acknowledgements
from proxy.clock import Clock
from proxy.endpoints import EndpointPaths
from proxy.envoy.admin import reopen_logs
from proxy.envoy.build import build
from proxy.envoy.discovery import DiscoveryServer
from proxy.envoy.request_file import RequestFile
from proxy.envoy.resources import Resources
from proxy.envoy.settings import EnvoySettings
from proxy.envoy.supervisor import EnvoySupervisor
from proxy.envoy.tls import ServerCertificate
from proxy.feed_client import FeedFollower, load_snapshot
from proxy.files import write_private
from proxy.held_rules import late_sockets
from proxy.report import TunnelReports
from proxy.request_log import RequestScreens
from proxy.server_certificate import CertificateKeeper, KeyAndChain
from proxy.settings import EdgeSettings
from proxy.state import EdgeSocket, EdgeState, changed_keys
from proxy.tunnels.base import TunnelBackend
from proxy.tunnels.table import ConnectedTunnel, TunnelTable

SNAPSHOT_NAME = "snapshot.json"
READY_NAME = "edge.ready"
SAVE_PAUSE = 0.5
"""Seconds between two writes of the snapshot; what is lost with them comes from the feed again."""
PUBLISH_SPACING = 0.02
"""Seconds from one publication to the next: many tunnels that come back at once share one."""

log = logging.getLogger(__name__)


class Agent:
    """One edge."""

    def __init__(
        self,
        settings: EdgeSettings,
        envoy: EnvoySettings,
        client: httpx.AsyncClient,
        clock: Clock,
    ) -> None:
        """Reads what an earlier run kept; starts nothing."""
        self._settings = settings
        self._envoy = envoy
        self._client = client
        self._wake = asyncio.Event()
        self._something_to_serve = asyncio.Event()
        self._unsaved = asyncio.Event()

        self._state = load_snapshot(self._snapshot_path)
        self._by_name = _ids_by_name(self._state)
        self.table = TunnelTable(settings.endpoint_dir, clock, self._on_tunnels)
        self._backends: list[TunnelBackend] = []
        self._endpoints = EndpointPaths(self.table)
        self._reports = TunnelReports(
            client, settings.edge_id, self.table, settings.report_interval
        )
        self._follower = FeedFollower(
            client, settings.edge_id, self._state, self._on_state, self._on_gateway
        )
        names = (*settings.gateway_names, f"*.{settings.edge_domain}")
        self._keeper = CertificateKeeper(
            client, settings.state_dir, names, clock, self._on_certificate
        )
        if self._state is not None:
            self._keeper.follow(self._state.trust.client_ca)
        if self._keeper.pair is not None:
            self._reports.certified_by(self._keeper.pair.issuer)
        self._discovery = DiscoveryServer(envoy.discovery_socket)
        self._request_log = RequestFile(
            settings.request_log,
            limit=settings.request_log_bytes,
            keep=settings.request_log_files,
            reopen=lambda: reopen_logs(envoy.admin_socket),
        )
        self._supervisor = EnvoySupervisor(envoy)

        self._resources: Resources | None = None
        self._built_from: Mapping[str, EdgeSocket] = MappingProxyType({})
        self._publication = 0
        self._acknowledgements = Acknowledgements(
            client, settings.edge_id, self._discovery.wait_acked, self._announce_ready
        )

    def add_backend(self, backend: TunnelBackend) -> None:
        """Before ``run``: one more kind of tunnel. The gateway is told the first host key."""
        self._backends.append(backend)
        self._reports.ssh_host_key = self._reports.ssh_host_key or backend.ssh_host_key

    @property
    def _snapshot_path(self) -> Path:
        return self._settings.state_dir / SNAPSHOT_NAME

    @property
    def _ready_path(self) -> Path:
        return self._settings.run_dir / READY_NAME

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set.

        Raises:
            OSError: a port or a file cannot be had.
            Exception: a part ended on its own; the edge is then to be started again.
        """
        self._ready_path.unlink(missing_ok=True)
        self.table.prepare()
        await self._discovery.start()
        try:
            for backend in self._backends:
                if self._state is not None:
                    backend.apply(self._state)
                await backend.start()
            await _until_first_ends(
                stop.wait(),
                self._loop(),
                self._acknowledgements.run(),
                self._supervise(),
                self._follower.run(),
                self._keeper.run(),
                self._reports.run(),
                self._keep_snapshot(),
                self._show_flows(),
            )
        finally:
            await self._end()

    async def _end(self) -> None:
        self._ready_path.unlink(missing_ok=True)
        for backend in self._backends:
            await backend.close()
        await self._discovery.stop()
        if self._unsaved.is_set():
            await self._save()

    # What wakes the loop.

    def _on_state(self, state: EdgeState) -> None:
        self._state = state
        self._by_name = _ids_by_name(state)
        self._keeper.follow(state.trust.client_ca)
        for backend in self._backends:
            backend.apply(state)
        self._unsaved.set()
        self._wake.set()

    def _on_gateway(self) -> None:
        self._acknowledgements.gateway_changed()
        self._reports.gateway_changed()

    def _on_tunnels(self, changed: ConnectedTunnel) -> None:
        self._endpoints.touch(changed.socket_id)
        self._reports.changed(changed.tunnel_id)
        self._wake.set()

    def _on_certificate(self, pair: KeyAndChain) -> None:
        self._reports.certified_by(pair.issuer)
        self._wake.set()

    async def _loop(self) -> None:
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._publish()
            await asyncio.sleep(PUBLISH_SPACING)

    def _publish(self) -> None:
        state, pair = self._state, self._keeper.pair
        if state is None or pair is None:
            return
        changed = self._endpoints.renew(state) | changed_keys(self._built_from, state.sockets)
        resources = build(
            state,
            self._endpoints.paths,
            self._envoy,
            ServerCertificate(chain_pem=pair.chain_pem, key_pem=pair.key_pem),
            previous=self._resources,
            changed=changed,
        )
        for socket_id, reason in resources.refused.items():
            if self._resources is None or socket_id not in self._resources.refused:
                log.warning("socket %s is not served: %s", socket_id, reason)
        self._resources = resources
        self._built_from = state.sockets
        self._publication += 1
        self._discovery.publish(resources, self._publication)
        self._acknowledgements.published(self._publication, state.revision, late_sockets(state))
        self._something_to_serve.set()

    async def _supervise(self) -> None:
        """Envoy, from the moment there is something to serve: ports stay closed until then."""
        await self._something_to_serve.wait()
        await self._supervisor.run()

    # What happens after a publication.

    def _announce_ready(self) -> None:
        write_private(self._ready_path, b"edge ready\n")
        sys.stdout.write("edge ready\n")
        sys.stdout.flush()

    async def _keep_snapshot(self) -> None:
        while True:
            await self._unsaved.wait()
            await self._save()
            await asyncio.sleep(SAVE_PAUSE)

    async def _save(self) -> None:
        self._unsaved.clear()
        line = self._follower.snapshot()
        if line is None:
            return
        try:
            await asyncio.to_thread(write_private, self._snapshot_path, line)
        except OSError as error:
            log.warning("the state cannot be kept on disk: %s", error)

    async def _show_flows(self) -> None:
        screens = RequestScreens(
            show=self._show, is_watched=self._is_watched, clock=asyncio.get_running_loop().time
        )
        async for lines in self._request_log.follow():
            screens.take(lines)

    def _show(self, dns_name: str, line: str) -> None:
        socket_id = self._by_name.get(dns_name, "")
        for backend in self._backends:
            backend.log(socket_id, line)

    def _is_watched(self, dns_name: str) -> bool:
        socket_id = self._by_name.get(dns_name)
        return socket_id is not None and any(
            backend.watched(socket_id) for backend in self._backends
        )


def _ids_by_name(state: EdgeState | None) -> Mapping[str, str]:
    sockets = () if state is None else state.sockets.values()
    return {socket.dns_name: socket.socket_id for socket in sockets}


async def _until_first_ends(*parts: Coroutine[Any, Any, object]) -> None:
    """Run all until one ends, which ends the others; an error of that one is raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
