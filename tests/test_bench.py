"""The report is of full runs; anything less leaves it as it was."""

import sys
from pathlib import Path

import pytest

from bench import __main__ as program


@pytest.mark.parametrize(
    ("words", "kept"), [([], True), (["fast"], False), (["--quick"], False)], ids=str
)
def test_only_a_full_run_is_kept(
    words: list[str], kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ("things", 7.0, "/s", "a peer", 0.5)
    monkeypatch.setattr(program, "BENCHMARKS", {"fast": lambda quick: [row]})
    monkeypatch.setattr(program, "REPORT", tmp_path / "report.md")
    monkeypatch.setattr(program, "CHART", tmp_path / "report.svg")
    monkeypatch.setattr(sys, "argv", ["bench", *words])

    assert program.main() == 0

    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(written) == ({"report.md", "report.svg"} if kept else set())
    if kept:
        assert "a peer" in written["report.md"]
        assert written["report.svg"].startswith("<svg")


def test_every_benchmark_is_part_of_a_full_run() -> None:
    modules = {
        path.stem
        for path in Path(program.__file__).parent.glob("*.py")
        if "\ndef run(" in path.read_text("utf-8")
    }

    assert modules == set(program.BENCHMARKS)
