"""The files of the project, whatever the tree: a clone, somebody else's clone, an export."""

import os
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path


def files_of(root: Path) -> tuple[Path, ...]:
    """Every file below ``root`` that is committed or could be, in a stable order."""
    found = _listed_by_git(root) if (root / ".git").exists() else None
    return tuple(sorted(_walked(root) if found is None else found))


def _listed_by_git(root: Path) -> list[Path] | None:
    """What git says; None without a git that can read this repository."""
    # The checkout may belong to somebody else (a mounted volume, a CI's workspace).
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    try:
        done = subprocess.run(
            [*command, "--cached", "--others", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    if done.returncode != 0:
        return None
    paths = (root / os.fsdecode(name) for name in done.stdout.split(b"\0") if name)
    return [path for path in paths if path.is_file()]


def _walked(root: Path) -> Iterator[Path]:
    """Every file but what ``.gitignore`` names; each of its lines is a plain name or pattern."""
    lines = (
        (root / ".gitignore").read_text("utf-8").split() if (root / ".gitignore").exists() else []
    )
    ignored = [".git", *(line.rstrip("/") for line in lines)]

    def kept(path: str) -> bool:
        relative = os.path.relpath(path, root)
        return not any(
            fnmatch(relative, pattern) or fnmatch(os.path.basename(path), pattern)  # noqa: PTH119
            for pattern in ignored
        )

    for directory, below, names in os.walk(root):
        below[:] = [name for name in below if kept(f"{directory}/{name}")]
        yield from (Path(directory, name) for name in names if kept(f"{directory}/{name}"))
