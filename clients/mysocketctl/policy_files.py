"""Policy documents in files: read strictly, every fault with its place, before anything is sent.

Everything about the language is imported when a document is read: most commands read none.
"""

import json
import re
from typing import TYPE_CHECKING

from clients.mysocketctl.api import Json
from clients.mysocketctl.errors import Fault, GatewayRefused, InvalidInput, PolicyFaulty
from clients.mysocketctl.files import read_named, shown_name

if TYPE_CHECKING:
    from policy.document import PolicyDocument

MAX_DOCUMENT_BYTES = 1 << 20
"""Longest document read, in bytes."""


def read_policy_file(name: str) -> "PolicyDocument":
    """The document in the file of that name, ``-`` being standard input.

    Raises:
        InvalidInput: the file cannot be read, is too large, or is no text.
        PolicyFaulty: the document breaks the format.
    """
    return read_policy_text(read_text(name, MAX_DOCUMENT_BYTES), shown_name(name))


def read_source(name: str) -> tuple[dict[str, Json], str]:
    """The same as the API takes it, once it is known to be sound; and how to call the file.

    It is sent as it was written, so that what only the gateway can find has a line, too.
    """
    text = read_text(name, MAX_DOCUMENT_BYTES)
    read_policy_text(text, shown_name(name))
    return {"policy_text": text}, shown_name(name)


def read_text(name: str, most: int) -> str:
    """A named file of at most so many bytes. Raises InvalidInput."""
    try:
        return read_named(name, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{shown_name(name)} is not UTF-8") from error


def read_policy_text(text: str, name: str) -> "PolicyDocument":
    """The document that ``text`` is; ``name`` is what faults call it. Raises PolicyFaulty."""
    from policy.document import read_document  # noqa: PLC0415 - see above
    from policy.errors import DocumentError  # noqa: PLC0415

    try:
        return read_document(text)
    except DocumentError as error:
        faults = [Fault(fault.path, fault.line, fault.message) for fault in error.faults]
        raise PolicyFaulty(name, faults or [Fault("", None, str(error))]) from error


def refused_document(error: GatewayRefused, name: str) -> PolicyFaulty | None:
    """What the gateway finds wrong with a document; ``None`` if it refuses something else."""
    return PolicyFaulty(name, error.faults) if error.faults else None


_ORDER = ("version", "action", "condition", "who", "where", "when", "deny", "prefix_lists")
"""How documents are written; what is not among these comes after them."""


_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
"""What YAML 1.2 reads as a number; some of it, such as ``089`` and ``1e3``, was text in YAML 1.1,
and is written as that."""


def as_yaml(document: Json) -> str:
    """A stored document as YAML, for people; if that is more than may be read back, as JSON, which
    is YAML as well.
    """
    import yaml  # noqa: PLC0415 - see above

    from policy.reading import MAX_BYTES  # noqa: PLC0415 - see above

    class Dumper(yaml.SafeDumper):
        """Quotes what the reader would not take for text."""

    def quoted(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
        style = "'" if _NUMBER.fullmatch(text) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, quoted)
    written = yaml.dump(
        _in_order(document),
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=False,  # nothing in a document drives the terminal
        default_flow_style=None,  # lists of plain values stay on one line
        width=100,
    )
    assert isinstance(written, str)  # noqa: S101 - there is no stream to write to
    if len(written) > MAX_BYTES:
        text = _as_json(document)
        return text if len(text.encode()) >= MAX_BYTES else text + "\n"
    return written


def _as_json(document: Json) -> str:
    """As a gateway keeps it, and so no longer than that; what drives a terminal is escaped."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def _in_order(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    known = [name for name in _ORDER if name in value]
    return {name: _in_order(value[name]) for name in dict.fromkeys([*known, *value])}
