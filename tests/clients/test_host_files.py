"""Files sshd reads are replaced whole, last through a power cut, and are for nobody to lock."""

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from clients.mysocket.instance import only_one
from clients.mysocket.layout import Layout
from clients.mysocketctl.certificates import ClientIdentity
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.files import locked, write_private
from clients.mysocketctl.host_files import HostDirectory, install
from clients.mysocketctl.settings import read_settings
from idp_gateway.ca_files import _only_one

every_writer = pytest.mark.parametrize("write", [install, write_private])


@every_writer
def test_a_file_is_on_disk_before_it_takes_the_place_of_the_old_one(
    write: Callable[[Path, str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "revoked"
    path.write_text("old")
    synced: list[tuple[str, str]] = []
    sync = os.fsync

    def noting(descriptor: int) -> None:
        what = Path(f"/proc/self/fd/{descriptor}").readlink()
        shown = what.read_text() if what.is_file() else "the directory"
        synced.append((shown, path.read_text()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    write(path, "new")
    assert synced[0] == ("new", "old")
    assert path.read_text() == "new"


def test_an_installed_file_has_its_name_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []

    def noting(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", noting)
    path = tmp_path / "revoked"
    assert install(path, "new")
    assert synced[1:] == [tmp_path]
    assert not install(path, "new")


@every_writer
def test_a_file_the_disk_does_not_take_leaves_the_old_one(
    write: Callable[[Path, str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "revoked"
    path.write_text("old")

    def failing(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(InvalidInput, match="Input/output"):
        write(path, "new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["revoked"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_directories_are_for_everybody_to_read_whatever_the_umask(
    umask: int, tmp_path: Path
) -> None:
    """sshd reads a login's principals as that login, and lets nobody in where it cannot."""
    (tmp_path / "private").mkdir(mode=0o700)
    files = HostDirectory(tmp_path / "private" / "etc" / "mysocket")
    before = os.umask(umask)
    try:
        files.make()
        files.make()
    finally:
        os.umask(before)
    for made in (files.path.parent, files.path, files.principals):
        assert made.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700


def held(within: Path) -> list[Path]:
    """What this process has locked there; other tests' databases may be locked elsewhere."""
    found = []
    for entry in Path("/proc/self/fdinfo").iterdir():
        with suppress(FileNotFoundError):
            if "lock:" in entry.read_text():
                found.append(Path("/proc/self/fd", entry.name).readlink())
    return [path for path in found if path.is_relative_to(within)]


LOCKS: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "host sync": lambda path: HostDirectory(path).alone(),
    "the log's key": lambda path: locked(path / "log-x.lock"),
    "a renewal": lambda path: ClientIdentity(read_settings({"HOME": str(path)}), "x.test").alone(),
    "mysocket up": lambda path: only_one(Layout(path)),
    "a CA's files": _only_one,
}


@pytest.mark.parametrize("what", LOCKS)
def test_what_is_locked_is_for_its_owner_alone(what: str, tmp_path: Path) -> None:
    """Whoever may open it may lock it, and keep revocations away from sshd for ever."""
    for _ in range(2):
        with LOCKS[what](tmp_path):
            (lock,) = held(tmp_path)
            assert lock.stat().st_mode & 0o077 == 0
            assert lock.is_file()
        lock.chmod(0o644)


def test_a_lock_is_no_link_to_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "other")
    with pytest.raises(InvalidInput, match="cannot lock"), HostDirectory(tmp_path).alone():
        raise AssertionError
    assert not (tmp_path / "other").exists()
