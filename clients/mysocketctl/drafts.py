"""Editing a text in the person's own editor until it is accepted, without losing what they wrote.

A draft is a private file; it goes away only when its text was accepted or never changed. What there
is to say about it stands on top, in lines that begin with ``#:``.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from clients.mysocketctl.errors import ClientError, DraftKept, InvalidInput, PolicyFaulty
from clients.mysocketctl.files import HomeFiles, read_small, remove, write_private

_MARK = "#:"
_MOST_FAULTS = 50
"""Faults shown on top of a draft."""
_Result = TypeVar("_Result")


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """The words that start the editor; no shell sees them. Raises InvalidInput."""
    chosen = environ.get("VISUAL") or environ.get("EDITOR") or "vi"
    try:
        words = shlex.split(chosen)
    except ValueError as error:
        raise InvalidInput(f"EDITOR makes no sense: {chosen!r}") from error
    if not words or shutil.which(words[0]) is None:
        raise InvalidInput(f"there is no editor {chosen!r}; EDITOR names one")
    return words


def edit(
    files: HomeFiles,
    name: str,
    text: str,
    *,
    preface: Sequence[str],
    accept: Callable[[str], _Result],
) -> _Result | None:
    """Let a person change ``text`` until ``accept`` takes it; ``None`` if they change nothing.

    ``accept`` raises PolicyFaulty for what the person can put right: the editor opens again with
    the faults on top. An empty file, an unchanged one or an editor that fails is giving up.

    Raises:
        InvalidInput: there is no editor.
        DraftKept: the person gave up after a change.
        ClientError: as ``accept`` does; it then also says where the draft is.
    """
    editor = editor_command(os.environ)
    draft = files.drafts / f"{name}-{os.urandom(4).hex()}.yaml"
    first, top = text, list(preface)
    while True:
        write_private(draft, _with_top(top, text))
        changed = _run_editor(editor, draft)
        edited = _without_top(read_small(draft) or "")
        if not changed or edited in {text, ""}:
            _give_up(draft, first, text if edited == "" else edited)
            return None
        text = edited
        try:
            result = accept(text)
        except PolicyFaulty as error:
            top = _faults_on_top(error)
        except KeyboardInterrupt as error:
            raise DraftKept(f"interrupted; the draft is kept: {draft}") from error
        except ClientError as error:
            error.details = (*error.details, f"the draft is kept: {draft}")
            raise
        else:
            remove(draft)
            return result


def _give_up(draft: Path, first: str, text: str) -> None:
    """Nothing was accepted: keep what differs from the ``first`` text. Raises DraftKept."""
    if text == first:
        remove(draft)
        return
    write_private(draft, text)
    raise DraftKept(f"given up, nothing was changed; the draft is kept: {draft}")


def _run_editor(editor: Sequence[str], draft: Path) -> bool:
    """Whether the editor ended well."""
    with _interrupts_left_to_the_editor():
        try:
            return subprocess.run([*editor, str(draft)], check=False).returncode == 0
        except OSError as error:
            raise InvalidInput(f"cannot run {editor[0]}: {error.strerror}") from error


@contextlib.contextmanager
def _interrupts_left_to_the_editor() -> Iterator[None]:
    """^C reaches both of us; it is the editor's. (Ignoring it would be inherited.)"""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _with_top(lines: Sequence[str], text: str) -> str:
    return "".join(f"{_MARK} {line}\n" for line in lines) + text


def _without_top(text: str) -> str:
    lines = text.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if not line.startswith(_MARK)), len(lines))
    rest = "".join(lines[start:])
    return rest if rest.strip() else ""


def _faults_on_top(error: PolicyFaulty) -> list[str]:
    """The faults, with the lines they are on below this very text."""
    shown = error.faults[:_MOST_FAULTS]
    more = len(error.faults) - len(shown)
    head = [f"Not accepted: {error}. Save without a change, or an empty file, to give up."]
    tail = [f"… and {more} more"] if more else []
    height = len(head) + len(shown) + len(tail)
    said = [
        str(fault) if fault.line is None else f"line {fault.line + height}: {fault}"
        for fault in shown
    ]
    return [*head, *said, *tail]
