"""Settings: what is unknown or wrong is said in one line, before anything starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from proxy.__main__ import main
from proxy.errors import SettingsError
from proxy.settings import EdgeSettings, load_settings


def load(folder: Path, text: str) -> EdgeSettings:
    path = folder / "edge.toml"
    path.write_text(text)
    return load_settings(path)


def test_defaults_are_those_of_one_machine() -> None:
    settings = load_settings(None)
    assert (settings.https_port, settings.http_port, settings.tunnel_port) == (8443, 8080, 2222)
    assert settings.listen_address == "127.0.0.1"
    assert settings.gateway_socket == Path.cwd() / ".mysocket/run/gateway.sock"


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSOCKET_EDGE_HTTPS_PORT", "9443")
    monkeypatch.setenv("MYSOCKET_EDGE_DOMAIN", "edge.example.test")
    settings = load(tmp_path, 'https_port = 443\nedge_domain = "x.test"\n')
    assert settings.https_port == 9443
    assert settings.edge_domain == "edge.example.test"


def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSOCKET_EDGE_HTPS_PORT", "9443")
    with pytest.raises(SettingsError, match="MYSOCKET_EDGE_HTPS_PORT"):
        load_settings(None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("htps_port = 1", "unknown setting: htps_port"),
        ("https_port = 0", "https_port"),
        ("https_port = 65536", "https_port"),
        ('https_port = "many"', "https_port"),
        ('gateway = "http://gateway.example.test"', "gateway: must be"),
        ('gateway = "https://user@x"', "gateway: must be"),
        ("gateway_names = []", "gateway_names"),
        ('gateway_names = ["Not A Name"]', "gateway_names"),
        ('edge_id = "../x"', "edge_id"),
        (f'run_dir = "/{"a" * 70}"', "run_dir"),
        ('tunnel_ciphers = "none"', "tunnel_ciphers"),
        ('log_level = "loud"', "log_level"),
        ("[", "edge.toml"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    (tmp_path / "edge.toml").write_text(text)
    assert main(["serve", "--config", str(tmp_path / "edge.toml")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_missing_file_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--config", str(tmp_path / "no.toml")]) == 2
    assert capsys.readouterr().err.startswith("edge: no such configuration file")


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_an_edge_without_its_key_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    if content is not None:
        (tmp_path / "edge.key").write_text(content)
    (tmp_path / "edge.toml").write_text(
        f'edge_key_file = "{tmp_path}/edge.key"\nstate_dir = "{tmp_path}/s"\nrun_dir = "/tmp/r"\n'
    )
    assert main(["serve", "--config", str(tmp_path / "edge.toml")]) == 2
    assert "edge_key_file" in capsys.readouterr().err


def test_an_edge_without_the_server_s_libraries_says_so_in_one_line() -> None:
    # Without site, Python finds nothing that was installed.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "proxy", "serve"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "edge: the server is not installed; install mysocket[server]\n"
