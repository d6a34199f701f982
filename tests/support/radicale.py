"""A real Radicale that believes ``X-Remote-User``, configured as the documentation shows."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.documentation import ROOT
from tests.support.processes import Process, free_port, running

EXAMPLE = ROOT / "docs" / "examples" / "radicale"


@contextlib.contextmanager
def radicale(directory: Path) -> Iterator[int]:
    """Run it on a free port of 127.0.0.1 with its calendars in ``directory``; yields the port."""
    port = free_port()
    process = Process(
        *(sys.executable, "-m", "radicale", "--config", EXAMPLE / "config"),
        f"--server-hosts=127.0.0.1:{port}",
        f"--storage-filesystem-folder={directory / 'calendars'}",
        log=directory / "radicale.log",
    )
    with running(process):
        process.wait_for_port(port)
        yield port
