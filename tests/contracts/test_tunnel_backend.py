"""What every tunnel backend must do, driven by the real clients it is made for.

The suite is written against ``Bench``; a backend joins by providing one (``ssh_bench``) and a
client.
"""

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import time
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest

from tests.contracts.conftest import StartClient
from tests.support.edge_state import (
    ALICE,
    BOB,
    certify,
    edge_socket,
    edge_tunnel,
    new_key,
)
from tests.support.tunnel_bench import Bench, ask, echo, origin, saying, ssh_bench


async def test_a_connection_into_the_tunnel_reaches_the_origin(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        client = await openssh(bench, f"10001:127.0.0.1:{port}")
        path = await bench.connected()
        assert await ask(path, b"hello") == b"hello"
        await client.shows(b"web - https://web.edge.localhost:8443\r\n")
        connected = bench.table.connected()["t-1"]
        assert (connected.socket_id, connected.peer) == ("web-id", "127.0.0.1")
        assert path.stat().st_mode & 0o777 == 0o600


async def test_the_tunnel_is_gone_with_its_client(folder: Path, openssh: StartClient) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        client = await openssh(bench, f"10001:127.0.0.1:{port}")
        path = await bench.connected()
        client.process.kill()
        await bench.until(lambda: not bench.table.connected())
        assert not path.exists()


@pytest.mark.parametrize("ciphers", ["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com"])
async def test_a_hundred_megabytes_arrive_whole(
    folder: Path, openssh: StartClient, ciphers: str
) -> None:
    block = random.Random(1).randbytes(1 << 20)

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(100):
            writer.write(block)
            await writer.drain()
        writer.write_eof()
        await reader.read()

    expected = hashlib.sha256(block * 100).hexdigest()
    async with ssh_bench(folder) as bench, origin(send) as port:
        await openssh(bench, f"10001:127.0.0.1:{port}", extra=("-c", ciphers))
        path = await bench.connected()
        reader, writer = await asyncio.open_unix_connection(str(path))
        received, size = hashlib.sha256(), 0
        async with asyncio.timeout(60):
            while data := await reader.read(1 << 18):
                received.update(data)
                size += len(data)
        writer.close()
        assert (size, received.hexdigest()) == (100 << 20, expected)


async def test_half_close_goes_both_ways(folder: Path, openssh: StartClient) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"first ")
        text = await reader.read()
        writer.write(str(len(text)).encode())
        await writer.drain()

    async with ssh_bench(folder) as bench, origin(count) as port:
        await openssh(bench, f"10001:127.0.0.1:{port}")
        assert await ask(await bench.connected(), b"x" * 300_000) == b"first 300000"


async def test_many_streams_at_once_do_not_mix(folder: Path, openssh: StartClient) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        await openssh(bench, f"10001:127.0.0.1:{port}")
        path = await bench.connected()
        texts = [os.urandom(50_000) for _ in range(40)]
        assert await asyncio.gather(*(ask(path, text) for text in texts)) == texts


async def test_the_newest_connection_takes_the_tunnel_at_once(
    folder: Path, openssh: StartClient
) -> None:
    async with (
        ssh_bench(folder) as bench,
        origin(saying(b"old")) as old_port,
        origin(saying(b"new")) as new_port,
    ):
        old = await openssh(bench, f"10001:127.0.0.1:{old_port}")
        path = await bench.connected()
        await old.shows(b"Logs")
        assert await ask(path, b"") == b"old"
        first = bench.table.connected()["t-1"]
        await openssh(bench, f"10001:127.0.0.1:{new_port}")
        await bench.until(lambda: bench.table.connected().get("t-1") not in {None, first})
        assert await ask(path, b"") == b"new"
        await old.ends()
        assert b"another connection took this tunnel over" in old.seen
        assert path.exists()


async def test_a_half_dead_client_is_taken_over_at_once(folder: Path, openssh: StartClient) -> None:
    async with (
        ssh_bench(folder) as bench,
        origin(saying(b"old")) as old_port,
        origin(saying(b"new")) as new_port,
    ):
        old = await openssh(bench, f"10001:127.0.0.1:{old_port}")
        path = await bench.connected()
        first = bench.table.connected()["t-1"]
        old.process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        await openssh(bench, f"10001:127.0.0.1:{new_port}")
        await bench.until(lambda: bench.table.connected().get("t-1") not in {None, first})
        assert await ask(path, b"") == b"new"
        assert time.monotonic() - started < 5


