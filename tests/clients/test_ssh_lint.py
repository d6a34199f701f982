"""``mysocketctl ssh-lint``: what it prints, and the exit code scripts rely on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.support import ssh_wire
from tests.support.documentation import ROOT
from tests.support.subjects import ec_key, public_line

CA = ed25519.Ed25519PrivateKey.generate()
GOOD = ssh_wire.certificate(CA, serial=2**40) + b" alice\n"
EMPTY = ssh_wire.certificate(CA, serial=2**40, principals=()) + b"\n"


def ssh_lint(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "clients.mysocketctl", "ssh-lint", *map(str, arguments)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"},
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@pytest.fixture
def two(tmp_path: Path) -> Path:
    path = tmp_path / "two.pub"
    path.write_bytes(b"# issued today\n\n" + GOOD + EMPTY)
    return path


def test_a_good_certificate_is_exit_code_0() -> None:
    done = ssh_lint("-", stdin=GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"standard input:1: user certificate alice@example.com (serial {2**40}),"
        " nothing to complain about\n"
    )


def test_a_finding_is_exit_code_1(two: Path) -> None:
    done = ssh_lint(two)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[1:] == [
        f"{two}:4: user certificate alice@example.com (serial {2**40})",
        "  error principals-empty: there is no principal",
    ]


def test_a_warning_counts_too() -> None:
    done = ssh_lint("-", stdin=ssh_wire.certificate(CA, serial=0))
    assert done.returncode == 1
    assert "  warning serial-zero: " in done.stdout
    strict = ssh_lint("--profile=mysocket", "-", stdin=ssh_wire.certificate(CA, serial=0))
    assert "  error serial-zero: " in strict.stdout


def test_json_is_for_programs(two: Path) -> None:
    done = ssh_lint("--json", two)
    good, empty = json.loads(done.stdout)
    assert done.returncode == 1
    assert good["findings"] == []
    assert (empty["file"], empty["line"], empty["kind"]) == (str(two), 4, "user")
    assert (empty["key_id"], empty["serial"]) == ("alice@example.com", 2**40)
    assert empty["ca"] == good["ca"]
    assert empty["ca"].startswith("SHA256:")
    assert empty["findings"] == [
        {
            "rule": "principals-empty",
            "message": "there is no principal",
            "severity": "error",
        }
    ]


def test_what_is_no_certificate_is_exit_code_2_and_the_rest_is_still_linted(
    two: Path, tmp_path: Path
) -> None:
    key = tmp_path / "key.pub"
    key.write_text(public_line(ec_key()))
    done = ssh_lint(key, two)
    assert done.returncode == 2
    assert done.stderr == "mysocketctl: 1 of 3 are no readable certificates\n"
    assert f"{key}:1: not readable\n  error not-a-certificate: " in done.stdout
    assert "principals-empty" in done.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "standard input holds no certificate"),
        (b"# nothing\n\n", "standard input holds no certificate"),
        (b"\0" * (16 * 1024 * 1024 + 1), "standard input has over 16777216 bytes"),
        (b"\xff\xfe\n" * 3, "1 of 1 are no readable certificates"),
    ],
    ids=["empty", "comments", "huge", "odd"],
)
def test_bad_input_is_one_line_and_exit_code_2(content: bytes, said: str) -> None:
    done = ssh_lint("-", stdin=content)
    assert (done.returncode, done.stderr) == (2, f"mysocketctl: {said}\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bytes(range(256)) * 4096, "it is a binary file"),
        (GOOD + b"\0\n" * 1000, "it is a binary file"),
        (b"root:x:0:0:root:/root:/bin/bash\n" * 20_000, "no line of it is a certificate"),
    ],
    ids=["binary", "a binary with a certificate", "another kind of text"],
)
def test_a_file_that_is_none_is_one_finding(content: bytes, said: str, two: Path) -> None:
    done = ssh_lint("-", two, stdin=content)
    assert done.returncode == 2
    assert done.stderr == "mysocketctl: 1 of 3 are no readable certificates\n"
    assert done.stdout.splitlines()[:2] == [
        "standard input:1: not readable",
        f"  error not-a-certificate: {said}",
    ]
    assert "principals-empty" in done.stdout
    assert len(json.loads(ssh_lint("--json", "-", stdin=content).stdout)) == 1


def test_an_endless_file_is_one_line() -> None:
    done = ssh_lint("/dev/zero")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "mysocketctl: /dev/zero has over 16777216 bytes\n"


def test_every_line_is_linted_where_one_may_be_a_certificate(two: Path) -> None:
    done = ssh_lint("-", stdin=b"nonsense\n" * 20 + GOOD)
    assert done.returncode == 2
    assert done.stdout.count("not readable") == 20
    assert "standard input:21: user certificate" in done.stdout


def test_a_file_without_a_name_is_said_to_be_that() -> None:
    done = ssh_lint("")
    assert (done.returncode, done.stderr) == (2, "mysocketctl: the name of a file is empty\n")


@pytest.mark.parametrize(("name", "why"), [("none", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, why: str) -> None:
    done = ssh_lint(tmp_path / name)
    assert done.returncode == 2
    assert done.stderr.startswith(f"mysocketctl: cannot read {tmp_path / name}: {why}")
    assert done.stderr.count("\n") == 1


def test_a_certificate_does_not_drive_the_terminal() -> None:
    line = ssh_wire.certificate(CA, key_id=b"\x1b[2Jalice\nroot", principals=(b"\x1b[31m",))
    for arguments in (["-"], ["--json", "-"]):
        done = ssh_lint(*arguments, stdin=line)
        assert done.returncode == 1
        assert "\x1b" not in done.stdout
        assert "\nroot" not in done.stdout
