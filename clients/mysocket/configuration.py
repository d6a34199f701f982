"""The two settings files of a state directory: written once, then only what an option changes.

They belong to the operator, who may edit them; so a later option replaces its own line and nothing
else. TOML's basic strings, numbers and arrays are spelled as JSON spells them.
"""

import json
import tomllib
from collections.abc import Mapping
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
_GATEWAY_ONLY = {"port_range", "signup_open"}


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

    Raises:
        StackError: a file cannot be read or written, or makes no sense.
    """
    given = {name: value for name, value in options.items() if value is not None}
    wanted = _first(given) if not layout.gateway_config.exists() else given
    try:
        _update(layout.gateway_config, _gateway_fixed(layout), wanted, _EDGE_ONLY)
        _update(layout.edge_config, _edge_fixed(layout), wanted, _GATEWAY_ONLY)
        return read_stack(layout)
    except ClientError as error:
        raise StackError("state-not-writable", str(error)) from error


def _first(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first settings of all.

    Names below ``localhost`` are this machine's: browsers send their cookies to every port of it,
    in the clear too, so nobody but the operator makes accounts there.
    """
    wanted: dict[str, Any] = {**DEFAULTS, **given}
    local = wanted["edge_domain"].rpartition(".")[2] == "localhost"
    return wanted | {"signup_open": False} if local else wanted


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


def _gateway_fixed(layout: Layout) -> dict[str, Any]:
    return {
        "state_dir": str(layout.state),
        "listen_socket": str(layout.run / "gateway.sock"),
        "listen_address": "",
    }


def _edge_fixed(layout: Layout) -> dict[str, Any]:
    return {
        "state_dir": str(layout.state / "edge"),
        "run_dir": str(layout.run),
        "gateway": f"unix:{layout.run / 'gateway.sock'}",
        "edge_key_file": str(layout.state / "secrets" / "edge.key"),
    }


def _update(
    path: Path, fixed: Mapping[str, Any], wanted: Mapping[str, Any], not_here: set[str]
) -> None:
    here = {name: value for name, value in wanted.items() if name not in not_here}
    if not path.exists():
        text = f"# {path.name}: see docs/configuration.md\n"
        here = dict(fixed) | here
    else:
        text = path.read_text("utf-8")
        _read(path)
    for name, value in here.items():
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
