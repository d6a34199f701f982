"""What every tunnel backend must do, driven by the real clients it is made for."""

from pathlib import Path

from tests.contracts.conftest import StartClient, ask, echo, origin, ssh_bench


async def test_a_connection_into_the_tunnel_reaches_the_origin(
    folder: Path, openssh: StartClient
) -> None:
    async with ssh_bench(folder) as bench, origin(echo) as port:
        client = await openssh(bench, f"10001:127.0.0.1:{port}")
        path = await bench.connected()
        assert await ask(path, b"hello") == b"hello"
        await client.shows(b"web - https://web.edge.localhost:8443\r\n")
