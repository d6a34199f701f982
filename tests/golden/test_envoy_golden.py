"""Envoy's configuration word for word; ``make golden`` writes it anew.

A changed golden is a changed data plane: read the difference as one reads code.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.envoy.bootstrap import bootstrap
from proxy.envoy.build import build
from proxy.envoy.protos import decode
from tests.support.envoy_inputs import CERTIFICATE, ENDPOINTS, SETTINGS, SOCKETS, state

FOLDER = Path(__file__).parent / "envoy"


def generated() -> Iterator[tuple[str, Any]]:
    resources = build(state(*SOCKETS), ENDPOINTS, SETTINGS, CERTIFICATE)
    yield "bootstrap", bootstrap(SETTINGS)
    for name, group in {"shared": resources.shared, **resources.sockets}.items():
        parts = {f"{url.rpartition('.')[2]} {key}": one for (url, key), one in group.items()}
        urls = {f"{url.rpartition('.')[2]} {key}": url for url, key in group}
        yield name, {key: decode(urls[key], parts[key].content) for key in sorted(parts)}


@pytest.mark.parametrize(("name", "config"), list(generated()), ids=lambda value: str(value)[:20])
def test_the_configuration_is_the_one_on_file(
    name: str, config: Any, pytestconfig: pytest.Config
) -> None:
    path = FOLDER / f"{name}.json"
    text = json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if pytestconfig.getoption("--golden-update", default=False):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert json.loads(path.read_text()) == json.loads(text)


def test_no_golden_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {name for name, _ in generated()}
