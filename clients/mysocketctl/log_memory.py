"""What is kept of a gateway's log between two commands: one file of words and signed notes."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.files import read_small

MAX_UNCHECKED = 64
"""Checkpoints that wait to be compared; of a size with what somebody needs in a day's work."""
_UNCHECKED = "unchecked"


def file_name(base: str, roots: str | None) -> str:
    """The file's name; an installation with a root of its own is another gateway.

    Otherwise whoever tries the product again on ``gateway.localhost`` had to remove what was kept
    of the one before.
    """
    told_by = hashlib.sha256(base.encode())
    if roots is not None:
        with contextlib.suppress(OSError):
            told_by.update(b"\n" + Path(roots).read_bytes())
    return f"log-{told_by.hexdigest()[:16]}.json"


def read_kept(path: Path) -> dict[str, str]:
    """What the file holds; nothing if there is none. Raises InvalidInput."""
    text = read_small(path)
    if text is None:
        return {}
    try:
        kept = json.loads(text)
    except (ValueError, RecursionError):
        kept = None
    if not isinstance(kept, dict) or not all(isinstance(value, str) for value in kept.values()):
        raise _unreadable(path)
    return kept


def unchecked(kept: dict[str, str], path: Path) -> list[str]:
    """Signed checkpoints that came with certificates, and that the log has not shown to contain.

    Raises InvalidInput.
    """
    try:
        notes = json.loads(kept.get(_UNCHECKED, "[]"))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path) from error
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise _unreadable(path)
    return notes


def with_unchecked(kept: dict[str, str], notes: Sequence[str]) -> dict[str, str]:
    """The same with these checkpoints; they are text in a text, as earlier versions can read."""
    others = {name: value for name, value in kept.items() if name != _UNCHECKED}
    return others | ({_UNCHECKED: json.dumps(notes)} if notes else {})


def _unreadable(path: Path) -> InvalidInput:
    return InvalidInput(f"{path} cannot be read; remove it to begin anew")
