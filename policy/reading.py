"""YAML or JSON text as plain values, with the line of each.

Only what both formats share is taken: mappings with text as keys, lists, text, whole numbers,
booleans and null. Plain words are read as YAML 1.2's core schema has them, so ``NO`` is Norway and
``08:00`` a time of day. Anchors, aliases, tags, merges and a second document are refused.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from policy.errors import DocumentError, Fault

MAX_BYTES = 64 * 1024
"""Of the text as it is given; reading takes about a second for so much YAML."""
MAX_DEPTH = 16
MAX_ENTRIES = 10_000
"""Values of all kinds, nested ones included."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.nan"
)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Text:
    """What a text says, and the line on which each of its values begins, by path."""

    value: Any
    lines: dict[str, int] = field(default_factory=dict)


def read_text(text: str) -> Text:
    """Read ``text`` as one document.

    Raises:
        DocumentError: it is neither, too large, too deep, or uses more than the two share.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _error("", None, f"larger than {MAX_BYTES // 1024} KiB")
    try:
        return _Builder(yaml.parse(_without_tabs(text), Loader=yaml.SafeLoader)).document()
    except DocumentError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = error.problem or error.context or "cannot be read"
        raise _error("", mark.line + 1 if mark else None, f"not YAML or JSON: {said}") from error
    except yaml.YAMLError as error:
        raise _error("", None, "not YAML or JSON: it has characters that no text has") from error
    except (ValueError, OverflowError) as error:
        # The scanner lets through what chr and int refuse: "\UFFFFFFFF", a version of many digits.
        raise _error("", None, "not YAML or JSON: it has a number that is too large") from error


def child(path: str, key: str | int) -> str:
    """The path of a member of what is at ``path``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    shown = key if re.fullmatch(r"[\w-]{1,64}", key) else json.dumps(key[:64])
    return f"{path}.{shown}" if path else shown


def _without_tabs(text: str) -> str:
    """JSON may be indented with tabs, YAML may not; inside JSON's strings there are none."""
    if "\t" not in text or not text.lstrip().startswith(("{", "[")):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", " ")


class _Builder:
    """Makes values of parser events, without recursion deeper than ``MAX_DEPTH``."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._lines: dict[str, int] = {}
        self._entries = 0

    def document(self) -> Text:
        self._expect(yaml.StreamStartEvent)
        started = next(self._events)
        if not isinstance(started, yaml.DocumentStartEvent):
            raise _error("", 1, "the document is empty")
        value = self._value(next(self._events), "", 1)
        self._expect(yaml.DocumentEndEvent)
        following = next(self._events)
        if not isinstance(following, yaml.StreamEndEvent):
            raise _error("", _line(following), "more than one document")
        return Text(value, self._lines)

    def _expect(self, kind: type) -> None:
        event = next(self._events)
        if not isinstance(event, kind):
            raise _error("", _line(event), "not one document")

    def _value(self, event: Any, path: str, depth: int) -> Any:
        line = _line(event)
        self._lines.setdefault(path, line)
        self._entries += 1
        if isinstance(event, yaml.AliasEvent):
            raise _error(path, line, "aliases are not accepted: write the value out")
        if event.anchor is not None:
            raise _error(path, line, "anchors are not accepted")
        if event.tag not in {None, "!"}:
            raise _error(path, line, "tags are not accepted")
        if self._entries > MAX_ENTRIES:
            raise _error(path, line, f"more than {MAX_ENTRIES} values")
        if depth > MAX_DEPTH:
            raise _error(path, line, f"nested deeper than {MAX_DEPTH}")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event, path, line)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path, depth)
        return self._mapping(path, depth)

    def _list(self, path: str, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, child(path, len(values)), depth + 1))
        return values

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = _line(event)
            if (
                not isinstance(event, yaml.ScalarEvent)
                or event.anchor
                or event.tag not in {None, "!"}
            ):
                raise _error(path, line, "a key is plain text")
            key = _plain(event.value, path, line)
            place = child(path, key)
            if key in values:
                raise _error(place, line, "given twice")
            self._lines[place] = line
            values[key] = self._value(next(self._events), place, depth + 1)
        return values


def _scalar(event: Any, path: str, line: int) -> Any:
    text = _plain(event.value, path, line)
    if event.style is not None or not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        raise _error(path, line, f"not a whole number: {text[:40]}")
    return text


def _plain(text: str, path: str, line: int) -> str:
    """JSON writes characters beyond U+FFFF as two escapes; put them together again."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeError as error:
        raise _error(path, line, "half a character (a lone surrogate)") from error


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _error(path: str, line: int | None, message: str) -> DocumentError:
    return DocumentError((Fault(path, line, message),))
