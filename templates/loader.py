"""Finds and renders the templates.

Two environments, because two things must never be mixed up: pages are HTML and escape everything,
snippets are configuration files and escape nothing, so their values are checked before they come
here. Both refuse a name that was not given (``StrictUndefined``) instead of printing an empty one.
"""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_FOLDER = Path(__file__).parent
_STATIC = {"mysocket.css": "text/css; charset=utf-8", "mysocket.svg": "image/svg+xml"}


@cache
def _pages() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _snippets() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=False,  # noqa: S701 - configuration files, not HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render_page(name: str, values: dict[str, object]) -> str:
    """Render ``<name>.html.j2`` with every value escaped.

    Raises:
        jinja2.TemplateNotFound: no such page.
        jinja2.UndefinedError: the page names a value that ``values`` lacks.
    """
    return _pages().get_template(f"{name}.html.j2").render(values)


def render_snippet(name: str, values: dict[str, str]) -> str:
    """Render ``<name>.conf.j2`` as plain text.

    Raises:
        ValueError: a value has a control character; it could start a line of its own.
    """
    for key, value in values.items():
        if not value.isprintable():
            raise ValueError(f"{key} has a character that configuration files cannot hold")
    return _snippets().get_template(f"{name}.conf.j2").render(values)


@cache
def static_file(name: str) -> tuple[bytes, str] | None:
    """Content and media type of a file the pages refer to, or ``None`` for any other name."""
    media_type = _STATIC.get(name)
    if media_type is None:
        return None
    return (_FOLDER / "static" / name).read_bytes(), media_type
