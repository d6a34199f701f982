"""Every command of docs/policies-cli.md, typed as written, against a real gateway."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.issuance_gateway import IssuingGateway, issuing_gateway
from idp_gateway.composition import build_gateway
from tests.support.documentation import ROOT, shell_blocks
from tests.support.gateway_owner import logged_in_home
from tests.support.product import BIN
from tests.support.terminal import Terminal

PAGE = (ROOT / "docs" / "policies-cli.md").read_text("utf-8")


@pytest.fixture(scope="module")
def issuing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IssuingGateway]:
    with issuing_gateway(tmp_path_factory.mktemp("gateway"), keys=1) as running:
        yield running


@pytest.fixture
def terminal(issuing: IssuingGateway, tmp_path: Path) -> Iterator[Terminal]:
    environment = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
    }
    opened = Terminal(tmp_path, environment | logged_in_home(issuing, tmp_path / "home"))
    yield opened
    opened.process.stop()


def test_the_page_can_be_typed_as_it_stands(
    issuing: IssuingGateway, terminal: Terminal, tmp_path: Path
) -> None:
    with closing(build_gateway(issuing.settings)) as gateway:
        socket = gateway.store.find_socket_by_dns_name(issuing.dns_name)
        assert socket is not None
        socket_id = socket.socket_id
    said = []
    for block in shell_blocks(PAGE):
        commands = block.replace("SOCKET_ID", socket_id).replace("SOCKET", issuing.dns_name)
        # A block stops at the first command that fails.
        said.append(terminal.type(f"set -e\n{commands}\nset +e\n"))
    assert "3 cases, all as expected" in said[0]
    schema = json.loads((tmp_path / "policy.schema.json").read_text())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "deny" in said[2]
    assert "address-not-allowed" in said[2]
    assert "would lose access: 0 people" in said[3]
    assert "allow" in said[3]
    history, rolled_back = said[5].split("| 1       | created")
    assert "ticket 12" in history
    assert "Office hours" in rolled_back.partition("version: v2")[0]
    assert "office deleted" in said[6]
    assert "192.0.2.0/24" in said[7]
    assert "deleted" in said[7].rpartition("change")[2]
    assert "10.8.0.1/32, 127.0.0.1/32" in said[8]
    assert "asking" in said[9]
    assert "invited" in said[9].rpartition("/guest?code=")[2]
