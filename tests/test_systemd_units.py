"""The systemd units in ``deploy`` are ones systemd accepts, and run commands that exist."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.documentation import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
PROGRAM = "/usr/local/bin/mysocketctl"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_reads_the_units(tmp_path: Path) -> None:
    stand_in = tmp_path / "mysocketctl"
    stand_in.write_text("#!/bin/sh\n")
    stand_in.chmod(0o755)
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, str(stand_in)))

    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_runs_a_command_with_options_that_exist() -> None:
    lines = (ROOT / "deploy" / "systemd" / "mysocket-host-sync.service").read_text().splitlines()
    (command,) = [line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart")]
    program, *words = shlex.split(command)
    assert program == PROGRAM
    group, name, *options = words
    shown = subprocess.run(
        [
            shutil.which("mysocketctl", path=ROOT / ".venv" / "bin") or "mysocketctl",
            group,
            name,
            "--help",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [one for one in options if one.startswith("--") and one not in shown] == []
