"""Files sshd reads are replaced whole, and last through a power cut."""

import errno
import os
from pathlib import Path

import pytest

from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.host_files import install


def test_a_file_is_on_disk_before_it_takes_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    assert install(path, "new")
    assert synced == [("new", "old"), ("the directory", "new")]
    assert not install(path, "new")


def test_a_file_the_disk_does_not_take_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "revoked"
    path.write_text("old")

    def failing(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(InvalidInput, match="Input/output"):
        install(path, "new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["revoked"]
