"""``mysocket up``: gateway, edge, demonstration and its tunnel, started in order, watched."""

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clients.mysocket import first_account
from clients.mysocket.configuration import Stack, configure
from clients.mysocket.errors import StackError
from clients.mysocket.first_account import FirstAccount
from clients.mysocket.instance import note, only_one
from clients.mysocket.layout import Layout
from clients.mysocket.readiness import (
    check_ports_free,
    edge_answers,
    gateway_answers,
    taken_ports,
    wait_for,
)
from clients.mysocket.supervisor import ChildSpec, Supervisor, last_line
from clients.mysocket.welcome import welcome
from clients.mysocketctl.api import GatewayApi
from clients.mysocketctl.files import write_private
from clients.mysocketctl.settings import Settings

READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """One run of ``up``."""

    layout: Layout
    stack: Stack
    supervisor: Supervisor
    say: Callable[[str], None]

    def command(self, *words: str) -> tuple[str, ...]:
        return (sys.executable, "-m", *words)

    @property
    def settings(self) -> Settings:
        """How a client on this machine reaches the gateway."""
        return Settings(
            api_url=self.stack.base_url,
            ca_file=str(self.layout.authority),
            ssh_server=None,
            home=self.layout.demo_home,
        )

    def child(self, name: str, *words: str, **more: Any) -> None:
        """Start a child whose output goes to a log of its own."""
        fields: dict[str, Any] = {"environment": dict(os.environ)} | more
        self.supervisor.add(
            ChildSpec(
                name=name,
                command=self.command(*words),
                log=self.layout.logs / f"{name}.log",
                **fields,
            )
        )

    def failure(self, what: str, *logs: str) -> Callable[[], str]:
        paths = [self.layout.logs / f"{name}.log" for name in logs]
        return lambda: f"{what} within {READY_SECONDS:.0f} s; the log says: {last_line(paths)}"


def up(layout: Layout, options: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Run until a signal comes.

    Raises:
        StackError: something stands in the way; everything started is stopped again.
    """
    with only_one(layout):
        stack = configure(layout, options)
        check_ports_free(stack, say)
        if taken := taken_ports(stack.port_range):
            say(f"Note: port {taken[0]} of --port-range is in use; a socket there will not work.")
        layout.logs.mkdir(mode=0o700, exist_ok=True)
        layout.run.mkdir(mode=0o700, exist_ok=True)
        supervisor = Supervisor(say=say, further_logs=(layout.up_log,))
        supervisor.listen_for_signals()
        try:
            start = Startup(layout=layout, stack=stack, supervisor=supervisor, say=say)
            if _start(start):
                note(layout, ready=True)
                supervisor.run()
        finally:
            say("Stopping ...")
            supervisor.stop_all()


def _start(start: Startup) -> bool:
    """Bring everything up; ``False`` if a signal came first."""
    layout, config = start.layout, str(start.layout.gateway_config)
    start.say(f"State is kept in {layout.state}")
    account = first_account.bootstrap(
        start.command("idp_gateway", "bootstrap", "--config", config), os.environ
    )
    start.say("Starting the gateway ...")
    start.child("gateway", "idp_gateway", "serve", "--config", config)
    gateway_socket = layout.run / "gateway.sock"
    if not wait_for(
        start.supervisor,
        lambda: gateway_answers(gateway_socket),
        seconds=READY_SECONDS,
        failure=start.failure("the gateway did not answer", "gateway"),
    ):
        return False
    start.say("Starting the edge ...")
    start.child("edge", "proxy", "serve", "--config", str(layout.edge_config))
    with GatewayApi(start.settings) as api:
        answered = wait_for(
            start.supervisor,
            lambda: edge_answers(api),
            seconds=READY_SECONDS,
            failure=start.failure("the edge did not answer", "edge", "gateway"),
        )
    if not answered:
        return False
    if account.password is not None:
        start.say("Publishing the demonstration page ...")
        if not _start_demo(start, account):
            return False
    text = welcome(layout, start.stack, account)
    write_private(layout.welcome, text)
    start.say(text)
    return True


def _start_demo(start: Startup, account: FirstAccount) -> bool:
    """The origin, on a port the system chose, and its tunnel; ``False`` if a signal came first."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    descriptor = listening.detach()  # kept open here: a restarted origin finds the same port
    start.child("demo", "clients.mysocket.demo", str(descriptor), inherited=(descriptor,))
    layout = start.layout
    start.child(
        "tunnel",
        *("clients.mysocketctl", "tunnel", "connect", "--port", str(port)),
        *("--socket_id", account.socket_id, "--tunnel_id", account.tunnel_id),
        environment=dict(os.environ)
        | {
            "HOME": str(layout.demo_home),
            "MYSOCKET_API": start.stack.base_url,
            "MYSOCKET_CA_FILE": str(layout.authority),
            "MYSOCKET_SSH": f"{start.stack.dial_address}:{start.stack.tunnel_port}",
        },
        before_start=lambda: first_account.log_in(layout, start.settings, account),
    )
    endpoint = layout.run / "t" / f"{account.tunnel_id}.sock"
    return wait_for(
        start.supervisor,
        endpoint.exists,
        seconds=READY_SECONDS,
        failure=start.failure("the demonstration's tunnel did not connect", "tunnel", "edge"),
    )


def detach(command: list[str], layout: Layout, wait: Callable[[int], bool]) -> str:
    """Run ``command`` (an ``up``) in the background; the welcome text once it is ready.

    Raises:
        StackError: it ended or was not ready in time, with the last line it wrote.
    """
    layout.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = layout.up_log
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, descriptor, 1),
                (os.POSIX_SPAWN_DUP2, descriptor, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(descriptor)
        os.close(null)
    if wait(pid):
        return layout.welcome.read_text("utf-8")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 15)
    raise StackError("not-ready", last_line([log]).removeprefix("mysocket: "))
