"""Every format against its corpus, against damaged seeds, and a short guided run."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import CORPUS
from tests.fuzz.targets import TARGETS

GUIDED_RUNS = 2000
"""Inputs of each guided run; ``make fuzz`` goes on for minutes instead."""
ROOT = Path(__file__).parents[2]

every_target = pytest.mark.parametrize("target", TARGETS)
quickly = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


def corpus(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def test_every_target_has_a_corpus_and_the_other_way_round() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(corpus(target) for target in TARGETS)


@every_target
def test_the_corpus(target: str) -> None:
    for content in corpus(target):
        TARGETS[target](content)


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with some stretches replaced, repeated, moved or cut out."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([0, 1, 2, 4, 8, 64, 10_000])))
        piece = bytes(content[start:stop])
        content[start:stop] = draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from(
                    [b"", piece * 2, b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x80", b"\n", b" "]
                ),
                st.sampled_from(seeds),
            )
        )
    return bytes(content[:65_536])


@every_target
@quickly
@given(data=st.data())
def test_damaged_seeds(target: str, data: st.DataObject) -> None:
    TARGETS[target](data.draw(damaged(corpus(target))))


@every_target
@quickly
@given(content=st.binary(max_size=600))
def test_any_bytes(target: str, content: bytes) -> None:
    TARGETS[target](content)


@pytest.mark.skipif(
    not importlib.util.find_spec("atheris"), reason="Atheris is not for this Python"
)
@pytest.mark.timeout(600)
def test_a_short_guided_run_of_each(tmp_path: Path) -> None:
    for target in TARGETS:
        (tmp_path / target).mkdir()
    command = [sys.executable, "-m", "tests.fuzz", "each", f"-runs={GUIDED_RUNS}"]
    command += ["-seed=1", "-max_len=4096", "-rss_limit_mb=1024", "-timeout=10"]
    command += [f"-artifact_prefix={tmp_path}/{{}}/", f"{tmp_path}/{{}}"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stderr.count(f"Done {GUIDED_RUNS} runs") == len(TARGETS)
