"""A SoftHSM2 token of the test's own."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PIN = "482913"
_LIBRARIES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftHsm:
    """An initialised token; ``SOFTHSM2_CONF`` leads processes started from now on to it."""

    directory: Path
    module: Path
    label: str
    pin_file: Path

    @property
    def tokens(self) -> Path:
        """Where it keeps what is in it."""
        return self.directory / "tokens"


def module_path() -> Path:
    """Where the library is; skips the test, saying why, where there is none."""
    found = next((path for path in _LIBRARIES if path.exists()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        reason = "SoftHSM is missing: install the Debian package softhsm2"
        print(reason)
        pytest.skip(reason)
    return found


def make_token(
    directory: Path, monkeypatch: pytest.MonkeyPatch, label: str = "mysocket"
) -> SoftHsm:
    """Make a token in ``directory``, for the rest of this test."""
    module = module_path()
    tokens = directory / "tokens"
    tokens.mkdir(mode=0o700, parents=True)
    config = directory / "softhsm2.conf"
    config.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    command = ["softhsm2-util", "--init-token", "--free", "--label", label]
    subprocess.run(
        [*command, "--pin", PIN, "--so-pin", "87654321"],
        check=True,
        capture_output=True,
        env=dict(os.environ),
    )
    pin_file = directory / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(PIN + "\n")
    return SoftHsm(directory=directory, module=module, label=label, pin_file=pin_file)
