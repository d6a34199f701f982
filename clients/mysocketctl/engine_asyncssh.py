"""Tunnels without OpenSSH on the machine: the same connection made by asyncssh."""

import asyncio
import sys

import asyncssh

from clients.mysocketctl.names import dial_address, printable
from clients.mysocketctl.tunnels import TunnelPlan

_KEEPALIVE_SECONDS = 10
_WINDOW = 16 << 20


def run(plan: TunnelPlan) -> str:
    """One connection; its log goes to our standard output."""
    try:
        return asyncio.run(_connect(plan))
    except (OSError, asyncssh.Error) as error:
        return f"the tunnel ended: {printable(str(error))}"


async def _connect(plan: TunnelPlan) -> str:
    certificate = str(plan.certificate) if plan.certificate else None
    connection = await asyncssh.connect(
        dial_address(plan.server),
        plan.server_port,
        username=plan.user_name,
        client_keys=[(str(plan.key), certificate) if certificate else str(plan.key)],
        agent_path=None,
        config=None,
        host_key_alias=plan.server,
        known_hosts=str(plan.known_hosts),
        keepalive_interval=_KEEPALIVE_SECONDS,
        keepalive_count_max=3,
        connect_timeout=15,
        preferred_auth="publickey",
    )
    async with connection:
        await connection.forward_remote_port(
            "localhost", plan.local_port, plan.target_host, plan.target_port
        )
        async with connection.create_process(
            stdin=asyncssh.DEVNULL, stderr=asyncssh.STDOUT, send_eof=False, window=_WINDOW
        ) as session:
            async for line in session.stdout:
                sys.stdout.write(printable(line, 1000) + "\n")
                sys.stdout.flush()
        await connection.wait_closed()
    return "the tunnel ended"
