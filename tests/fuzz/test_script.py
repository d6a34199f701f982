"""``scripts/fuzz``, which ``make fuzz`` runs."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def fuzz(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [root / "scripts" / "fuzz", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_target_whose_name_begins_anothers_passes_twice() -> None:
    for again in range(2):
        done = fuzz("1", "krl", "krl-contents")
        assert done.returncode == 0, (again, done)
        assert done.stdout.count("DONE") == 2


def test_an_unknown_target_is_named_and_leaves_nothing() -> None:
    for name in ("nonsense", "../wire"):
        done = fuzz("1", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert name in done.stderr
        assert "krl-contents" in done.stderr
    assert not (ROOT / ".cache" / "fuzz" / "nonsense").exists()


def test_a_failure_names_its_input_and_no_other_targets(tmp_path: Path) -> None:
    for folder in ("scripts", ".venv/bin", "tests/fuzz/corpus/krl", ".cache/fuzz/krl-contents"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "fuzz", tmp_path / "scripts")
    fuzzer = tmp_path / ".venv/bin/python"
    fuzzer.write_text("#!/bin/sh\necho > .cache/fuzz/krl-crash-0a1b\necho ==1== ERROR\nexit 77\n")
    fuzzer.chmod(0o755)
    done = fuzz("1", "krl", root=tmp_path)
    assert done.returncode == 1
    assert "ERROR" in done.stdout
    assert "krl fails" in done.stderr
    assert ".cache/fuzz/krl-crash-0a1b" in done.stderr
    assert "krl-contents" not in done.stderr
