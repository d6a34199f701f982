"""Envoy's own life: killed, without a gateway, and refusing what it is told."""

import asyncio
import os
import signal
import stat
import threading
from pathlib import Path

import pytest

from policy.types import SocketType
from proxy.envoy.errors import DiscoveryRejectedError, DiscoveryTimeoutError, WrongThreadError
from proxy.envoy.supervisor import EnvoySupervisor
from tests.support.envoy import DOMAIN, a_socket, running_edge
from tests.support.processes import free_port


async def test_a_killed_envoy_is_back_with_everything(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        await edge.add(a_socket("app"))
        cookie = ("cookie", edge.session("app"))
        assert (await edge.get("app", "/", cookie)).status == 200
        killed = edge.supervisor.pid
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(5):
            while edge.supervisor.pid in {killed, None}:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)
            await edge.supervisor.wait_ready(5)
        assert (await edge.get("app", "/", cookie)).status == 200
        assert edge.supervisor.restarts == 1


async def test_envoys_log_is_turned_over_without_losing_a_line(tmp_path: Path) -> None:
    async with running_edge(tmp_path, log_limit=2000) as edge:
        await edge.add(a_socket("open", identity_required=False))
        for number in range(30):
            await edge.get("open", f"/{number}?secret")
            record = await edge.record()
            assert (record.path, record.refused, record.failed) == (f"/{number}", "", "")
        older = edge.settings.request_log.with_name("requests.jsonl.1")
        assert older.exists()
        for file in (edge.settings.request_log, older):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert "secret" not in file.read_text()


async def test_without_a_gateway_sessions_go_on_and_nobody_new_comes_in(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        origin = await edge.add(a_socket("app"))
        await edge.gateway.stop()
        assert (await edge.get("app", "/", ("cookie", edge.session("app")))).status == 200
        served = len(origin.requests)
        for cookie in ((), (("cookie", edge.session("app", epoch=7)),)):
            response = await edge.get("app", "/", *cookie)
            assert (response.status, response.json()["reason"]) == (503, "gateway-unreachable")
        assert len(origin.requests) == served


async def test_a_taken_port_is_reported_and_offered_again(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        port = free_port()
        holder = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", port)
        socket = a_socket("raw", socket_type=SocketType.TCP, ports=(port,), identity_required=False)
        with pytest.raises(DiscoveryRejectedError, match="raw"):
            await edge.add(socket, greeting=b"hello")
        holder.close()
        await holder.wait_closed()
        async with asyncio.timeout(5):
            while True:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
            assert await reader.readexactly(5) == b"hello"
        writer.close()


async def test_envoy_reconnects_to_a_new_discovery_server(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        await edge.add(a_socket("app", identity_required=False))
        await edge.discovery.stop()
        edge.sockets["late"] = a_socket("late", identity_required=False)
        edge.endpoints["late"] = edge.endpoints["app"]
        del edge.sockets["app"]
        with pytest.raises(DiscoveryTimeoutError):
            await edge.discovery.wait_acked(edge.revision + 1, 0.01)
        await edge.discovery.start()
        await edge.apply()
        assert (await edge.get("late")).status == 200
        assert (await edge.get("app")).status == 404


async def test_admin_and_bootstrap_are_for_the_owner_alone(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        for path in (
            edge.settings.admin_socket,
            edge.settings.bootstrap_path,
            edge.settings.discovery_socket,
        ):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert edge.settings.edge_key not in edge.settings.bootstrap_path.read_text()
        command = Path(f"/proc/{edge.supervisor.pid}/cmdline").read_text()  # noqa: ASYNC240
        assert edge.settings.edge_key not in command
        assert DOMAIN not in command


def test_envoy_is_started_from_no_thread_that_may_end(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def start() -> None:
        try:
            asyncio.run(EnvoySupervisor(None).run())  # type: ignore[arg-type]
        except WrongThreadError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert caught
