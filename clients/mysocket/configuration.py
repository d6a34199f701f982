"""The two settings files of a state directory: written once, then only what an option changes.

They belong to the operator, who may edit or write them; so a later option replaces its own line,
what is left out is added, and nothing else is touched. TOML's basic strings, numbers and arrays
are spelled as JSON spells them.
"""

import json
import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.mysocket.errors import StackError
from clients.mysocket.layout import Layout
from clients.mysocketctl.errors import ClientError
from clients.mysocketctl.files import write_private

DEFAULTS: Mapping[str, Any] = {
    "gateway_names": ["gateway.localhost"],
    "edge_domain": "edge.localhost",
    "https_port": 8443,
    "http_port": 8080,
    "tunnel_port": 2222,
    "port_range": [20000, 29999],
    "listen_address": "127.0.0.1",
}
_EDGE_ONLY = {"listen_address"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What ``up`` itself needs of the settings."""

    gateway_name: str
    edge_domain: str
    https_port: int
    http_port: int
    tunnel_port: int
    port_range: tuple[int, int]
    listen_address: str

    @property
    def base_url(self) -> str:
        return self.url(self.gateway_name)

    def url(self, name: str) -> str:
        """Address of a name at the edge."""
        return f"https://{name}" + ("" if self.https_port == 443 else f":{self.https_port}")

    @property
    def dial_address(self) -> str:
        """Where this machine finds the edge's ports."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(  # noqa: S104 - compared, not bound
            self.listen_address, self.listen_address
        )


def configure(layout: Layout, options: Mapping[str, Any]) -> Stack:
    """Write or adapt both files to the given options; what then holds.

    What a file leaves out is added to it: a settings file written by hand must not make the parts
    look for their state, or for each other, anywhere but below this very directory.

    Raises:
        StackError: a file cannot be read or written, makes no sense, or belongs to another state
            directory.
    """
    given = {name: value for name, value in options.items() if value is not None}
    said = _read(layout.gateway_config) if layout.gateway_config.exists() else {}
    shared = {name: said[name] for name in DEFAULTS if name in said and name not in _EDGE_ONLY}
    wanted = _first(shared | given)
    try:
        for part in (gateway_part(layout), edge_part(layout)):
            _refuse_other(part, layout, part.places)
            _update(part, wanted, given.keys())
        return read_stack(layout)
    except ClientError as error:
        raise StackError("state-not-writable", str(error)) from error


def _first(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What holds where neither an option nor a file says anything."""
    wanted: dict[str, Any] = {**DEFAULTS, **given}
    return wanted | {"signup_open": False} if _local(wanted["edge_domain"]) else wanted


def _local(domain: object) -> bool:
    """Whether the names are this machine's.

    Browsers send the cookies of names below ``localhost`` to every port of the machine, in the
    clear too, so nobody but the operator makes accounts there.
    """
    return str(domain).rpartition(".")[2] == "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The gateway or the edge: its settings file, and what makes it part of the state directory."""

    config: Path
    prefix: str
    """Of the variables that override the file."""
    fixed: Mapping[str, Any]
    places: frozenset[str]
    """Those of ``fixed`` that ``up`` cannot do without."""
    not_here: frozenset[str]
    """Settings of the other part."""


def gateway_part(layout: Layout) -> Part:
    return Part(
        config=layout.gateway_config,
        prefix="MYSOCKET_",
        fixed={
            "state_dir": str(layout.state),
            "listen_socket": str(layout.run / "gateway.sock"),
            "listen_address": "",
        },
        places=frozenset({"state_dir", "listen_socket"}),
        not_here=frozenset({"listen_address"}),
    )


def edge_part(layout: Layout) -> Part:
    return Part(
        config=layout.edge_config,
        prefix="MYSOCKET_EDGE_",
        fixed={
            "state_dir": str(layout.state / "edge"),
            "run_dir": str(layout.run),
            "gateway": f"unix:{layout.run / 'gateway.sock'}",
            "edge_key_file": str(layout.state / "secrets" / "edge.key"),
        },
        places=frozenset({"state_dir", "run_dir", "gateway"}),
        not_here=frozenset({"port_range", "signup_open"}),
    )


def variables(layout: Layout, part: Part) -> dict[str, str]:
    """What a part that is run alone is told by variables, because its settings file is silent.

    The file stays as it is: whoever runs this may not be its owner.

    Raises:
        StackError: the file cannot be read, or belongs to another state directory.
    """
    _refuse_other(part, layout, frozenset({"state_dir"}))
    said = _read(part.config)
    told = dict(part.fixed)
    if "signup_open" not in part.not_here and _local(_first(said)["edge_domain"]):
        told["signup_open"] = "false"
    names = {name: f"{part.prefix}{name.upper()}" for name in told if name not in said}
    return {names[name]: told[name] for name in names if names[name] not in os.environ}


def _refuse_other(part: Part, layout: Layout, places: frozenset[str]) -> None:
    """Raises StackError if the part would work on another state directory than ours."""
    said = _read(part.config) if part.config.exists() else {}
    for name in sorted(places):
        variable = f"{part.prefix}{name.upper()}"
        source = variable if variable in os.environ else str(part.config)
        found = os.environ.get(variable, said.get(name, ""))
        if found not in ("", part.fixed[name]) and _place(found) != _place(part.fixed[name]):
            raise StackError(
                "other-state",
                f"{source} says {name} is {found}, but --state is {layout.state}, for which"
                f" it must be {part.fixed[name]}; correct or remove it",
            )


def _place(text: object) -> Path:
    return Path(str(text).removeprefix("unix:")).resolve()


def read_stack(layout: Layout) -> Stack:
    """What the files say. Raises StackError."""
    gateway, edge = _read(layout.gateway_config), _read(layout.edge_config)
    merged = dict(DEFAULTS) | gateway
    first, last = merged["port_range"]
    return Stack(
        gateway_name=merged["gateway_names"][0],
        edge_domain=merged["edge_domain"],
        https_port=merged["https_port"],
        http_port=merged["http_port"],
        tunnel_port=merged["tunnel_port"],
        port_range=(first, last),
        listen_address=edge.get("listen_address", DEFAULTS["listen_address"]),
    )


def _update(part: Part, wanted: Mapping[str, Any], given: Collection[str]) -> None:
    """Bring a file to say what is given, and what it leaves out."""
    path = part.config
    here = {name: value for name, value in wanted.items() if name not in part.not_here}
    text, said = f"# {path.name}: see docs/configuration.md\n", {}
    if path.exists():
        text, said = path.read_text("utf-8"), _read(path)
    for name, value in (dict(part.fixed) | here).items():
        if name not in said or (name in here and name in given):
            text = _with_line(text, name, value)
    write_private(path, text)


def _with_line(text: str, name: str, value: Any) -> str:
    """``text`` with ``name`` set before the first table."""
    line = f"{name} = {_toml(value)}"
    lines = text.splitlines()
    head = next((i for i, old in enumerate(lines) if old.lstrip().startswith("[")), len(lines))
    for index in range(head):
        if lines[index].partition("=")[0].strip() == name:
            lines[index] = line
            break
    else:
        lines.insert(head, line)
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if "\x7f" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise StackError("bad-path", "a path or name with control characters cannot be configured")
    return text


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StackError("bad-configuration", f"cannot read {path}: {error}") from error
