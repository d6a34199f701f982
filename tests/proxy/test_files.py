"""Files that must be whole, durable and private."""

import os
from pathlib import Path

import pytest

from proxy.files import write_private


def test_a_file_is_on_the_disk_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state" / "snapshot.json"
    steps: list[str] = []
    really_sync, really_rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        # Everything must have left the program's own buffers by now.
        steps.append(f"fsync of {os.fstat(descriptor).st_size}")
        really_sync(descriptor)

    def rename(source: Path, target: Path) -> Path:
        steps.append("rename")
        return really_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    write_private(path, b"content")
    assert steps[:2] == ["fsync of 7", "rename"]
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "snapshot.json"
    write_private(path, b"before")

    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
