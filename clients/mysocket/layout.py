"""Where things are inside a state directory."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

_LONGEST_RUN_DIR = 60
"""Bytes; a tunnel's socket adds 44 and ``sun_path`` ends at 107 (unix(7))."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one state directory, absolute."""

    state: Path

    @property
    def gateway_config(self) -> Path:
        return self.state / "gateway.toml"

    @property
    def edge_config(self) -> Path:
        return self.state / "edge.toml"

    @property
    def authority(self) -> Path:
        """PEM of the local root that browsers and clients are told to trust."""
        return self.state / "ca" / "root.pem"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def up_log(self) -> Path:
        """What an ``up`` in the background says."""
        return self.state / "up.log"

    @property
    def lock(self) -> Path:
        """Locked by a running ``up`` for as long as it lives."""
        return self.state / "up.lock"

    @property
    def process(self) -> Path:
        """Who that ``up`` is, as JSON."""
        return self.state / "up.json"

    @property
    def welcome(self) -> Path:
        """What ``up`` printed when everything was ready; holds the demo password."""
        return self.state / "welcome.txt"

    @property
    def demo_home(self) -> Path:
        """Home directory of the demonstration's own client."""
        return self.state / "demo"

    @property
    def run(self) -> Path:
        """Unix sockets; elsewhere if the state directory's own path is too long for them."""
        run = self.state / "run"
        if len(os.fsencode(run)) <= _LONGEST_RUN_DIR:
            return run
        digest = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"mysocket-{os.getuid()}-{digest}"
