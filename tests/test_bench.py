"""The report is of full runs; anything less leaves it as it was."""

import sys
from pathlib import Path

import pytest

from bench import __main__ as program
from bench import issuance


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


WRK = """Running 2s test @ http://127.0.0.1:7
  Latency Distribution
     50%   12.00ms
     75%   20.00ms
     90%    1.00s
     99%    1.90s
  300 requests in 2.00s, 1.00MB read
"""


@pytest.mark.parametrize(("timeouts", "said"), [(0, ""), (5, "connect 0, read 0, write 0")])
def test_answers_that_come_late_are_counted_and_end_no_run(timeouts: int, said: str) -> None:
    errors = f"  Socket errors: {said}, timeout {timeouts}\n" if said else ""
    one = issuance.read_wrk(WRK + errors, callers=8, took=2.0, used=0.3)
    assert (one.timeouts, one.per_second, one.p99_ms) == (timeouts, 150, 1900)


@pytest.mark.parametrize(
    "line",
    [
        "Socket errors: connect 0, read 1, write 0, timeout 0",
        "Socket errors: a new word",
        "Non-2xx or 3xx responses: 1",
    ],
)
def test_a_run_in_which_something_failed_is_no_result(line: str) -> None:
    with pytest.raises(RuntimeError, match=line):
        issuance.read_wrk(f"{WRK}  {line}\n", callers=8, took=2.0, used=0.3)
