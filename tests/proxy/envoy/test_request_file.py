"""The file Envoy writes and the edge turns over, with a writer that behaves as Envoy does."""

import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from proxy.envoy.request_file import RequestFile, open_private


class Writer:
    """Appends to a path it opens once, and again when it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked = 0
        self.willing = True
        self.file = path.open("ab", buffering=0)

    async def reopen(self) -> None:
        self.asked += 1
        if not self.willing:
            raise OSError("nobody listens")
        self.file.close()
        self.file = self.path.open("ab", buffering=0)

    def write(self, *lines: str) -> None:
        self.file.write("".join(f"{line}\n" for line in lines).encode())


Make = Callable[..., tuple[RequestFile, Writer]]


async def lines_of(chunks: AsyncIterator[bytes], count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        found += (await anext(chunks)).decode().splitlines()
    return found


@pytest.fixture
def made() -> Iterator[Make]:
    writers = []

    def make(path: Path, limit: int = 1 << 20, keep: int = 2) -> tuple[RequestFile, Writer]:
        os.close(open_private(path))
        writers.append(Writer(path))
        return RequestFile(path, limit=limit, keep=keep, reopen=writers[-1].reopen), writers[-1]

    yield make
    for writer in writers:
        writer.file.close()


async def test_only_what_is_new_and_whole_is_told(tmp_path: Path, made: Make) -> None:
    path = tmp_path / "log"
    path.write_text("old\n")
    log, writer = made(path)
    writer.write("one", "two")
    writer.file.write(b"thr")
    chunks = log.follow()
    assert await anext(chunks) == b"one\ntwo\n"
    assert await anext(chunks) == b""
    writer.file.write(b"ee\n")
    assert await lines_of(chunks, 1) == ["three"]


async def test_a_large_file_is_put_aside_and_no_line_is_lost(tmp_path: Path, made: Make) -> None:
    path = tmp_path / "kept" / "log"
    log, writer = made(path, limit=40)
    chunks = log.follow()
    written, seen = [], []
    for number in range(30):
        written.append(f"line number {number:04}")
        writer.write(written[-1])
        seen += await lines_of(chunks, 1)
        await anext(chunks)
    assert seen == written
    kept = sorted(path.parent.iterdir())
    assert [file.name for file in kept] == ["log", "log.1", "log.2"]
    together = "".join(file.read_text() for file in reversed(kept))
    assert together.splitlines() == written[-len(together.splitlines()) :]
    assert len(together.splitlines()) >= 6
    assert {stat.S_IMODE(file.stat().st_mode) for file in kept} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_writer_that_does_not_answer_is_asked_again(tmp_path: Path, made: Make) -> None:
    log, writer = made(tmp_path / "log", limit=8)
    writer.willing = False
    chunks = log.follow()
    writer.write("a first line")
    assert await lines_of(chunks, 1) == ["a first line"]
    for _ in range(3):
        assert await anext(chunks) == b""
    writer.write("to the old file")
    assert await lines_of(chunks, 1) == ["to the old file"]
    writer.willing = True
    for _ in range(2):
        await anext(chunks)
    writer.write("to the new file")
    assert await lines_of(chunks, 1) == ["to the new file"]
    assert writer.asked > 2
    assert (tmp_path / "log.1").read_text() == "a first line\nto the old file\n"
    assert not (tmp_path / "log.2").exists()


async def test_none_is_kept_if_none_is_wanted(tmp_path: Path, made: Make) -> None:
    log, writer = made(tmp_path / "log", limit=8, keep=0)
    chunks = log.follow()
    for line in ("first line", "second line", "third line"):
        writer.write(line)
        assert await lines_of(chunks, 1) == [line]
        await anext(chunks)
        await anext(chunks)
    assert (tmp_path / "log").stat().st_size < len("third line\n") + 1
    assert not (tmp_path / "log.1").exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        open_private(tmp_path / "log")
