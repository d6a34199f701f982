"""A real, headless Chromium that trusts one certificate authority; nothing is switched off for it.

``*.localhost`` names resolve to loopback inside the browser itself (RFC 6761 §6.3).
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import BrowserContext, sync_playwright

EXECUTABLE = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",  # tests run as root, in containers without user namespaces
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-proxy-server",
)


def trust(home: Path, authority: Path) -> None:
    """Make ``authority`` (PEM) a trusted root of the Chromium profiles below ``home``."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True, exist_ok=True)
    nss = f"sql:{database}"
    subprocess.run(["certutil", "-d", nss, "-N", "--empty-password"], check=True)
    subprocess.run(
        ["certutil", "-d", nss, "-A", "-t", "C,,", "-n", "mysocket", "-i", authority], check=True
    )


@contextlib.contextmanager
def chromium(home: Path, authority: Path) -> Iterator[BrowserContext]:
    """A fresh profile with no cookies; pages end with the block."""
    if not (home / ".pki").exists():
        trust(home, authority)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=EXECUTABLE,
            args=list(FLAGS),
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
        )
        try:
            context = browser.new_context()
            context.set_default_timeout(15_000)
            yield context
        finally:
            browser.close()
