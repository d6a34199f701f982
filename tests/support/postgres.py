"""A real PostgreSQL for tests: own directory, unix socket only, gone after the session."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

_STARTUP_SECONDS = 60
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
}


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server, reached through the socket in its directory."""

    directory: Path

    def new_database(self, template: str = "template1") -> str:
        """Make a database as the template is, by default empty; its SQLAlchemy address."""
        name = f"test_{uuid.uuid4().hex}"
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return f"postgresql+psycopg://postgres@/{name}?host={self.directory}"

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.directory), user="postgres", dbname="postgres", autocommit=True
        )


def binaries() -> Path:
    """Where the server's programs are; skips the test, saying why, where there are none."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    found = shutil.which("postgres")
    if found and shutil.which("initdb"):
        return Path(found).parent
    reason = "PostgreSQL is missing: install the Debian package postgresql"
    print(reason)
    pytest.skip(reason)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server for as long as the block lasts."""
    programs = binaries()
    # Short, because a unix socket's path has at most 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        _own(directory)
        cluster = directory / "cluster"
        _run(
            [programs / "initdb", "-D", cluster, "-U", "postgres", "--auth=trust", "--no-sync"],
            directory,
        )
        with _server(programs, directory, cluster):
            yield Postgres(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _server(programs: Path, directory: Path, cluster: Path) -> Iterator[None]:
    options = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
    command = [programs / "postgres", "-D", cluster, "-k", directory, *options]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(_as_postgres(command), cwd=directory, stdout=log, stderr=log)
    try:
        _wait_until_up(directory, process)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(directory: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _STARTUP_SECONDS
    while True:
        try:
            psycopg.connect(host=str(directory), user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError((directory / "log").read_text()) from None
            time.sleep(0.05)
        else:
            return


def _own(directory: Path) -> None:
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(directory, account.pw_uid, account.pw_gid)


def _as_postgres(command: list[Path | str]) -> list[str]:
    """The server refuses to run as root."""
    plain = [str(part) for part in command]
    if os.geteuid() != 0:
        return plain
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *plain]


def _run(command: list[Path | str], directory: Path) -> None:
    done = subprocess.run(
        _as_postgres(command), cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
