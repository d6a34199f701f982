"""``mysocket … --state DIR`` works on DIR, whatever the settings file in it leaves out or says."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from clients.mysocket.configuration import configure, edge_part, gateway_part, variables
from clients.mysocket.errors import StackError
from clients.mysocket.layout import Layout

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "state")
    layout.state.mkdir()
    return layout


def mysocket(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clients.mysocket", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_file_written_by_hand_gets_what_it_leaves_out(layout: Layout) -> None:
    layout.gateway_config.write_text('https_port = 9443\n\n[ca]\nuser_algorithm = "p256"\n')
    stack = configure(layout, {"http_port": 9080})
    gateway = tomllib.loads(layout.gateway_config.read_text())
    edge = tomllib.loads(layout.edge_config.read_text())
    for part, said in ((gateway_part(layout), gateway), (edge_part(layout), edge)):
        assert {name: said[name] for name in part.fixed if name != "listen_address"} == {
            name: value for name, value in part.fixed.items() if name != "listen_address"
        }
    assert gateway["ca"] == {"user_algorithm": "p256"}
    assert gateway["signup_open"] is False
    assert gateway["listen_address"] == ""
    assert (edge["https_port"], edge["http_port"], stack.https_port) == (9443, 9080, 9443)


@pytest.mark.parametrize("words", ["signup_open = true", 'edge_domain = "edge.example.com"'])
def test_what_the_file_says_stays(words: str, layout: Layout) -> None:
    layout.gateway_config.write_text(words + '\nlisten_address = "127.0.0.1:9"\n')
    configure(layout, {})
    said = tomllib.loads(layout.gateway_config.read_text())
    assert said.get("signup_open", True)
    assert said["listen_address"] == "127.0.0.1:9"
    told = variables(layout, gateway_part(layout))
    assert told == {}


@pytest.mark.parametrize("name", ["state_dir", "listen_socket"])
def test_up_refuses_another_directorys_settings(name: str, layout: Layout) -> None:
    layout.gateway_config.write_text(f'{name} = "{layout.state}-other"\n')
    before = layout.gateway_config.read_text()
    with pytest.raises(StackError, match=f"{name} is .*-other") as caught:
        configure(layout, {})
    assert (caught.value.reason, layout.gateway_config.read_text()) == ("other-state", before)


def test_the_same_directory_by_another_path_is_the_same(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(layout.state)
    configure(Layout(tmp_path / "link"), {})
    assert variables(layout, gateway_part(layout)) == {}


def test_a_part_alone_works_on_its_own_directory(layout: Layout, tmp_path: Path) -> None:
    layout.gateway_config.write_text('[ca]\nuser_algorithm = "p256"\n')
    done = mysocket("account", "list", "--state", str(layout.state), cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done
    assert (layout.state / "gateway.db").exists()
    assert not (tmp_path / ".mysocket").exists()
    assert variables(layout, gateway_part(layout))["MYSOCKET_SIGNUP_OPEN"] == "false"
    assert layout.gateway_config.read_text().startswith("[ca]")


@pytest.mark.parametrize("by", ["file", "variable"])
def test_a_part_alone_refuses_another_installation(by: str, layout: Layout, tmp_path: Path) -> None:
    other = tmp_path / "other"
    layout.gateway_config.write_text(f'state_dir = "{other}"\n' if by == "file" else "")
    environment = {"MYSOCKET_STATE_DIR": str(other)} if by == "variable" else {}
    done = mysocket("ca", "status", "--state", str(layout.state), cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done
    assert str(other) in done.stderr
    assert not other.exists()
