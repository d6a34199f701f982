"""The documentation is true: its links lead somewhere and its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from idp_gateway.settings import CaSettings, ProviderSettings, Settings
from proxy.settings import EdgeSettings
from tests.support.documentation import ROOT, anchors, markdown_files, shell_blocks

PROGRAMS = {
    "mysocketctl": "clients.mysocketctl.__main__",
    "mysocket": "clients.mysocket.__main__",
}


@pytest.mark.parametrize("page", markdown_files(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert broken == []


def commands(program: str) -> set[tuple[str, ...]]:
    """Every use of ``program`` in the shell blocks, as words; quotes are left as they are."""
    use = re.compile(rf"(?:^|[|&;(])\s*(?:[\w./-]+/)?{program}((?: [^|&>)\n#]*)?)", re.MULTILINE)
    return {
        tuple(found[1].split())
        for page in markdown_files()
        for block in shell_blocks(page.read_text("utf-8"))
        for found in use.finditer(block.replace("\\\n", " "))
    }


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {words[0] for words in commands("make") if words}
    assert named <= targets
    assert {"up", "test"} <= named


def test_make_up_sets_up_and_becomes_the_product() -> None:
    commands = ["make", "--dry-run", "--no-print-directory", "up", "ARGS=--https-port 443"]
    said = subprocess.run(commands, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert said.splitlines() == [
        "scripts/setup server",
        "exec .venv/bin/mysocket up --https-port 443",
    ]


def test_make_down_installs_nothing() -> None:
    said = subprocess.run(
        ["make", "--dry-run", "down"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert "setup" not in said
    assert ".venv/bin/mysocket down" in said


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_commands_and_options_exist(program: str) -> None:
    wrong = []
    for words in sorted(commands(program)):
        subcommand = [w for w in words[: _first_option(words)] if re.fullmatch(r"[a-z-]+", w)]
        shown = _help(program, subcommand)
        options = {w.partition("=")[0] for w in words if w.startswith("-")}
        missing = [option for option in options if not re.search(rf"(?<![\w-]){option}\b", shown)]
        if missing:
            wrong.append((words, missing))
    assert wrong == []


def _first_option(words: tuple[str, ...]) -> int:
    return next((i for i, word in enumerate(words) if word.startswith("-")), len(words))


def _help(program: str, subcommand: list[str]) -> str:
    outcome = subprocess.run(
        [sys.executable, "-m", PROGRAMS[program], *subcommand, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    gateway, edge = page.split("## Edge")
    for model, section in (
        (Settings, gateway),
        (ProviderSettings, gateway),
        (CaSettings, gateway),
        (EdgeSettings, edge),
    ):
        documented = set(re.findall(r"`(\w+)`", section))
        assert set(model.model_fields) <= documented


def test_documented_settings_exist() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    rows = re.findall(r"^\| ([`\w, ]+) \|", page, re.MULTILINE)
    documented = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    models = (Settings, ProviderSettings, CaSettings, EdgeSettings)
    known = {field for model in models for field in model.model_fields}
    assert documented <= known


def test_settings_that_the_contracts_name_exist() -> None:
    page = (ROOT / "docs" / "internals.md").read_text("utf-8")
    rows = re.findall(r"^\|[^|]+\|[^|]+\| (`[\w`, ]+`)(?: \([^)]*\))? \|$", page, re.MULTILINE)
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row)}

    assert "listen_socket" in named
    assert named <= {*Settings.model_fields, *EdgeSettings.model_fields}


@pytest.mark.parametrize("page", markdown_files(), ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    roots = "idp_gateway|ca|policy|templates|proxy|clients|tests|bench|docs|scripts|requirements"
    named = re.findall(rf"`((?:{roots})/[\w./-]+)`", page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []
