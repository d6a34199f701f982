"""Editing until it is accepted: what was written is never lost, and faults stand where they are."""

import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from clients.mysocketctl import drafts
from clients.mysocketctl.errors import (
    DraftKept,
    Fault,
    GatewayUnreachable,
    InvalidInput,
    PolicyFaulty,
)
from clients.mysocketctl.files import HomeFiles

TEXT = "version: v2\n"
_EDITOR = """
import pathlib, sys
turns, seen, draft = map(pathlib.Path, sys.argv[1:])
number = len(list(seen.iterdir()))
(seen / str(number)).write_text(draft.read_text())
turn = turns / str(number)
if not turn.exists():
    sys.exit(1)
draft.write_text(turn.read_text().replace("<as it is>", draft.read_text()))
"""


@pytest.fixture
def files(tmp_path: Path) -> HomeFiles:
    return HomeFiles(tmp_path / "home")


class Person:
    """Types one text after the other; leaves the editor with an error when there is none."""

    def __init__(self, directory: Path, files: HomeFiles) -> None:
        self.files = files
        self.turns, self.seen = directory / "turns; echo", directory / "seen $(x)"
        self.turns.mkdir()
        self.seen.mkdir()
        program = directory / "editor.py"
        program.write_text(_EDITOR)
        self.command = f"'{sys.executable}' {program} '{self.turns}' '{self.seen}'"

    def edit(self, texts: Sequence[str], accept: Callable[[str], str]) -> str | None:
        for number, text in enumerate(texts):
            (self.turns / str(number)).write_text(text)
        return drafts.edit(self.files, "p", TEXT, preface=["Policy p."], accept=accept)

    def shown(self, number: int) -> str:
        return (self.seen / str(number)).read_text()

    @property
    def kept(self) -> list[str]:
        return [path.read_text() for path in self.files.drafts.glob("*")]


@pytest.fixture
def person(tmp_path: Path, files: HomeFiles, monkeypatch: pytest.MonkeyPatch) -> Person:
    someone = Person(tmp_path, files)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", someone.command)
    return someone


def refuse_bad(text: str) -> str:
    bad = [
        Fault("condition.who", number, "bad")
        for number, line in enumerate(text.splitlines(), 1)
        if "bad" in line
    ]
    if bad:
        raise PolicyFaulty("the draft", bad)
    return text


def test_what_is_accepted_leaves_no_draft(person: Person) -> None:
    assert person.edit(["a: 1\n"], refuse_bad) == "a: 1\n"
    assert person.shown(0) == f"#: Policy p.\n{TEXT}"
    assert person.kept == []


def test_what_is_not_changed_is_not_sent(person: Person) -> None:
    for texts in (["<as it is>"], [TEXT], [""], ["\n \n"], ["#: Policy p.\n"], []):
        for old in [*person.turns.iterdir(), *person.seen.iterdir()]:
            old.unlink()
        assert person.edit(texts, pytest.fail) is None
        assert person.kept == []


def test_faults_are_on_top_with_the_lines_they_are_on_there(person: Person) -> None:
    assert person.edit(["a: 1\nb: bad\nc: bad\n", "a: 2\n"], refuse_bad) == "a: 2\n"
    top = person.shown(1).splitlines()
    assert "2 faults" in top[0]
    for said, line in ((top[1], "b: bad"), (top[2], "c: bad")):
        number = int(said.removeprefix("#: line ").partition(":")[0])
        assert said.endswith(": condition.who: bad")
        assert top[number - 1] == line
    assert person.kept == []


@pytest.mark.parametrize("last", ["<as it is>", "", None], ids=["unchanged", "empty", "fails"])
def test_who_gives_up_keeps_what_they_wrote(person: Person, last: str | None) -> None:
    texts = ["a: bad\n", "b: bad\n"] + ([] if last is None else [last])
    with pytest.raises(DraftKept) as caught:
        person.edit(texts, refuse_bad)
    (draft,) = person.files.drafts.iterdir()
    assert str(draft) in str(caught.value)
    assert draft.read_text() == "b: bad\n"
    assert stat.S_IMODE(draft.stat().st_mode) == 0o600


def test_an_editor_that_fails_after_saving_loses_nothing(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", "sh -c 'echo x: 1 > \"$0\"; exit 1'")
    with pytest.raises(DraftKept):
        person.edit([], pytest.fail)
    assert person.kept == ["x: 1\n"]


def test_a_gateway_that_is_gone_costs_nothing(person: Person) -> None:
    def gone(_text: str) -> str:
        raise GatewayUnreachable("no answer")

    with pytest.raises(GatewayUnreachable) as caught:
        person.edit(["a: 1\n"], gone)
    (draft,) = person.files.drafts.iterdir()
    assert caught.value.details == (f"the draft is kept: {draft}",)
    assert draft.read_text().endswith("a: 1\n")


@pytest.mark.parametrize("editor", ["/nowhere/vi", "'", "   "])
def test_an_editor_that_is_none_is_said_before_anything(
    editor: str, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", editor)
    with pytest.raises(InvalidInput, match="EDITOR"):
        person.edit(["a: 1\n"], refuse_bad)
    assert not person.files.drafts.exists()


def test_many_faults_do_not_bury_the_text(person: Person) -> None:
    person.edit(["bad\n" * 80, "a: 1\n"], refuse_bad)
    top = [line for line in person.shown(1).splitlines() if line.startswith("#:")]
    assert len(top) == 52
    assert top[-1] == "#: … and 30 more"
    assert f"line {52 + 1}: " in top[1]
