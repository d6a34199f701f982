"""``python -m proxy serve --config FILE``: one edge, until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from proxy.clock import system_clock
from proxy.composition import build_agent
from proxy.errors import EdgeError
from proxy.settings import EdgeSettings, load_settings

QUIET_LIBRARIES = ("asyncssh", "httpx", "httpcore")
"""They log every connection and request by name and address at the level we want for ourselves."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status: 0 after a clean stop, 2 for a wrong configuration."""
    parser = argparse.ArgumentParser(prog="python -m proxy", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run one edge in the foreground")
    serve.add_argument("--config", type=Path, help="TOML file; see docs/configuration.md")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(options.config)
        _configure_logging(settings)
        asyncio.run(_serve(settings))
    except EdgeError as error:
        sys.stderr.write(f"edge: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"edge: cannot start: {error}\n")
        return 1
    return 0


def _configure_logging(settings: EdgeSettings) -> None:
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        # With the zone: when a certificate was let in counts.
        datefmt="%Y-%m-%dT%H:%M:%S%z",
        stream=sys.stderr,
    )
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


async def _serve(settings: EdgeSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    agent, client = build_agent(settings, system_clock)
    async with client:
        await agent.run(stop)