async def test_a_dead_client_is_noticed(folder: Path, openssh: StartClient) -> None:
    async with ssh_bench(folder, keepalive=0.2, keepalive_count=2) as bench, origin(echo) as port:
        client = await openssh(bench, f"10001:127.0.0.1:{port}")
        await bench.connected()
        client.process.send_signal(signal.SIGSTOP)
        await bench.until(lambda: not bench.table.connected(), seconds=5)


async def test_a_stream_that_the_client_does_not_take_is_closed_in_time(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder, open_deadline=0.3) as bench, origin(echo) as port:
        client = await openssh(bench, f"10001:127.0.0.1:{port}")
        path = await bench.connected()
        client.process.send_signal(signal.SIGSTOP)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(3):
                assert await ask(path) == b""
        client.process.send_signal(signal.SIGCONT)
        assert await ask(path, b"again") == b"again"


async def test_an_origin_that_is_away_closes_the_stream(folder: Path, openssh: StartClient) -> None:
    async with ssh_bench(folder) as bench:
        async with origin(echo) as port:
            pass
        await openssh(bench, f"10001:127.0.0.1:{port}")
        path = await bench.connected()
        with contextlib.suppress(ConnectionError):
            assert await ask(path) == b""


async def test_several_tunnels_in_one_connection_and_in_several(
    folder: Path, openssh: StartClient
) -> None:
    async with (
        ssh_bench(folder) as bench,
        origin(saying(b"one")) as one,
        origin(saying(b"two")) as two,
        origin(saying(b"three")) as three,
    ):
        bench.edge.tunnels += [edge_tunnel("t-2", 10002), edge_tunnel("t-3", 10003)]
        bench.apply()
        await openssh(bench, f"10001:127.0.0.1:{one}", f"10002:127.0.0.1:{two}")
        await openssh(bench, f"10003:127.0.0.1:{three}")
        answers = [await ask(await bench.connected(f"t-{n}"), b"") for n in (1, 2, 3)]
        assert answers == [b"one", b"two", b"three"]


async def test_losing_one_of_two_tunnels_keeps_the_other(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        bench.edge.tunnels.append(edge_tunnel("t-2", 10002))
        bench.apply()
        client = await openssh(bench, f"10001:127.0.0.1:{port}", f"10002:127.0.0.1:{port}")
        await bench.connected("t-2")
        await client.shows(b"Logs")
        del bench.edge.tunnels[0]
        bench.apply()
        assert set(bench.table.connected()) == {"t-2"}
        assert await ask(await bench.connected("t-2")) == b"hello"
        await client.shows(b"Tunnel t-1 ended: this tunnel was removed.")


# What the state no longer allows is cut at once.


async def removed_tunnel(bench: Bench) -> None:
    bench.edge.tunnels.clear()


async def removed_socket(bench: Bench) -> None:
    bench.edge.sockets.clear()


async def removed_key(bench: Bench) -> None:
    bench.edge.keys[ALICE] = [new_key()]


async def removed_account(bench: Bench) -> None:
    bench.edge.keys.clear()


async def other_owner(bench: Bench) -> None:
    bench.edge.tunnels[0] = edge_tunnel("t-1", 10001, user=BOB)


@pytest.mark.parametrize(
    "change", [removed_tunnel, removed_socket, removed_key, removed_account, other_owner]
)
async def test_what_is_removed_is_cut_at_once(
    folder: Path, openssh: StartClient, change: object
) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        client = await openssh(bench, f"10001:127.0.0.1:{port}")
        path = await bench.connected()
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"a")
        assert await reader.read(1) == b"a"
        await change(bench)  # type: ignore[operator]
        bench.apply()
        await bench.until(lambda: not bench.table.connected())
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(5):
                assert await reader.read() == b""
        writer.close()
        await client.ends()
        assert not path.exists()


async def test_an_unrelated_change_cuts_nobody(folder: Path, openssh: StartClient) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        await openssh(bench, f"10001:127.0.0.1:{port}")
        path = await bench.connected()
        before = bench.table.connected()["t-1"]
        bench.edge.sockets = [edge_socket(epoch=2), edge_socket("other")]
        bench.edge.keys[ALICE].append(new_key())
        bench.edge.keys[BOB] = []
        bench.apply()
        assert await ask(path) == b"hello"
        assert bench.table.connected()["t-1"] == before


