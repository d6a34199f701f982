"""``policy test``, ``explain --file`` and ``schema``: no gateway, no login, no network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clients.mysocketctl.offline import ASSURANCES
from clients.mysocketctl.policy_files import as_yaml
from policy.reading import MAX_BYTES, read_text
from policy.types import Assurance
from tests.support.documentation import ROOT

DOCUMENT = """\
version: v2
action: [http, tls]
condition:
  who:
    email: [alice@example.com]
    group: ["github:acme/ops"]
  where:
    prefix_list: [offices]
  assurance: provider-verified
prefix_lists:
  offices: [192.0.2.0/24]
expect:
  - {as: {email: alice@example.com}, from: 192.0.2.7, allow: true}
  - {as: {email: bob@example.com}, from: 192.0.2.7, allow: false}
"""
ALICE = ("--as", "alice@example.com", "--from", "192.0.2.7")
WRONG_CASE = DOCUMENT + "  - {as: {email: alice@example.com}, from: 203.0.113.1, allow: true}\n"


def ctl(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "clients.mysocketctl", "policy", *words],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "MYSOCKET_API": "https://gateway.invalid",
        },
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "office.yaml"
    path.write_text(DOCUMENT)
    return str(path)


def test_cases_that_come_out_as_expected(file: str) -> None:
    done = ctl("test", file, "-", stdin=DOCUMENT.encode())
    assert (done.returncode, done.stdout, done.stderr) == (0, "4 cases, all as expected\n", "")


def test_a_case_that_does_not_says_what_came_out(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG_CASE)
    done = ctl("test", str(path))
    assert (done.returncode, done.stderr) == (1, "")
    failed, summary = done.stdout.splitlines()
    assert failed.startswith(f"{path}:{len(WRONG_CASE.splitlines())}: expect[2]: ")
    assert "address-not-allowed" in failed
    assert summary == "3 cases, 1 failed"
    (report,) = json.loads(ctl("test", "--json", str(path)).stdout)
    assert (report["cases"], [one["path"] for one in report["failed"]]) == (3, ["expect[2]"])


def test_every_fault_has_its_line_and_the_others_are_still_tested(
    file: str, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: v2\naction: [fly]\ncolor: red\ncondition: {who: {email: [nobody]}}\n")
    done = ctl("test", str(bad), file)
    assert done.returncode == 1
    *faults, summary = done.stdout.splitlines()
    assert sorted(fault.partition(": ")[0] for fault in faults) == [
        f"{bad}:{line}" for line in (2, 3, 4)
    ]
    assert summary == "2 cases, all as expected; with faults: 1 document"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b"\x00",
        b"a: &a [*a]",
        b"{" * 10_000,
        b"!!python/object:os.system {}",
        b"a: b: c",
    ],
    ids=["empty", "list", "binary", "loop", "deep", "object", "syntax"],
)
def test_what_is_no_policy_is_no_traceback(content: bytes) -> None:
    done = ctl("test", "-", stdin=content)
    assert (done.returncode, done.stderr) == (1, ""), done
    assert done.stdout.startswith("standard input")


def test_a_list_of_the_account_can_be_given(tmp_path: Path) -> None:
    path, offices = tmp_path / "p.yaml", tmp_path / "offices.txt"
    path.write_text(DOCUMENT.replace("prefix_lists:\n  offices: [192.0.2.0/24]\n", ""))
    offices.write_text("# ours\n192.0.2.0/25\n192.0.2.128/25\n")
    for words in (("test", str(path)), ("explain", "--file", str(path), *ALICE)):
        done = ctl(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"mysocketctl: {path} names the prefix list offices: say --prefix-list offices=FILE\n"
        )
    done = ctl("test", "--prefix-list", f"offices={offices}", str(path))
    assert (done.returncode, done.stdout) == (0, "2 cases, all as expected\n")
    offices.write_text("nonsense\n")
    done = ctl("test", "--prefix-list", f"offices={offices}", str(path))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert str(offices) in done.stderr


def test_explain_names_the_rule_and_what_would_have_changed_it(file: str) -> None:
    def explained(*words: str) -> tuple[str, str]:
        done = ctl("explain", "--file", file, *words, "--at", "2026-03-02T09:00:00+01:00")
        assert done.returncode == 0, done
        shown = ctl(
            *("explain", "--json", "--file", file, *words, "--at", "2026-03-02T09:00:00+01:00")
        )
        return json.loads(shown.stdout)["effect"], done.stdout

    alice = ("--as", "Alice@example.com")
    assert explained(*alice, "--from", "192.0.2.7")[0] == "allow"
    assert explained(*alice, "--from", "192.0.2.7", "--action", "tls")[0] == "allow"
    assert explained(*alice, "--from", "192.0.2.7", "--action", "ssh")[0] == "deny"
    assert explained(*alice, "--from", "192.0.2.7", "--assurance", "local-password")[0] == "deny"
    bob = ("--as", "bob@example.com", "--from", "192.0.2.7")
    assert explained(*bob)[0] == "deny"
    assert explained(*bob, "--provider", "github", "--group", "github:acme/ops")[0] == "allow"
    effect, said = explained(*alice, "--from", "203.0.113.9")
    assert effect == "deny"
    assert "address-not-allowed" in said
    assert "192.0.2.0/24" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--socket, --file and --decision"),
        (("--file", "FILE", "--socket", "x"), "--socket, --file and --decision"),
        (("--file", "FILE"), "--as"),
        (("--file", "FILE", "--as", "alice@example.com"), "--from"),
        (("--file", "FILE", "--as", "alice"), "exactly one @"),
        (("--file", "FILE", "--as", "a@example.com", "--at", "2026-03-02 09:00"), "offset"),
        (("--file", "FILE", "--as", "a@example.com", "--at", "1772438400"), "offset"),
        (("--file", "FILE", "--as", "a@example.com", "--from", "192.0.2.0/24"), "IP address"),
        (("--file", "FILE", "--as", "a@example.com", "--from", "fe80::1%eth0"), "IP address"),
        (("--file", "FILE", "--as", "a@example.com", "--group", "ops"), "<provider>:<name>"),
        (("--file", "FILE", "--as", "a@example.com", "--country", "NLD"), "two letters"),
        (("--file", "FILE", "--as", "a@example.com", "--provider", "Git Hub"), "not a word"),
        (("--file", "/nowhere", "--as", "a@example.com"), "cannot read"),
        (("--socket", "x", "--as", "a@example.com", "--prefix-list", "a=b"), "--file"),
        (("--file", "FILE", "--as", "a@example.com", "--prefix-list", "a"), "<list>=<file>"),
    ],
)
def test_wrong_input_is_one_line(words: tuple[str, ...], said: str, file: str) -> None:
    done = ctl("explain", *(file if word == "FILE" else word for word in words))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done
    assert said in done.stderr


def test_the_schema_is_for_editors() -> None:
    schema = json.loads(ctl("schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_words_of_assurance_are_those_of_the_language() -> None:
    assert [one.value for one in Assurance] == list(ASSURANCES)


def test_what_is_written_is_read_as_it_was() -> None:
    """Texts that YAML 1.1 and 1.2 read differently, and numbers, as values and as keys."""
    texts = ["089", "-09", "+1", "1e3", "1E5", "1.5e-3", ".5", "5.", "1_000", "0x1f", "0o17", "010"]
    texts += [
        "12:30",
        "12:30:45",
        "1:1",
        "2026-03-01",
        "yes",
        "NO",
        "on",
        "y",
        "null",
        "~",
        "",
        "=",
    ]
    texts += [
        "True",
        ".inf",
        "-.INF",
        ".nan",
        ".NaN",
        "<<",
        "- a",
        "#x",
        "a: b",
        "a #b",
        "@x",
        "%x",
    ]
    texts += [
        "{",
        "[a]",
        "'",
        '"',
        "\\",
        " a ",
        "a\nb\n",
        "\t",
        "\u0085",
        "\U0001f600",
        "ü",
        "*a",
        "&a",
    ]
    texts += ["word " * 60, "1" * 30]
    document = {"who": texts, "when": {text: text for text in texts if text}, "asn": [1, -5, 0]}
    document |= {"client_proof": True, "deny": [{"name": text} for text in texts]}
    assert read_text(as_yaml(document)).value == document


def test_a_document_too_long_as_yaml_is_written_as_json() -> None:
    """Indented, it would be longer than what may be read back."""
    rules = [{"name": f"rule {n}", "who": {"email": [f"p{n}@corp.test"]}} for n in range(1_000)]
    document = {"version": "v2", "deny": rules}
    assert len(json.dumps(document, separators=(",", ":"))) < MAX_BYTES
    text = as_yaml(document)
    assert len(text) <= MAX_BYTES
    assert read_text(text).value == document


def test_a_long_document_is_read_back_whatever_its_letters_are() -> None:
    rules = [{"name": "字" * 200, "who": {"email": [f"p{n}@corp.test"]}} for n in range(100)]
    document = {"version": "v2", "deny": rules}
    kept = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    assert MAX_BYTES * 0.9 < len(kept.encode()) <= MAX_BYTES
    text = as_yaml(document)
    assert text == kept + "\n"
    assert read_text(text).value == document


def test_nothing_in_a_long_document_drives_the_terminal() -> None:
    document = {"version": "v2", "names": ["\x9b31m\u202e", "\U000e0001", "x" * MAX_BYTES]}
    text = as_yaml(document)
    assert text.strip().isprintable()
    assert json.loads(text) == document