# The request log.


async def test_lines_reach_the_screens_of_the_socket_alone(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        bench.edge.sockets.append(edge_socket("other"))
        bench.edge.tunnels.append(edge_tunnel("t-2", 10002, socket_id="other-id"))
        bench.apply()
        web = await openssh(bench, f"10001:127.0.0.1:{port}")
        other = await openssh(bench, f"10002:127.0.0.1:{port}")
        await web.shows(b"Logs")
        await other.shows(b"Logs")
        assert bench.backend.watched("web-id")
        assert not bench.backend.watched("third-id")
        bench.backend.log("web-id", "for web \x1b[2J\x00\u00fc\r\nend")
        bench.backend.log("other-id", "for other")
        await web.shows(b"for web \\x1b[2J\\x00\\xfc\\r\\nend\r\n")
        await other.shows(b"for other\r\n")
        assert b"for web" not in other.seen


async def test_a_client_without_a_screen_is_not_asked_for_lines(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        client = await openssh(bench, f"10001:127.0.0.1:{port}", extra=("-N",))
        await bench.connected()
        assert not bench.backend.watched("web-id")
        watching = await openssh(bench, f"10001:127.0.0.1:{port}")
        await watching.shows(b"Logs")
        assert bench.backend.watched("web-id")
        watching.process.kill()
        await watching.ends()
        await client.ends()
        await bench.until(lambda: not bench.table.connected())
        assert not bench.backend.watched("web-id")


async def test_a_client_that_does_not_read_blocks_nobody_and_is_told_later(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        client = await openssh(bench, f"10001:127.0.0.1:{port}")
        await client.shows(b"Logs")
        client.process.send_signal(signal.SIGSTOP)
        for _ in range(20_000):  # were one of them to wait for the client, the test would hang
            bench.backend.log("web-id", "x" * 200)
        client.process.send_signal(signal.SIGCONT)
        await client.shows(b"lines dropped", seconds=30)
        bench.backend.log("web-id", "after")
        await client.shows(b"after", seconds=30)


async def test_the_end_of_the_edge_ends_the_clients(folder: Path, openssh: StartClient) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        client = await openssh(bench, f"10001:127.0.0.1:{port}")
        path = await bench.connected()
    await client.ends()
    assert not path.exists()


# Logging in.


async def test_a_certificate_of_our_ca_logs_in(folder: Path, openssh: StartClient) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        certify(folder, bench.edge.authority, new_key())
        await openssh(bench, f"10001:127.0.0.1:{port}", key="certified")
        assert await ask(await bench.connected()) == b"hello"


@pytest.mark.parametrize(
    "wrong",
    [
        {"principals": BOB},
        {"principals": ""},
        {"principals": f"{ALICE},{BOB}"},
        {"valid_for": timedelta(seconds=-1)},
        {"valid_for": timedelta(hours=1)},
        {"key_id": "alice@example.test"},
        {"key_id": f"{BOB}.1:web-id"},
        {"key_id": f"{ALICE}:web-id"},
        {"key_id": f"{ALICE}.0:web-id"},
        {"key_id": f"{ALICE}.1:"},
        {"host": True},
    ],
    ids=str,
)
async def test_a_wrong_certificate_does_not_log_in(
    folder: Path, openssh: StartClient, wrong: dict[str, object]
) -> None:
    async with ssh_bench(folder) as bench:
        certify(folder, bench.edge.authority, new_key(), **wrong)  # type: ignore[arg-type]
        client = await openssh(bench, "10001:127.0.0.1:9", key="certified")
        assert await client.ends() == 255
        assert not bench.table.connected()


async def test_a_certificate_of_another_ca_does_not_log_in(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder) as bench:
        certify(folder, new_key(), new_key())
        client = await openssh(bench, "10001:127.0.0.1:9", key="certified")
        assert await client.ends() == 255


async def test_a_registered_key_is_no_ca(folder: Path, openssh: StartClient) -> None:
    async with ssh_bench(folder) as bench:
        certify(folder, bench.edge.keys[ALICE][0], new_key())
        client = await openssh(bench, "10001:127.0.0.1:9", key="certified")
        assert await client.ends() == 255


async def test_a_certificate_is_for_its_socket_alone(folder: Path, openssh: StartClient) -> None:
    async with ssh_bench(folder) as bench:
        bench.edge.sockets.append(edge_socket("other"))
        bench.edge.tunnels.append(edge_tunnel("t-2", 10002, socket_id="other-id"))
        bench.apply()
        certify(folder, bench.edge.authority, new_key())
        client = await openssh(bench, "10002:127.0.0.1:9", key="certified")
        assert await client.ends() == 255
        assert not bench.table.connected()


async def test_an_account_in_other_hands_ends_its_logins(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        certify(folder, bench.edge.authority, new_key())
        client = await openssh(bench, f"10001:127.0.0.1:{port}", key="certified")
        await bench.connected()
        bench.edge.generations[ALICE] = 2
        bench.apply()
        assert await client.ends() == 255
        again = await openssh(bench, f"10001:127.0.0.1:{port}", key="certified")
        assert await again.ends() == 255
        certify(folder, bench.edge.authority, new_key(), key_id=f"{ALICE}.2:web-id")
        await openssh(bench, f"10001:127.0.0.1:{port}", key="certified")
        await bench.connected()
        # The gateway may be ahead of what this edge has heard.
        certify(folder, bench.edge.authority, new_key(), key_id=f"{ALICE}.3:web-id")
        later = await openssh(bench, f"10001:127.0.0.1:{port}", key="certified")
        await later.shows(b"Welcome")


async def test_nobody_logs_in_to_an_account_the_edge_does_not_know(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder) as bench:
        certify(folder, bench.edge.authority, new_key())
        bench.edge.generations.clear()
        bench.edge.keys.clear()
        bench.apply()
        client = await openssh(bench, "10001:127.0.0.1:9", key="certified")
        assert await client.ends() == 255


async def test_a_ca_that_is_no_longer_trusted_ends_its_logins(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        certify(folder, bench.edge.authority, new_key())
        client = await openssh(bench, f"10001:127.0.0.1:{port}", key="certified")
        await bench.connected()
        bench.edge.authority = new_key()
        bench.apply()
        await client.ends()
        assert not bench.table.connected()


async def test_a_ca_that_was_replaced_in_good_order_ends_no_tunnel_and_begins_none(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        old = bench.edge.authority
        certify(folder, old, new_key())
        client = await openssh(bench, f"10001:127.0.0.1:{port}", key="certified")
        await bench.connected()
        bench.edge.past_authorities, bench.edge.authority = [old], new_key()
        bench.apply()
        assert bench.table.connected()

        late = await openssh(bench, "10001:127.0.0.1:9", key="certified")
        assert await late.ends() == 255
        assert bench.table.connected()

        bench.edge.past_authorities = []
        bench.apply()
        await client.ends()
        assert not bench.table.connected()


async def test_nobody_learns_which_accounts_exist(folder: Path) -> None:
    """Same methods offered, same answers, for an account and for none."""
    stranger = new_key()
    async with ssh_bench(folder) as bench:
        bench.edge.keys[BOB] = []
        bench.apply()
        names = (ALICE, BOB, "c" * 32, "root", "x" * 500, "\u00fc")
        seen = [await refusal(bench, name, stranger) for name in names]
        assert len(set(seen)) == 1
        assert "publickey" in seen[0]


async def refusal(bench: Bench, name: str, key: asyncssh.SSHKey) -> str:
    """What a client is told that logs in with a key nobody registered."""
    offered: list[str] = []

    class Listening(asyncssh.SSHClient):
        def password_auth_requested(self) -> None:
            offered.append("password")

        def kbdint_auth_requested(self) -> None:
            offered.append("kbdint")

        def public_key_auth_requested(self) -> asyncssh.SSHKey | None:
            offered.append("publickey")
            return key if offered.count("publickey") == 1 else None

    with pytest.raises(asyncssh.PermissionDenied) as denied:
        await asyncssh.create_connection(
            Listening,
            "127.0.0.1",
            bench.backend.port,
            username=name,
            known_hosts=None,
            config=None,
            agent_path=None,
            client_keys=None,
        )
    return f"{denied.value.code} {str(denied.value).replace(name, 'NAME')} {offered}"
